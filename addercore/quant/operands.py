"""The integer weights of a layer, and what its integer sum stands for.

An adder layer (docs/quantisation.md): with the weight f clipped to the range that x has, Σ|x − f| = Σ|x − f̃| + Σ|f − f̃|
exactly, and the second sum is a constant of the filter. Where the range of a group ends before that of x, each x loses
|x − x̃| in the same way, whatever the filter is: that sum is `excess`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.quant.graph import Layer, similarity
from addercore.quant.plan import Format, Grouping, Plan, Steps, nearest
from addercore.runtime.program import LEVELS, Clipping

EXCESS_PARTS: Final = 256
"""Parts of the source's step in which the excess is counted: 255 · 256 is within 16 bits."""
_EXACT: Final = 2**24
"""Below, float32 holds every integer, and sums of integers are exact in any order."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A layer's weights as integers. The layer's output is y ≈ sign · (step · acc + excess_step · excess + constant).

    Attributes:
        codes: int64 (F, C / groups, kernel height, kernel width).
        step: float64 (F,).
        constant: float64 (F,).
        sign: −1 for an adder layer (negative distances), 1 for a convolution.
        clipping: tables of groups; its multipliers are left at 0.
        excess_step: what one part of the excess stands for; 0 without clipping.
        most: greatest magnitude of a weight.
    """

    codes: Tensor
    step: Tensor
    constant: Tensor
    sign: int
    clipping: Clipping | None = None
    excess_step: float = 0.0
    most: int = LEVELS - 1


def operand(layer: Layer, plan: Plan, source: Format) -> Operand:
    """The integers of `layer` on the grid that the plan has for it; `source` is the format of what it reads."""
    if layer.kind == "conv":
        return _convolution(layer, plan.steps(layer), source)
    return _adder(layer, plan.grouping(layer), source, plan.bits, plan.groups > 1)


def _adder(layer: Layer, grid: Grouping, source: Format, bits: int, grouped: bool) -> Operand:
    top = 2**bits - 1 if grouped else source.top
    weight = layer.weight.double()
    low, step = (one[grid.group].view(-1, 1, 1, 1) for one in (grid.low, grid.step))
    clipped = torch.minimum(torch.maximum(weight, low), low + top * step)
    codes = nearest((clipped - low) / step).clamp(0, top).long()
    lost = (weight - clipped).abs().sum((1, 2, 3))
    clipping = _tables(grid, source, top) if grouped else None
    excess_step = source.scale / EXCESS_PARTS if grouped else 0.0
    return Operand(codes, grid.step[grid.group], lost, -1, clipping, excess_step)


def _tables(grid: Grouping, source: Format, top: int) -> Clipping:
    """Each group's codes for the 256 codes of the source, and what its range leaves out of each."""
    real = (torch.arange(LEVELS, dtype=torch.float64).clamp(max=source.top) - source.zero) * source.scale
    low, step = grid.low[:, None], grid.step[:, None]
    inside = torch.minimum(torch.maximum(real[None], low), low + top * step)
    tables = nearest((inside - low) / step).clamp(0, top)
    excess = ((real[None] - inside).abs() / source.scale * EXCESS_PARTS).round().clamp(max=2**16 - 1)
    return Clipping(
        grid.group.numpy().astype(np.uint8),
        tables.numpy().astype(np.uint8),
        excess.numpy().astype(np.uint16),
        np.zeros(len(grid.group), dtype=np.int32),
    )


def _convolution(layer: Layer, grid: Steps, source: Format) -> Operand:
    step = grid.step.view(-1, 1, 1, 1)
    codes = (layer.weight.double() / step).round().clamp(-grid.most, grid.most).long()
    whole = grid.step * source.scale
    return Operand(codes, whole, -source.zero * whole * codes.sum((1, 2, 3)), 1, most=grid.most)


@torch.no_grad()
def sums(layer: Layer, found: Operand, codes: Tensor, source: Format) -> tuple[Tensor, Tensor | None]:
    """The integers that the engine sums up.

    Args:
        layer: for its window.
        found: its weights.
        codes: of the source, (N, C, H, W).
        source: the source's format.

    Returns:
        acc in int64 (N, F, H', W'), and the excess alike, None without clipping.
    """
    if layer.kind == "conv":  # in float64: a fast convolution in float32 may transform its operands
        return similarity(layer, codes.double(), found.codes.double(), source.zero).long(), None
    kind = torch.float32 if 2 * layer.taps * (LEVELS - 1) < _EXACT else torch.float64
    weights = found.codes.to(kind)
    if found.clipping is None:
        return -similarity(layer, codes.to(kind), weights, source.zero).long(), None
    return _grouped(layer, weights, found.clipping, codes.long(), source.zero)


def _grouped(layer: Layer, weights: Tensor, clipping: Clipping, codes: Tensor, zero: int) -> tuple[Tensor, Tensor]:
    tables, above = (torch.from_numpy(one.astype(np.float64)) for one in (clipping.tables, clipping.excess))
    group = torch.from_numpy(clipping.group.astype(np.int64))
    acc = excess = torch.empty(0)
    for number in range(len(tables)):
        seen = -similarity(layer, tables[number][codes].to(weights.dtype), weights, float(tables[number][zero])).long()
        more = _window_sums(layer, above[number][codes], float(above[number][zero]))
        if number == 0:
            acc, excess = torch.empty_like(seen), torch.empty_like(seen)
        mine = group == number
        acc[:, mine], excess[:, mine] = seen[:, mine], more[:, mine]
    return acc, excess


def _window_sums(layer: Layer, x: Tensor, pad: float) -> Tensor:
    """The sum of x over each window, (N, F, H', W') in int64."""
    window = layer.window
    vertical, horizontal = window.padding
    x = nnf.pad(x, (horizontal, horizontal, vertical, vertical), value=pad)
    x = x.reshape(len(x), window.groups, -1, *x.shape[2:]).sum(2)
    ones = torch.ones(window.groups, 1, *window.kernel, dtype=x.dtype)
    found = nnf.conv2d(x, ones, None, window.stride, 0, window.dilation, window.groups).long()
    return found.repeat_interleave(len(layer.weight) // window.groups, 1)


def distance(found: Operand, acc: Tensor, excess: Tensor | None) -> Tensor:
    """y in float64: what the sums stand for, the constant included."""
    y = acc.double() * found.step.view(1, -1, 1, 1) + found.constant.view(1, -1, 1, 1)
    if excess is not None:
        y += excess.double() * found.excess_step
    return y * found.sign
