"""The vocabulary in which a network is written down: a tree of frozen dataclasses, no tensors.

A `Conv` or `Linear` says nothing of *how* its similarity is computed (eq. 1): the same tree is built with adder filters
or as its convolutional twin, counted, and checked against a stored model's tensors. Shapes are of one image,
(channels, height, width), or (features,) after `Flatten`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from addercore.arch.shapes import output_length

Shape = tuple[int, ...]
Pair = tuple[int, int]
Role = Literal["first", "inner", "last"]


@dataclass(frozen=True, slots=True)
class Conv:
    """(in_channels, H, W) → (out_channels, H', W'), no bias: a batch normalisation follows."""

    name: str
    in_channels: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    role: Role = "inner"  # `first_last` decides how the network's first and last layers are realised


@dataclass(frozen=True, slots=True)
class Linear:
    """(in_features,) → (out_features,): the layer with d = 1 of eq. 1, no bias."""

    name: str
    in_features: int
    out_features: int
    role: Role = "inner"


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Normalises each of `features` channels; γ starts at 1, β at 0."""

    name: str
    features: int


@dataclass(frozen=True, slots=True)
class ReLU:
    name: str


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Square windows of `size`, moved by `stride` (None: by `size`); what does not fill a window is left out."""

    name: str
    size: int
    stride: int | None = None
    padding: int = 0  # on every side, never the largest of a window


@dataclass(frozen=True, slots=True)
class AvgPool:
    """(c, H, W) → (c, 1, 1), the mean over all positions."""

    name: str


@dataclass(frozen=True, slots=True)
class Flatten:
    """(c, H, W) → (c·H·W,)"""

    name: str


@dataclass(frozen=True, slots=True)
class Sequential:
    """Children one after the other; a child's full name is this one's, a dot, and its own."""

    name: str
    children: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Residual:
    """body(x) + shortcut(x); no shortcut means x itself, and then the body must keep the shape."""

    name: str
    body: Sequential
    shortcut: Sequential | None = None


Leaf = Conv | Linear | BatchNorm | ReLU | MaxPool | AvgPool | Flatten
Node = Leaf | Sequential | Residual


@dataclass(frozen=True, slots=True)
class Placed:
    """A leaf at its place in a network: full dotted name (the torch module's), shape in, shape out."""

    name: str
    layer: Leaf
    input_shape: Shape
    output_shape: Shape


def join(prefix: str, name: str) -> str:
    """Dotted names as torch joins them: an empty part adds no dot."""
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _conv_shape(name: str, layer: Conv, shape: Shape) -> Shape:
    if len(shape) != 3 or shape[0] != layer.in_channels:
        raise ValueError(f"{name} takes ({layer.in_channels}, H, W), but its input is {shape}")
    height, width = (
        output_length(shape[1 + a], layer.kernel[a], layer.stride[a], layer.padding[a], layer.dilation[a])
        for a in (0, 1)
    )
    if height < 1 or width < 1:
        raise ValueError(
            f"the input is too small: {name} has a {layer.kernel[0]}×{layer.kernel[1]} window, "
            f"but what reaches it is {shape}"
        )
    return (layer.out_channels, height, width)


def _pooled_shape(name: str, layer: MaxPool, shape: Shape) -> Shape:
    stride = layer.size if layer.stride is None else layer.stride
    if 2 * layer.padding > layer.size:
        raise ValueError(f"{name}: padding must be at most half of the window of {layer.size}, got {layer.padding}")
    if len(shape) != 3 or min(shape[1:]) + 2 * layer.padding < layer.size:
        raise ValueError(
            f"the input is too small: {name} has a {layer.size}×{layer.size} window, but what reaches it is {shape}"
        )
    height, width = (output_length(extent, layer.size, stride, layer.padding, 1) for extent in shape[1:])
    return (shape[0], height, width)


def output_shape(name: str, layer: Leaf, shape: Shape) -> Shape:
    """Shape of one image after `layer`; `ValueError` with name and shapes where it does not fit."""
    match layer:
        case Conv():
            return _conv_shape(name, layer, shape)
        case Linear():
            if shape != (layer.in_features,):
                raise ValueError(f"{name} takes ({layer.in_features},), but its input is {shape}")
            return (layer.out_features,)
        case BatchNorm():
            if not shape or shape[0] != layer.features:
                raise ValueError(f"{name} normalises {layer.features} channels, but its input is {shape}")
            return shape
        case ReLU():
            return shape
        case MaxPool():
            return _pooled_shape(name, layer, shape)
        case AvgPool():
            if len(shape) != 3:
                raise ValueError(f"{name} averages (c, H, W) over H and W, but its input is {shape}")
            return (shape[0], 1, 1)
        case Flatten():
            size = 1
            for extent in shape:
                size *= extent
            return (size,)


def place(node: Node, shape: Shape, prefix: str = "") -> Iterator[Placed]:
    """Leaves of `node` in order of computation, with shapes; `prefix` is the parents' dotted name."""
    name = join(prefix, node.name)
    match node:
        case Sequential():
            for child in node.children:
                yield from place(child, shape, name)
                shape = final_shape(child, shape, name)
        case Residual():
            yield from place(node.body, shape, name)
            if node.shortcut is not None:
                yield from place(node.shortcut, shape, name)
            final_shape(node, shape, prefix)
        case _:
            yield Placed(name, node, shape, output_shape(name, node, shape))


def final_shape(node: Node, shape: Shape, prefix: str = "") -> Shape:
    """Shape of one image after the whole of `node`."""
    if isinstance(node, Sequential):
        for child in node.children:
            shape = final_shape(child, shape, join(prefix, node.name))
        return shape
    name = join(prefix, node.name)
    if isinstance(node, Residual):
        body = final_shape(node.body, shape, name)
        shortcut = shape if node.shortcut is None else final_shape(node.shortcut, shape, name)
        if body != shortcut:
            raise ValueError(f"{name} adds {body} of its body to {shortcut} of its shortcut")
        return body
    return output_shape(name, node, shape)


@dataclass(frozen=True, slots=True)
class Network:
    """A network for one image of `input_shape` (c, h, w), with `classes` outputs."""

    arch: str
    input_shape: Shape
    classes: int
    body: Sequential

    def layers(self) -> tuple[Placed, ...]:
        """Every leaf in order of computation, with its full name and shapes."""
        return tuple(place(self.body, self.input_shape))
