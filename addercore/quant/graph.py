"""A network as a list of fused operations in floating point: what is quantised, and what the integers are compared to.

Layer, batch normalisation, ReLU and the addition at the end of a residual block are one operation. Values are numbered
as in `addercore.runtime.program.Program`: 0 is the normalised image, and operations are in order of computation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.ops import adder_conv2d
from addercore.runtime.program import SCORES, Shape, Window

Kind = Literal["adder", "conv"]


@dataclass(frozen=True, slots=True)
class Layer:
    """z = gain · y + offset (+ residual), then ReLU; y is the layer's output (eq. 2, or a convolution).

    Attributes:
        name: the layer's, as in the float network.
        kind: "adder" or "conv".
        source, target: numbers of values; `target` may be `SCORES`.
        weight: float32 (F, C / groups, kernel height, kernel width).
        window: which pixels an output sees; outside of the image lies 0.
        gain, offset: float64 (F,), the batch normalisation by its running statistics.
        relu: whether negative z become 0.
        residual: number of the value that is added.
    """

    name: str
    kind: Kind
    source: int
    target: int
    weight: Tensor
    window: Window
    gain: Tensor
    offset: Tensor
    relu: bool = False
    residual: int | None = None

    @property
    def taps(self) -> int:
        """Terms of an output's sum."""
        return self.weight[0].numel()


@dataclass(frozen=True, slots=True)
class Pooling:
    """The greatest of a square window."""

    name: str
    source: int
    target: int
    size: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Averaging:
    """The mean over all positions."""

    name: str
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Addition:
    """Of two values that no layer joins."""

    name: str
    source: int
    target: int
    residual: int
    relu: bool = False


Node = Layer | Pooling | Averaging | Addition


@dataclass(frozen=True, slots=True)
class Graph:
    """The fused network.

    Attributes:
        input_shape: (C, H, W) of the image.
        mean, std: of the input's normalisation, one a channel.
        shapes: (C, H, W) of every value.
        nodes: in order of computation.
    """

    input_shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shapes: tuple[Shape, ...]
    nodes: tuple[Node, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The adder layers and convolutions."""
        return tuple(node for node in self.nodes if isinstance(node, Layer))

    def with_layers(self, changed: dict[str, Layer]) -> Graph:
        """The same network with some layers, by name, in the place of others."""
        nodes = [changed.get(node.name, node) if isinstance(node, Layer) else node for node in self.nodes]
        return replace(self, nodes=tuple(nodes))

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) → the network's input, float32."""
        mean, std = (torch.tensor(one, dtype=torch.float32).view(1, -1, 1, 1) for one in (self.mean, self.std))
        return (images.float() / 255 - mean) / std

    def stored_in(self) -> dict[int, int]:
        """Value → the value whose codes it shares: max pooling only chooses among its source's codes."""
        found: dict[int, int] = {0: 0}
        for node in self.nodes:
            found[node.target] = found[node.source] if isinstance(node, Pooling) else node.target
        return found

    def signed(self) -> dict[int, bool]:
        """Value → whether it can be negative."""
        found = {0: any(mean > 0 for mean in self.mean)}
        for node in self.nodes:
            found[node.target] = found[node.source] if isinstance(node, Pooling | Averaging) else not node.relu
        return found


def similarity(layer: Layer, x: Tensor, weight: Tensor, pad: float = 0.0) -> Tensor:
    """The layer's output y without normalisation, (N, F, H', W'); outside of x lies `pad`."""
    vertical, horizontal = layer.window.padding
    if vertical or horizontal:
        x = nnf.pad(x, (horizontal, horizontal, vertical, vertical), value=pad)
    window = layer.window
    if layer.kind == "conv":
        return nnf.conv2d(x, weight, None, window.stride, 0, window.dilation, window.groups)
    return adder_conv2d(x, weight, window.stride, 0, window.dilation, window.groups)


def channelwise(values: Tensor) -> Tensor:
    """(F,) → (1, F, 1, 1)."""
    return values.view(1, -1, 1, 1)


def preactivation(layer: Layer, values: dict[int, Tensor]) -> Tensor:
    """z before ReLU, the residual included."""
    y = similarity(layer, values[layer.source], layer.weight)
    z = y * channelwise(layer.gain.to(y.dtype)) + channelwise(layer.offset.to(y.dtype))
    return z if layer.residual is None else z + values[layer.residual]


def computed(node: Node, values: dict[int, Tensor]) -> Tensor:
    """The target of `node` in floating point."""
    match node:
        case Layer():
            z = preactivation(node, values)
        case Pooling():
            return nnf.max_pool2d(values[node.source], node.size, node.stride, node.padding)
        case Averaging():
            return values[node.source].mean((2, 3), keepdim=True)
        case Addition():
            z = values[node.source] + values[node.residual]
    return z.relu() if node.relu else z


@torch.no_grad()
def floats(graph: Graph, images: Tensor, visit: Callable[[int, Tensor], None] | None = None) -> dict[int, Tensor]:
    """All values of uint8 images (N, C, H, W), by number.

    Args:
        graph: the network.
        images: uint8 (N, C, H, W).
        visit: is told each value; what no later operation reads is then forgotten, but for the scores.
    """
    last = {read: place for place, node in enumerate(graph.nodes) for read in reads(node)}
    values = {0: graph.normalised(images)}
    if visit is not None:
        visit(0, values[0])
    for place, node in enumerate(graph.nodes):
        values[node.target] = computed(node, values)
        if visit is not None:
            visit(node.target, values[node.target])
            for number in [one for one in values if one != SCORES and last.get(one, place) <= place]:
                del values[number]
    return values


def reads(node: Node) -> tuple[int, ...]:
    """The values that `node` reads."""
    residual = getattr(node, "residual", None)
    return (node.source,) if residual is None else (node.source, residual)
