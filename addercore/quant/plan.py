"""What a quantisation decides: the scale of every value, and the operand grid of every layer.

A value's code q stands for (q − zero) · scale. An adder layer reads its source on the source's own grid (one group), or
each group of filters through a grid of its own; a convolution's filters have a step each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from addercore.quant.graph import Averaging, Graph, Layer, Pooling, reads

Rescaling = Literal["multiply", "shift"]
RESCALINGS: Final = ("multiply", "shift")
Tell = Callable[[str, float], None]
"""Is told what is being done ("calibrating", "correcting", "fine-tuning") and what part of it is (0…1)."""
STORED_BITS: Final = 8
"""Of values that no layer of the network's method reads, and of those that groups read through tables."""


TIE: Final = 1e-4
"""Halves go up, as in the integer rule, also where floating point has them a little lower."""


def nearest(values: Tensor) -> Tensor:
    """The nearest whole numbers, a new tensor of the same type."""
    return torch.floor(values + (0.5 + TIE))


def untold(what: str, part: float) -> None:
    """Of whom nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a value is stored: real = (code − zero) · scale.

    Attributes:
        scale: > 0.
        zero: code of 0, from 0 to `top`; padding is this code.
        top: greatest code, 2^bits − 1.
    """

    scale: float
    zero: int
    top: int

    @property
    def low(self) -> float:
        """The least number that has a code; 0 for a value that is never negative."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The greatest number that has a code."""
        return (self.top - self.zero) * self.scale

    def codes(self, values: Tensor) -> Tensor:
        """The nearest codes, of the type of `values`."""
        return nearest(values / self.scale + self.zero).clamp_(0, self.top)

    def real(self, codes: Tensor) -> Tensor:
        """What codes stand for, in float32."""
        return (codes.float() - self.zero) * self.scale


def format_for(low: float, high: float, bits: int) -> Format:
    """The format of `bits` bits that covers low … high; 0 has a code of its own, so that padding is exact."""
    top = 2**bits - 1
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12:  # a value that is always 0
        return Format(1.0 / top, 0, top)
    if low == 0.0:
        return Format(high / top, 0, top)
    zero = min(top - 1, max(1, round(-low / (high - low) * top))) if top > 1 else 0
    scale = max(-low / zero, high / (top - zero))
    return Format(scale, zero, top)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Grids of an adder layer's filters.

    Attributes:
        group: int64 (F,), each filter's group.
        low, step: float64 (G,), a group's least number and the distance of its codes.
    """

    group: Tensor
    low: Tensor
    step: Tensor


@dataclass(frozen=True, slots=True)
class Steps:
    """Of a convolution's filters: weight = integer · step, the integer from −most to most.

    Attributes:
        step: float64 (F,).
        most: 2^(bits − 1) − 1.
    """

    step: Tensor
    most: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of one quantisation.

    Attributes:
        bits: of the operands of the network's own layers, 2…8.
        groups: of filters in each adder layer, at most.
        rescale: "multiply", or "shift" for multipliers that are powers of two.
        formats: value → how it is stored. Pooled values have their source's.
        operands: layer → its grid.
    """

    bits: int
    groups: int
    rescale: Rescaling
    formats: dict[int, Format]
    operands: dict[str, Grouping | Steps] = field(default_factory=dict)

    def grouping(self, layer: Layer) -> Grouping:
        found = self.operands[layer.name]
        assert isinstance(found, Grouping)
        return found

    def steps(self, layer: Layer) -> Steps:
        found = self.operands[layer.name]
        assert isinstance(found, Steps)
        return found


def value_bits(graph: Graph, method: str, bits: int, groups: int) -> dict[int, int]:
    """Value → bits of its codes.

    `bits` where a layer of the network's own kind reads it; else 8: the scores' layer and the first one, where they
    stay convolutions beside adder layers, are int8, as published. Groups of filters read 8 bits through their tables.
    """
    shared = graph.stored_in()
    own = {shared[layer.source] for layer in graph.layers if layer.kind == method}
    few = bits if method == "conv" or groups == 1 else STORED_BITS
    return {value: few if value in own else STORED_BITS for value in set(shared.values())}


def layer_bits(layer: Layer, method: str, bits: int) -> int:
    """Bits of a layer's weights."""
    return bits if layer.kind == method else STORED_BITS


def readers(graph: Graph) -> dict[int, list[Layer | Averaging]]:
    """Value → the layers and averages that read it, also through pooling. Additions are not among them."""
    shared = graph.stored_in()
    found: dict[int, list[Layer | Averaging]] = {}
    for node in graph.nodes:
        if isinstance(node, Layer | Averaging):
            found.setdefault(shared[node.source], []).append(node)
    return found


def added_in(graph: Graph) -> dict[int, list[int]]:
    """Value → targets of the operations that add it to another."""
    shared = graph.stored_in()
    found: dict[int, list[int]] = {}
    for node in graph.nodes:
        if not isinstance(node, Pooling | Averaging) and node.residual is not None:
            for value in reads(node)[0 if not isinstance(node, Layer) else 1 :]:
                found.setdefault(shared[value], []).append(node.target)
    return found


def whole_range(layer: Layer, source: Format) -> Grouping:
    """The grid of one group: the source's own."""
    filters = len(layer.weight)
    return Grouping(
        torch.zeros(filters, dtype=torch.int64),
        torch.tensor([source.low], dtype=torch.float64),
        torch.tensor([source.scale], dtype=torch.float64),
    )
