"""An integer network: what it computes, down to the last bit, as plain numpy arrays. Nothing here needs torch.

A `Program` is a list of operations over numbered values. Value 0 is the image; every value is an array of codes
(C, H, W) in uint8. A code q stands for the number (q − zero) · scale, but scales and zeros appear nowhere below: they
are folded into the integers of the operations when a model is quantised (`addercore.quant`).

All engines follow the same rule (docs/integer.md), in 64-bit two's complement with an arithmetic shift:

    out = clamp((acc · multiplier + residual · residual_multiplier + bias + 2^(shift − 1)) >> shift, 0, top)

where acc is a sum of absolute differences, of products, or of codes. The last operation has scores instead of codes:
float32((acc · multiplier + bias) · 2^−shift), computed in float64 and rounded once to float32.

A flattened input needs no operation of its own: a fully connected layer is a window as large as its input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Pair = tuple[int, int]
U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]
U16 = NDArray[np.uint16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

SCORES: Final = -1
"""Target of the last operation."""
OF_MODEL: Final = "an integer model of addercore.quant has one, as model.program"
"""Where a `Program` comes from: for people who give something else."""
LEVELS: Final = 256
"""Codes that a byte can be; the length of a table."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """From the sum of an output channel to its code.

    Attributes:
        multiplier: int32 (F,). Negative for adder layers, whose output is the negative distance.
        bias: int64 (F,).
        shift: 1…62, the same for all channels.
        top: greatest code, 2^bits − 1. 0 where the target is `SCORES`.
        residual_multiplier: int32, 0 without a residual.
    """

    multiplier: I32
    bias: I64
    shift: int
    top: int
    residual_multiplier: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Which codes of its source an output sums over. Pairs are (vertical, horizontal), as everywhere here."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    pad: int = 0
    """Code outside of the image: the one that stands for 0."""


@dataclass(frozen=True, slots=True)
class Clipping:
    """Groups of filters with a scale of their own: each sees the source through a table.

    acc of filter f is then Σ |table[group[f]][x] − weight|, and Σ excess[group[f]][x] · excess_multiplier[f] is added
    before the shift: what the table clipped is lost equally for all filters of a group, so it is summed up apart.

    Attributes:
        group: uint8 (F,), the filter's group.
        tables: uint8 (G, 256), code of the source → code of the group.
        excess: uint16 (G, 256), code of the source → what lies outside of the group's range, in a unit
            that the multiplier carries (1/256 of the source's step, where `addercore.quant` made it).
        excess_multiplier: int32 (F,).
    """

    group: U8
    tables: U8
    excess: U16
    excess_multiplier: I32


@dataclass(frozen=True, slots=True)
class Adder:
    """acc = Σ |x − weight| over the window.

    Attributes:
        name: the layer's, as in the float network.
        source, target: numbers of values; `target` may be `SCORES`.
        weights: uint8 (F, C / groups, kernel height, kernel width).
        residual: number of the value that is added, of the target's shape. Channel and position are the target's.
    """

    name: str
    source: int
    target: int
    weights: U8
    window: Window
    rescale: Rescale
    residual: int | None = None
    clipping: Clipping | None = None


@dataclass(frozen=True, slots=True)
class Dot:
    """acc = Σ x · weight over the window: a convolution. What the source's zero adds is in the bias.

    Attributes: as of `Adder`; weights are int8.
    """

    name: str
    source: int
    target: int
    weights: I8
    window: Window
    rescale: Rescale
    residual: int | None = None


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The greatest code of a square window; padding is never the greatest."""

    name: str
    source: int
    target: int
    size: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class AvgPool:
    """acc = the sum of a channel's codes over all positions; the mean is in the multiplier. (C, H, W) → (C, 1, 1)."""

    name: str
    source: int
    target: int
    rescale: Rescale


@dataclass(frozen=True, slots=True)
class Add:
    """Of two values that no layer joins: acc = the code of `source`; the residual is added by the rule above.

    It stands where a block's body does not end in an `Adder` or `Dot`.
    """

    name: str
    source: int
    target: int
    rescale: Rescale
    residual: int


Op = Adder | Dot | MaxPool | AvgPool | Add


@dataclass(frozen=True, slots=True)
class Program:
    """A whole network: pixels (C, H, W) in uint8 → scores (classes,) in float32.

    Attributes:
        input_shape: (C, H, W) of the image.
        tables: uint8 (C, 256), pixel → code of value 0. The normalisation of the input is in them.
        values: shape of every value; number 0 is the image's codes.
        operations: in order of computation; each value is written once, before it is read.
        manifest: what the model file says of itself: classes, arch, bits, … (JSON values).
    """

    input_shape: Shape
    tables: U8
    values: tuple[Shape, ...]
    operations: tuple[Op, ...]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def terms(self) -> int:
        """Of all sums for one image: what running the network costs."""
        total = 0
        for operation in self.operations:
            channels, height, width = self.values[operation.source]
            if isinstance(operation, AvgPool):
                total += channels * height * width
                continue
            _, height, width = (1, 1, 1) if operation.target == SCORES else self.values[operation.target]
            if isinstance(operation, Adder | Dot):
                total += operation.weights.size * height * width
            else:
                total += (operation.size**2 if isinstance(operation, MaxPool) else 1) * channels * height * width
        return total

    @property
    def classes(self) -> int:
        """The number of scores."""
        last = self.operations[-1]
        assert isinstance(last, Adder | Dot)
        return int(last.weights.shape[0])
