"""From a float model to the fused operations of `addercore.quant.graph`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from addercore import arch
from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Linear, MaxPool, ReLU, Residual, Sequential, join
from addercore.arch.methods import BINARY, realisation
from addercore.arch.shapes import output_length
from addercore.errors import BadModel
from addercore.io import Model
from addercore.quant.graph import Addition, Averaging, Graph, Kind, Layer, Node, Pooling
from addercore.runtime.program import SCORES, Shape, Window


def lower(model: Model) -> Graph:
    """Fuses the network of a float model.

    Args:
        model: of method "adder" or "conv", with either kind of first and last layer.

    Raises:
        ValueError: another method, or layers in an order that no network of `addercore.arch` has.
        BadModel: a weight or a statistic of a normalisation that is NaN, infinite or a negative variance.
    """
    part = model.manifest["network"]
    if part["method"] in BINARY:
        raise ValueError(
            f"method {part['method']!r} has no integer form here: its weights are bits already. Quantise a network of "
            "the method adder or conv"
        )
    _check_finite(model.module)
    lowering = _Lowering(model.network, model.module, part["method"], part["first_last"])
    return lowering.graph(tuple(model.mean), tuple(model.std))


def _check_finite(module: nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise BadModel(
                f"{name} has values that are NaN or infinite: nothing can be quantised; train the model again"
            )
        if name.endswith("running_var") and (tensor < 0).any():
            raise BadModel(f"{name} has negative variances: the model is damaged; train it again")


class _Lowering:
    """Walks a network's tree once. `nodes[producer[v]]` gives value v and takes on what follows it."""

    def __init__(self, net: arch.Network, module: nn.Module, method: str, first_last: str) -> None:
        self.net, self.module, self.method, self.first_last = net, module, method, first_last
        self.shapes: list[Shape] = [_three(net.input_shape)]
        self.nodes: list[Node] = []
        self.producer: dict[int, int] = {}
        self.normalised: set[int] = set()  # targets of layers that have their normalisation

    def graph(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Graph:
        last = self._sequence(self.net.body, "", 0)
        node = self._open(last, "the network's last layer")
        if not isinstance(node, Layer) or node.relu or last != len(self.shapes) - 1:
            raise ValueError(f"the scores must come from a layer without ReLU, but {node.name} gives them")
        self._replace(last, target=SCORES)
        return Graph(self.shapes[0], mean, std, tuple(self.shapes[:-1]), tuple(self.nodes))

    def _sequence(self, tree: Sequential, prefix: str, value: int) -> int:
        name = join(prefix, tree.name)
        for child in tree.children:
            value = self._child(child, join(name, child.name), name, value)
        return value

    def _child(self, child: Any, name: str, prefix: str, value: int) -> int:
        match child:
            case Sequential():
                return self._sequence(child, prefix, value)
            case Residual():
                return self._residual(child, name, value)
            case Conv():
                return self._conv(child, name, value)
            case Linear():
                return self._linear(child, name, value)
            case BatchNorm():
                self._normalise(name, value)
            case ReLU():
                if not isinstance(self._open(value, name), Layer | Addition):
                    raise ValueError(f"{name} follows no layer directly, so that nothing can take it on")
                self._replace(value, relu=True)
            case MaxPool():
                stride = child.size if child.stride is None else child.stride
                channels, *size = self.shapes[value]
                height, width = (output_length(one, child.size, stride, child.padding, 1) for one in size)
                return self._emit(
                    (channels, height, width), lambda to: Pooling(name, value, to, child.size, stride, child.padding)
                )
            case AvgPool():
                return self._emit((self.shapes[value][0], 1, 1), lambda to: Averaging(name, value, to))
            case _:
                assert isinstance(child, Flatten)  # changes nothing: a linear layer takes its source whole
        return value

    def _residual(self, block: Residual, name: str, value: int) -> int:
        kept = value if block.shortcut is None else self._sequence(block.shortcut, name, value)
        body = self._sequence(block.body, name, value)
        node = None if body == value else self._open(body, name)
        if isinstance(node, Layer) and not node.relu and node.residual is None:
            self._replace(body, residual=kept)
            return body
        return self._emit(self.shapes[body], lambda to: Addition(name, body, to, kept))

    def _conv(self, layer: Conv, name: str, value: int) -> int:
        size = tuple(
            output_length(
                self.shapes[value][1 + axis], layer.kernel[axis], layer.stride[axis], layer.padding[axis],
                layer.dilation[axis],
            )
            for axis in (0, 1)
        )  # fmt: skip
        window = Window(layer.kernel, layer.stride, layer.padding, layer.dilation, layer.groups)
        return self._layer(layer, name, value, self._weight(name), window, (layer.out_channels, *size))

    def _linear(self, layer: Linear, name: str, value: int) -> int:
        shape = self.shapes[value]
        weight = self._weight(name).view(layer.out_features, *shape)
        return self._layer(layer, name, value, weight, Window(shape[1:]), (layer.out_features, 1, 1))

    def _layer(
        self, layer: Conv | Linear, name: str, value: int, weight: Tensor, window: Window, shape: tuple[int, ...]
    ) -> int:
        kind: Kind = "adder" if realisation(layer, self.method, self.first_last) == "adder" else "conv"
        ones = torch.ones(shape[0], dtype=torch.float64)
        return self._emit(
            _three(shape), lambda to: Layer(name, kind, value, to, weight, window, ones, torch.zeros_like(ones))
        )

    def _normalise(self, name: str, value: int) -> None:
        node = self._open(value, name)
        if not isinstance(node, Layer) or node.relu or node.residual is not None or value in self.normalised:
            raise ValueError(f"{name} does not follow a layer directly, so that nothing can take it on")
        norm = self.module.get_submodule(name)
        state = {key: tensor.detach().double().cpu() for key, tensor in norm.state_dict().items()}
        gain = state["weight"] / torch.sqrt(state["running_var"] + float(norm.eps))  # type: ignore[arg-type]
        self._replace(value, gain=gain, offset=state["bias"] - state["running_mean"] * gain)
        self.normalised.add(value)

    def _weight(self, name: str) -> Tensor:
        weight = self.module.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        return weight.detach().float().cpu().clone()

    def _open(self, value: int, name: str) -> Node:
        if value not in self.producer:
            raise ValueError(f"{name} follows no layer")
        return self.nodes[self.producer[value]]

    def _replace(self, value: int, **changes: Any) -> None:
        place = self.producer[value]
        self.nodes[place] = replace(self.nodes[place], **changes)

    def _emit(self, shape: Shape, make: Callable[[int], Node]) -> int:
        value = len(self.shapes)
        self.shapes.append(shape)
        self.producer[value] = len(self.nodes)
        self.nodes.append(make(value))
        return value


def _three(shape: tuple[int, ...]) -> Shape:
    channels, height, width = shape
    return channels, height, width
