"""The scale of every value: from histograms over calibration images, the quantile by what it costs the next layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.errors import BadModel
from addercore.quant import grids
from addercore.quant.graph import Averaging, Graph, Layer, Pooling, floats, similarity
from addercore.quant.operands import distance, operand, sums
from addercore.quant.plan import (
    Format,
    Grouping,
    Plan,
    Rescaling,
    Steps,
    Tell,
    added_in,
    format_for,
    layer_bits,
    readers,
    untold,
    value_bits,
)
from addercore.runtime.program import SCORES

BINS: Final = 8192
TAILS: Final = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 2e-2, 5e-2)
"""Parts of a value's numbers that its range may leave out at each end; 0.0003 is a published choice."""
BATCH: Final = 64
KEPT_VALUES: Final = 2**25
"""Numbers of all values together that the search may hold; more images are left to the histograms."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A histogram of one value."""

    low: float
    high: float
    counts: Tensor

    def range(self, tail: float) -> tuple[float, float]:
        """The range that leaves out a part `tail` of all numbers at each end; its greatest extent for 0."""
        if tail == 0.0 or self.high <= self.low:
            return self.low, self.high
        part = self.counts.cumsum(0) / self.counts.sum()
        width = (self.high - self.low) / len(self.counts)
        first = int((part > tail).nonzero()[0])
        last = int((part >= 1 - tail).nonzero()[0])
        return self.low + first * width, self.low + (last + 1) * width


def histograms(graph: Graph, images: Tensor) -> dict[int, Quantiles]:
    """Of every value and of the scores, over uint8 images (N, C, H, W): their extent first, then their counts."""
    extents: dict[int, tuple[float, float]] = {}

    def extend(number: int, value: Tensor) -> None:
        low, high = extents.get(number, (float("inf"), float("-inf")))
        extents[number] = min(low, float(value.min())), max(high, float(value.max()))

    counts: dict[int, Tensor] = {}

    def count(number: int, value: Tensor) -> None:
        low, high = extents[number]
        if high > low:
            found = torch.histc(value.float(), BINS, low, high).double()
            counts[number] = counts[number] + found if number in counts else found

    for visit in (extend, count):
        for part in torch.split(images, BATCH):
            floats(graph, part, visit)
    for number, extent in extents.items():
        if not all(torch.isfinite(torch.tensor(extent))):
            raise BadModel(f"value {number} of the float model is {extent[0]} to {extent[1]}: train the model again")
    return {number: Quantiles(*extent, counts.get(number, torch.ones(1))) for number, extent in extents.items()}


def kept_images(graph: Graph, images: Tensor) -> Tensor:
    """As many of the images as memory may hold at once with every value of theirs."""
    each = sum(channels * height * width for channels, height, width in graph.shapes)
    return images[: max(4, KEPT_VALUES // each)]


def plan_for(
    graph: Graph,
    images: Tensor,
    method: str,
    bits: int,
    groups: int,
    rescale: Rescaling,
    search: bool = True,
    tell: Tell = untold,
) -> tuple[Plan, dict[str, float]]:
    """Chooses every format and grid.

    Args:
        graph: the float network.
        images: uint8 (N, C, H, W) for calibration.
        method: "adder" or "conv", the network's.
        bits, groups, rescale: as in `Plan`.
        search: by the error of the next layers; else every range is the largest that was seen.
        tell: is told what part is done, after each value.

    Returns:
        The plan, and of each value by "value N" the part of its numbers that was left out at each end.
    """
    seen = histograms(graph, images)
    known = floats(graph, kept_images(graph, images))
    widths = value_bits(graph, method, bits, groups)
    plan = Plan(bits, groups, rescale, {})
    reading, added = readers(graph), added_in(graph)
    tails: dict[str, float] = {}
    for done, (number, width) in enumerate(sorted(widths.items())):
        tell("calibrating", done / len(widths))
        if number == SCORES:
            continue
        options = {tail: format_for(*seen[number].range(tail), width) for tail in (TAILS if search else (0.0,))}
        errors = {
            tail: 0.0 if len(options) == 1 else _error(one, number, graph, known, plan, method, reading, added)
            for tail, one in options.items()
        }
        best = min(errors, key=lambda tail: errors[tail])
        tails[f"value {number}"] = best
        plan.formats[number] = options[best]
        for layer in reading.get(number, []):
            if isinstance(layer, Layer):
                plan.operands[layer.name] = grid_for(layer, options[best], plan, method)
    return plan, tails


def grid_for(layer: Layer, source: Format, plan: Plan, method: str) -> Grouping | Steps:
    """The operand grid of a layer that reads `source`."""
    bits = layer_bits(layer, method, plan.bits)
    if layer.kind == "conv":
        return grids.steps(layer, bits)
    return grids.grouping(layer, source, plan.groups, plan.bits, plan.rescale)


def _error(
    option: Format,
    number: int,
    graph: Graph,
    known: dict[int, Tensor],
    plan: Plan,
    method: str,
    reading: dict[int, list[Layer | Averaging]],
    added: dict[int, list[int]],
) -> float:
    """What storing value `number` so costs: the squared errors of all that read it, each by its output's variance."""
    codes = option.codes(known[number])
    total = 0.0
    for node in reading.get(number, []):
        seen = _pooled(node.source, number, graph, codes)
        if isinstance(node, Averaging):
            exact = known[node.source].mean((2, 3))
            total += _relative(option.real(seen).mean((2, 3)) - exact, exact)
        else:
            total += layer_error(node, option, seen, known, plan, method)
    if number in added:
        stored = option.real(codes) - known[number]
        total += sum(float(stored.double().square().mean()) / _variance(known[target]) for target in added[number])
    return total


def layer_error(
    layer: Layer, source: Format, codes: Tensor, known: dict[int, Tensor], plan: Plan, method: str
) -> float:
    """The squared error of a layer's normalised output, by its variance, when it reads `codes`.

    A constant error of a channel does not count: its bias takes it on.
    """
    trial = Plan(plan.bits, plan.groups, plan.rescale, {}, {layer.name: grid_for(layer, source, plan, method)})
    found = operand(layer, trial, source)
    y = distance(found, *sums(layer, found, codes, source))
    exact = similarity(layer, known[layer.source], layer.weight)
    error = (y - exact).var((0, 2, 3), correction=0) * layer.gain.square()
    spread = exact.double().var((0, 2, 3), correction=0) * layer.gain.square()
    return float(error.sum() / spread.sum().clamp_min(1e-30))


def _pooled(number: int, root: int, graph: Graph, codes: Tensor) -> Tensor:
    """`codes` of value `root` as value `number` has them, through the pooling between the two."""
    chain: list[Pooling] = []
    by_target = {node.target: node for node in graph.nodes}
    while number != root:
        node = by_target[number]
        assert isinstance(node, Pooling)  # nothing else shares codes
        chain.append(node)
        number = node.source
    for node in reversed(chain):
        codes = nnf.max_pool2d(codes, node.size, node.stride, node.padding)
    return codes


def _variance(values: Tensor) -> float:
    return max(float(values.double().var(correction=0)), 1e-30)


def _relative(error: Tensor, exact: Tensor) -> float:
    return float(error.double().square().mean()) / _variance(exact)


def signal_to_noise(graph: Graph, known: dict[int, Tensor], found: Iterable[tuple[int, Tensor]]) -> dict[str, float]:
    """Of each value, 10 · log10(variance / mean squared error) in decibels; `found` has their numbers as stored."""
    names = {node.target: node.name for node in graph.nodes} | {0: "input"}
    return {
        names[number]: float(
            10
            * torch.log10(
                torch.tensor(_variance(known[number])) / (value - known[number]).square().mean().clamp_min(1e-30)
            )
        )
        for number, value in found
    }
