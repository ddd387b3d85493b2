"""From a plan to the program, operation by operation, each one corrected by what calibration images show.

The integers before a layer are already known when its turn comes. So its output can be compared to the float network's,
and the normalisation, which is float until then, be chosen anew: an offset that takes on the mean error of a channel
(bias correction), or gain and offset of the least squared error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor

from addercore.quant import fast, grids
from addercore.quant.emit import node_op, pixel_tables, power_of_two, target_format
from addercore.quant.graph import Addition, Averaging, Graph, Layer, Pooling, channelwise, preactivation
from addercore.quant.operands import distance, operand, sums
from addercore.quant.plan import Format, Grouping, Plan, Steps, Tell, untold
from addercore.runtime.program import SCORES, Op, Program

Correction = Literal["none", "bias", "affine"]
CORRECTIONS: Final = ("none", "bias", "affine")
FRACTIONS: Final = tuple(place / 8 - 0.5 for place in range(8))
"""Exponents of 2 by which a scale may change, so that the gains of its layer come close to powers of two."""
TRUSTED: Final = 16
"""Outputs of a channel on the calibration images, below which a gain is not fitted to them."""


@dataclass(slots=True)
class Corrected:
    """A program's operations as far as they are known.

    Attributes:
        graph, plan: with what was corrected.
        codes: of the calibration images, by value; scores too.
        operations: those done.
    """

    graph: Graph
    plan: Plan
    codes: dict[int, Tensor]
    operations: list[Op]


def assemble(graph: Graph, plan: Plan, manifest: dict[str, Any]) -> Program:
    """The program of a plan, with the normalisation as it is."""
    operations = tuple(node_op(node, graph, plan) for node in graph.nodes)
    return Program(graph.input_shape, pixel_tables(graph, plan.formats[0]), graph.shapes, operations, manifest)


@torch.no_grad()
def corrected(
    graph: Graph, plan: Plan, known: dict[int, Tensor], correction: Correction, tell: Tell = untold
) -> Corrected:
    """Corrects layer by layer.

    Args:
        graph: the float network.
        plan: formats and grids. With "shift" some scales become others.
        known: the float network's values of calibration images.
        correction: "none", "bias", or "affine" for gain and offset.
        tell: is told what part is done, before each operation.

    Returns:
        Graph and plan from which `assemble` makes the program, and the calibration images' codes.
    """
    shared = graph.stored_in()
    plan = replace(plan, formats=dict(plan.formats), operands=dict(plan.operands))
    found = Corrected(graph, plan, {0: plan.formats[0].codes(known[0]).to(torch.uint8)}, [])
    for done, node in enumerate(graph.nodes):
        tell("correcting", done / len(graph.nodes))
        if isinstance(node, Layer):
            node = _layer(node, found, known, correction, shared)
            found.graph = found.graph.with_layers({node.name: node})
        elif plan.rescale == "shift" and not isinstance(node, Pooling):
            _align(found, node.target, _scale_before(node, found, shared), known)
        operation = node_op(node, found.graph, found.plan)
        found.codes[node.target] = fast.computed(operation, found.codes)
        found.operations.append(operation)
    return found


def _scale_before(node: Averaging | Addition, found: Corrected, shared: dict[int, int]) -> float:
    """What one code of the source adds to the target."""
    scale = found.plan.formats[shared[node.source]].scale
    if isinstance(node, Addition):
        return scale
    _, height, width = found.graph.shapes[node.source]
    return scale / (height * width)


def _align(found: Corrected, value: int, scale: float, known: dict[int, Tensor]) -> None:
    """Gives `value` a scale that is `scale` times a power of two: of the two nearest, the one of the smaller error."""
    old = found.plan.formats[value]
    power = math.floor(math.log2(old.scale / scale))
    options = [replace(old, scale=scale * 2.0**one) for one in (power, power + 1)]
    found.plan.formats[value] = min(options, key=lambda option: _stored_error(option, known[value]))


def _stored_error(option: Format, values: Tensor) -> float:
    return float((option.real(option.codes(values)) - values).double().square().mean())


def _layer(
    layer: Layer, found: Corrected, known: dict[int, Tensor], correction: Correction, shared: dict[int, int]
) -> Layer:
    """The layer with the gain and offset that its integers want."""
    plan = found.plan
    source = plan.formats[shared[layer.source]]
    plan.operands[layer.name] = _regrid(layer, found, source)
    if plan.rescale == "shift":
        _settle_scale(layer, found, known, shared)
        if layer.kind == "conv":
            grid = plan.steps(layer)
            plan.operands[layer.name] = grids.aligned(grid, layer, source, target_format(layer, plan).scale)
    fit = _fit(layer, found, known, shared)
    gain, offset = layer.gain, layer.offset
    if correction == "affine" and fit.count >= TRUSTED and not (plan.rescale == "shift" and layer.kind == "conv"):
        gain = fit.gain(layer.gain)
    if plan.rescale == "shift":
        unit = target_format(layer, plan).scale / operand(layer, plan, source).step
        gain = power_of_two(gain / unit) * unit
    if correction == "none":
        return replace(layer, gain=gain)
    return replace(layer, gain=gain, offset=fit.offset(gain) if fit.count >= 2 else offset)


def _regrid(layer: Layer, found: Corrected, source: Format) -> Grouping | Steps:
    """The layer's grid, on its source's scale as it is now."""
    if layer.kind == "conv":
        return found.plan.steps(layer)
    return grids.grouping(layer, source, found.plan.groups, found.plan.bits, found.plan.rescale)


def _settle_scale(layer: Layer, found: Corrected, known: dict[int, Tensor], shared: dict[int, int]) -> None:
    """For shifts: a residual's scale binds the target's; else the one is taken that suits the gains and the values."""
    if layer.target == SCORES:
        return
    if layer.residual is not None:
        _align(found, layer.target, found.plan.formats[shared[layer.residual]].scale, known)
        return
    if layer.kind == "conv":
        return
    fit = _fit(layer, found, known, shared)
    step = operand(layer, found.plan, found.plan.formats[shared[layer.source]]).step
    wanted = fit.gain(layer.gain)
    old = found.plan.formats[layer.target]

    def error(option: Format) -> float:
        unit = option.scale / step
        misfit = (power_of_two(wanted / unit) * unit - wanted).square() * fit.spread
        return float(misfit.mean()) + _stored_error(option, known[layer.target])

    options = [replace(old, scale=old.scale * 2.0**fraction) for fraction in FRACTIONS]
    found.plan.formats[layer.target] = min(options, key=error)


@dataclass(frozen=True, slots=True)
class Fit:
    """Second moments of a layer's integer output y and of what the float network has in its place, by channel."""

    count: int
    mean: Tensor
    wanted: Tensor
    spread: Tensor
    together: Tensor

    def gain(self, before: Tensor) -> Tensor:
        """Of the least squared error; `before` where y is constant, or where the two disagree in sign."""
        found = self.together / self.spread.clamp_min(1e-30)
        sound = (self.spread > 0) & (found * before > 0)
        return torch.where(sound, found, before)

    def offset(self, gain: Tensor) -> Tensor:
        """With which the means agree."""
        return self.wanted - gain * self.mean


def _fit(layer: Layer, found: Corrected, known: dict[int, Tensor], shared: dict[int, int]) -> Fit:
    source = found.plan.formats[shared[layer.source]]
    weights = operand(layer, found.plan, source)
    y = distance(weights, *sums(layer, weights, found.codes[layer.source], source))
    wanted = preactivation(layer, known).double()
    if layer.residual is not None:
        wanted = wanted - found.plan.formats[shared[layer.residual]].real(found.codes[layer.residual])
    mean, target = y.mean((0, 2, 3)), wanted.mean((0, 2, 3))
    y, wanted = y - channelwise(mean), wanted - channelwise(target)
    count = y.numel() // y.shape[1]
    return Fit(count, mean, target, y.square().mean((0, 2, 3)), (y * wanted).mean((0, 2, 3)))
