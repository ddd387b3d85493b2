"""The convolutional network of the same architecture in ONNX Runtime: fp32, and int8 in every way that it offers.

Weights are random, on which latency does not depend; the batch normalisations are folded into the convolutions, as
deployed networks have them. The int8 forms come from ONNX Runtime's own static quantisation, per channel, calibrated on
random images.
"""

from __future__ import annotations

import itertools
import logging
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from addercore.arch.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Network,
    Node,
    ReLU,
    Residual,
    Sequential,
)

MISSING = "ONNX Runtime is not installed: pip install 'adderworks[onnx]' (onnx and onnxruntime)"
OPSET = 21
CALIBRATION_IMAGES = 16


def available() -> str | None:
    """The version of ONNX Runtime; None where it is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None
    return str(onnxruntime.__version__)


def required() -> None:
    """Raises ModuleNotFoundError, which names the extra, where ONNX Runtime is not installed."""
    if available() is None:
        raise ModuleNotFoundError(MISSING, name="onnxruntime")


class Graph:
    """Writes a network as ONNX, node by node.

    Args:
        pixels: whether the input is uint8 images, whose normalisation is in the first convolution; else it is float32.
    """

    def __init__(self, pixels: bool = False) -> None:
        self.pixels = pixels
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.at = "image"
        if pixels:
            import onnx

            self.add("Cast", ["image"], to=onnx.TensorProto.FLOAT)

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> None:
        """One operator; its output is what comes next."""
        import onnx

        out = f"v{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [out], name=f"n{len(self.nodes)}", **attributes))
        self.at = out

    def constant(self, values: Any) -> str:
        """A weight; its name."""
        import onnx

        name = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def layer(self, kind: str, shape: tuple[int, ...], **attributes: Any) -> None:
        """A convolution or linear layer with random weights and the bias of the folded normalisation."""
        scale = math.sqrt(2 / math.prod(shape[1:]))
        weight = self.constant(self.rng.normal(0, scale, shape))
        bias = self.constant(self.rng.normal(0, 0.1, shape[0]))
        self.add(kind, [self.at, weight, bias], **attributes)

    def node(self, node: Node) -> None:
        """A part of the network."""
        match node:
            case Sequential():
                for child in node.children:
                    self.node(child)
            case Residual():
                source = self.at
                self.node(node.body)
                body, self.at = self.at, source
                if node.shortcut is not None:
                    self.node(node.shortcut)
                self.add("Add", [body, self.at])
            case Conv():
                shape = (node.out_channels, node.in_channels // node.groups, *node.kernel)
                options = {"strides": node.stride, "pads": node.padding * 2, "dilations": node.dilation}
                self.layer("Conv", shape, kernel_shape=node.kernel, group=node.groups, **options)
            case Linear():
                self.layer("Gemm", (node.out_features, node.in_features), transB=1)
            case MaxPool():
                stride, pads = node.stride or node.size, [node.padding] * 4
                self.add("MaxPool", [self.at], kernel_shape=[node.size] * 2, strides=[stride] * 2, pads=pads)
            case AvgPool():
                self.add("GlobalAveragePool", [self.at])
            case ReLU():
                self.add("Relu", [self.at])
            case Flatten():
                self.add("Flatten", [self.at])
            case BatchNorm():
                pass

    def model(self, shape: tuple[int, ...], result: tuple[int, ...]) -> Any:
        """The whole as a model of images (batch, C, H, W); `result` is the shape of one image's output."""
        import onnx

        kind = onnx.TensorProto.FLOAT
        read = onnx.TensorProto.UINT8 if self.pixels else kind
        image = onnx.helper.make_tensor_value_info("image", read, ["batch", *shape])
        scores = onnx.helper.make_tensor_value_info(self.at, kind, ["batch", *result])
        graph = onnx.helper.make_graph(self.nodes, "network", [image], [scores], self.weights)
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(made)
        return onnx.shape_inference.infer_shapes(made)


def float_model(network: Network, pixels: bool = False) -> Any:
    """The network in fp32 as an ONNX model; `pixels` as for `models`."""
    graph = Graph(pixels)
    graph.node(network.body)
    return graph.model(network.input_shape, (network.classes,))


def models(network: Network, pixels: bool = False, folder: Path | None = None) -> dict[str, bytes]:
    """The network as ONNX models by name: "fp32", and "int8, …" for each way of quantising.

    Args:
        network: the definition, such as `addercore.arch.network` gives it.
        pixels: whether they take uint8 images; else float32.
        folder: for temporary files; None: the system's.
    """
    shape, unquantised = network.input_shape, float_model(network, pixels)
    found = {"fp32": unquantised.SerializeToString()}
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        for form, (codes, reduced) in itertools.product(
            ("QDQ", "QOperator"), (("u8s8", False), ("u8s8", True), ("s8s8", False))
        ):
            name = f"int8, {form} {codes}{', reduced range' if reduced else ''}"
            found[name] = _quantised(unquantised, _images(shape, pixels), form, codes, reduced, Path(inner))
    return found


def _images(shape: tuple[int, ...], pixels: bool) -> list[Any]:
    rng = np.random.default_rng(1)
    size = (CALIBRATION_IMAGES, 1, *shape)
    return list(rng.integers(0, 256, size, dtype=np.uint8) if pixels else rng.normal(0, 1, size).astype(np.float32))


def _quantised(model: Any, images: list[Any], form: str, codes: str, reduced: bool, folder: Path) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = list(images)

        def get_next(self) -> dict[str, Any] | None:
            return {"image": self.left.pop()} if self.left else None

    source, target = folder / "float.onnx", folder / "int8.onnx"
    source.write_bytes(model.SerializeToString())
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of models that were not preprocessed, as these need not be
    try:
        _quantise(source, target, Images(), form, codes, reduced)
    finally:
        logger.setLevel(level)
    return target.read_bytes()


def _quantise(source: Path, target: Path, images: Any, form: str, codes: str, reduced: bool) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        source,
        target,
        images,
        quant_format=getattr(QuantFormat, form),
        activation_type=QuantType.QUInt8 if codes == "u8s8" else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=reduced,
    )


def caller(model: bytes, shape: tuple[int, ...], threads: int, batch: int = 1) -> Callable[[int], float]:
    """A function: so many runs → seconds of thread CPU time (one thread) or on the clock, all of them together."""
    network = session(model, threads, batch)
    feed = {"image": np.random.default_rng(2).normal(0, 1, (batch, *shape)).astype(np.float32)}
    clock = time.thread_time if threads == 1 else time.perf_counter

    def run(times: int) -> float:
        began = clock()
        for _ in range(times):
            network.run(None, feed)
        return clock() - began

    return run


def session(model: bytes, threads: int, batch: int) -> Any:
    """ONNX Runtime's session of a model on the processor, for calls of `batch` images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_free_dimension_override_by_name("batch", batch)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def empty_model(shape: tuple[int, ...]) -> bytes:
    """A graph that hands its input on: what a call from Python costs."""
    graph = Graph()
    graph.add("Identity", ["image"])
    content: bytes = graph.model(shape, shape).SerializeToString()
    return content
