"""Operand grids: groups of an adder layer's filters, and the steps of a convolution's."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from addercore.quant.graph import Layer
from addercore.quant.plan import Format, Grouping, Rescaling, Steps, whole_range

ROUNDS: Final = 50
"""Of k-means, in one dimension: it ends long before."""
RATIOS: Final = tuple(1.0 - 0.02 * place for place in range(31))
"""Ranges of a filter's weights that are tried, as parts of its largest one."""


def grouping(layer: Layer, source: Format, groups: int, bits: int, rescale: Rescaling) -> Grouping:
    """The grids of an adder layer's filters.

    Filters are grouped by their largest weight (k-means). A group's range is that of its weights, within the source's.

    Args:
        layer: an adder layer.
        source: the format of what it reads.
        groups: at most so many; 1 takes the source's own grid.
        bits: of the operands.
        rescale: "shift" makes each step the source's, times a power of two.
    """
    if groups == 1:
        return whole_range(layer, source)
    weight = layer.weight.double().clamp(source.low, source.high).flatten(1)
    group = kmeans(weight.amax(1), groups)
    top = 2**bits - 1
    low = torch.stack([weight[group == one].min() for one in range(int(group.max()) + 1)])
    high = torch.stack([weight[group == one].max() for one in range(len(low))])
    step = (high - low) / top
    step = torch.where(step > 0, step, torch.full_like(step, source.scale))
    if rescale == "shift":
        step = source.scale * torch.exp2(torch.ceil(torch.log2(step / source.scale) - 1e-9))
    return Grouping(group, low, step)


def kmeans(values: Tensor, clusters: int) -> Tensor:
    """Clusters (N,) numbers; returns each one's cluster (N,), numbered upwards, none of them empty.

    It begins at evenly spaced ranks, so that equal values give equal clusters on every machine.
    """
    ordered = torch.unique(values)
    clusters = min(clusters, len(ordered))
    ranks = torch.linspace(0, len(ordered) - 1, 2 * clusters + 1)[1::2].round().long()
    centres = ordered[ranks]
    nearest = torch.zeros(len(values), dtype=torch.int64)
    for _ in range(ROUNDS):
        nearest = (values[:, None] - centres[None]).abs().argmin(1)
        moved = torch.stack(
            [values[nearest == one].mean() if (nearest == one).any() else centres[one] for one in range(clusters)]
        )
        if torch.equal(moved, centres):
            break
        centres = moved
    numbered: Tensor = torch.unique(nearest, return_inverse=True)[1]
    return numbered


def steps(layer: Layer, bits: int) -> Steps:
    """The steps of a convolution's filters: ranges of the least squared error, at 8 bits the whole ones."""
    most = 2 ** (bits - 1) - 1
    weight = layer.weight.double().flatten(1)
    largest = weight.abs().amax(1)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest)) / most
    if bits == 8:
        return Steps(largest, most)
    tried = torch.stack([ratio * largest for ratio in RATIOS])
    errors = torch.stack(
        [(weight - (weight / one[:, None]).round().clamp(-most, most) * one[:, None]).square().sum(1) for one in tried]
    )
    return Steps(tried.gather(0, errors.argmin(0)[None])[0], most)


def aligned(grid: Steps, layer: Layer, source: Format, target_scale: float) -> Steps:
    """Steps, never finer, with which gain · step · source scale / target scale is a power of two."""
    whole = layer.gain.abs() * source.scale / target_scale
    wanted = torch.log2((whole * grid.step).clamp_min(1e-30)).sub(1e-9).ceil()
    return Steps(torch.where(whole > 0, torch.exp2(wanted) / whole.clamp_min(1e-30), grid.step), grid.most)
