"""What is measured: every adder layer of the networks of the paper's tables, once per distinct shape, and
MobileNetV2's depthwise layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from addercore.arch.layers import Conv, Linear, Placed
from addercore.arch.networks import network
from addercore.ops import Geometry


@dataclass(frozen=True)
class Layer:
    """An adder layer at a batch size: input (batch, inputs, *size), weight (filters, inputs/groups, *kernel)."""

    batch: int
    inputs: int
    size: tuple[int, int]
    filters: int
    kernel: tuple[int, int]
    geometry: Geometry

    @property
    def output(self) -> tuple[int, int]:
        return self.geometry.output_size(self.size, self.kernel)

    @property
    def elements(self) -> int:
        """|x − f| of one pass: N · F · H' · W' · c/G · kh · kw, padded taps included."""
        height, width = self.output
        taps = self.inputs // self.geometry.groups * self.kernel[0] * self.kernel[1]
        return self.batch * self.filters * height * width * taps

    def __str__(self) -> str:
        (height, width), (kh, kw), geometry = self.size, self.kernel, self.geometry
        text = f"n{self.batch} {self.inputs}@{height}x{width} -> {self.filters} {kh}x{kw}"
        text += f" s{geometry.stride[0]}" if geometry.stride != (1, 1) else ""
        return text + (f" g{geometry.groups}" if geometry.groups != 1 else "")


@dataclass(frozen=True)
class Group:
    """The distinct layers of a network at a batch size, with how often each occurs."""

    title: str
    layers: dict[Layer, int]


NETWORKS: dict[str, tuple[tuple[int, int, int], int, bool, tuple[int, ...]]] = {
    "resnet20": ((3, 32, 32), 10, False, (64, 1)),
    "resnet18": ((3, 224, 224), 1000, False, (8,)),
    "lenet5_bn": ((1, 32, 32), 10, True, (128,)),
    "mobilenet_v2": ((3, 224, 224), 1000, False, (8,)),
}
"""Input shape, classes, whether the first and last layer are adders (they are in the paper's MNIST table), batches."""
DEPTHWISE_ONLY = ("mobilenet_v2",)
"""Networks whose other layers are 1×1 ones, as others have them."""


def groups() -> Iterator[Group]:
    for arch, (shape, classes, all_adders, batches) in NETWORKS.items():
        placed = network(arch, shape, classes).layers()
        for batch in batches:
            found = Counter(_layer(leaf, batch) for leaf in placed if _is_adder(leaf, all_adders))
            if arch in DEPTHWISE_ONLY:
                found = Counter({layer: count for layer, count in found.items() if layer.geometry.groups > 1})
            yield Group(f"{arch}, batch {batch}", dict(found))


def _is_adder(placed: Placed, all_adders: bool) -> bool:
    return isinstance(placed.layer, Conv | Linear) and (all_adders or placed.layer.role == "inner")


def _layer(placed: Placed, batch: int) -> Layer:
    """A fully connected layer is the one with d = 1 (eq. 1), on 1×1 images."""
    match placed.layer:
        case Conv() as conv:
            geometry = Geometry(conv.stride, conv.padding, conv.dilation, conv.groups)
            height, width = placed.input_shape[1:]
            return Layer(batch, conv.in_channels, (height, width), conv.out_channels, conv.kernel, geometry)
        case Linear() as linear:
            return Layer(batch, linear.in_features, (1, 1), linear.out_features, (1, 1), Geometry())
    raise TypeError(f"{placed.name} is no layer with filters: {placed.layer}")
