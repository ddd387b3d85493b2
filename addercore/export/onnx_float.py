"""A float model in ONNX: adder layers as local functions, everything else as standard operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from addercore.arch.methods import BINARY
from addercore.errors import expect
from addercore.export.onnx_functions import distances_call, filters_of, functions, windows_call
from addercore.export.onnx_graph import Writer, model_of, required
from addercore.runtime.program import SCORES

if TYPE_CHECKING:
    from onnx import ModelProto

    from addercore.io import Model
    from addercore.quant.graph import Addition, Averaging, Graph, Layer, Node, Pooling


def float_model(model: Model) -> ModelProto:
    """A float model in ONNX (docs/export.md).

    Its input `pixels` is uint8 (N, C, H, W) of the network's size; division by 255, mean and deviation are inside. Its
    output `scores` is float32 (N, classes), and equals the module's within rounding. Names of classes are in the
    metadata, a JSON list.

    Args:
        model: of method "adder" or "conv"; `addercore.load` gives it.

    Raises:
        ValueError: a binary method.
        BadModel: weights that are not finite.
        ModuleNotFoundError: onnx is not installed.
    """
    from addercore.io import Model
    from addercore.quant.lower import lower

    expect("model", model, Model, "addercore.load gives one; integer_model takes an integer model's program")
    part = model.manifest["network"]
    if part["method"] in BINARY:
        raise ValueError(
            f"method {part['method']!r} has no form in ONNX here, where weights of one bit gain nothing: "
            "export a model of the method adder or conv"
        )
    required()
    graph = lower(model)
    writer = _FloatWriter(graph)
    for node in graph.nodes:
        writer.add(node)
    writer.ending(writer.values[SCORES], "scores")
    used = functions(writer, np.float32) if any(layer.kind == "adder" for layer in graph.layers) else []
    about = {"arch": str(part["arch"]), "method": str(part["method"])}
    return model_of(writer, used, graph.input_shape, model.classes, about)


class _FloatWriter(Writer):
    """Names of the values of a fused network that are written already: `values`, by number."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        one = self.node("Div", [self.cast("pixels", np.float32), self.constant(np.float32(255))], "scaled")
        mean, std = (self.channelwise(np.array(values, np.float32)) for values in (graph.mean, graph.std))
        self.values = {0: self.node("Div", [self.node("Sub", [one, mean]), std], "image")}

    def add(self, node: Node) -> None:
        """Writes an operation."""
        from addercore.quant.graph import Averaging, Layer, Pooling

        match node:
            case Layer():
                self.values[node.target] = self._layer(node)
            case Pooling():
                self.values[node.target] = self._pooling(node)
            case Averaging():
                self.values[node.target] = self._averaging(node)
            case _:
                self.values[node.target] = self._addition(node)

    def _layer(self, layer: Layer) -> str:
        sign, y = (-1, self._distances(layer)) if layer.kind == "adder" else (1, self._convolution(layer))
        gain = self.channelwise(layer.gain.numpy().astype(np.float32) * np.float32(sign))
        offset = self.channelwise(layer.offset.numpy().astype(np.float32))
        z = self.node("Add", [self.node("Mul", [y, gain]), offset], layer.name)
        if layer.residual is not None:
            z = self.node("Add", [z, self.values[layer.residual]], f"{layer.name}/sum")
        if layer.target == SCORES:
            return self.node("Flatten", [z])
        return self.node("Relu", [z], f"{layer.name}/relu") if layer.relu else z

    def _distances(self, layer: Layer) -> str:
        """Σ |x − w|, (N, F, H', W')."""
        window, size = layer.window, self._size(layer)
        outside = self.constant(np.zeros(1, np.float32), f"{layer.name}/outside")
        seen = windows_call(self, self.values[layer.source], outside, window, size, f"{layer.name}/windows")
        filters = filters_of(layer.weight.numpy(), window.groups).swapaxes(0, 1)
        name = f"{layer.name}/filters"
        return self.planes(distances_call(self, seen, self.constant(filters, name), f"{layer.name}/distances"), size)

    def _convolution(self, layer: Layer) -> str:
        window = layer.window
        weight = self.constant(layer.weight.numpy(), f"{layer.name}/weight")
        options = {
            "kernel_shape": window.kernel,
            "strides": window.stride,
            "pads": window.padding * 2,
            "dilations": window.dilation,
        }
        lists: dict[str, Any] = {key: list(one) for key, one in options.items()}
        return self.node("Conv", [self.values[layer.source], weight], group=window.groups, **lists)

    def _pooling(self, node: Pooling) -> str:
        lists: dict[str, Any] = {
            "kernel_shape": [node.size] * 2,
            "strides": [node.stride] * 2,
            "pads": [node.padding] * 4,
        }
        return self.node("MaxPool", [self.values[node.source]], node.name, **lists)

    def _averaging(self, node: Averaging) -> str:
        return self.node("GlobalAveragePool", [self.values[node.source]], node.name)

    def _addition(self, node: Addition) -> str:
        z = self.node("Add", [self.values[node.source], self.values[node.residual]], node.name)
        return self.node("Relu", [z], f"{node.name}/relu") if node.relu else z

    def _size(self, layer: Layer) -> tuple[int, int]:
        return (1, 1) if layer.target == SCORES else self.graph.shapes[layer.target][1:]
