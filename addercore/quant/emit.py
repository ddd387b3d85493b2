"""From real factors to the integers of `addercore.runtime.program`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from addercore.errors import BadModel
from addercore.quant.graph import Addition, Averaging, Graph, Layer, Node, Pooling
from addercore.quant.operands import Operand, operand
from addercore.quant.plan import Format, Plan
from addercore.runtime.program import LEVELS, SCORES, Add, Adder, AvgPool, Dot, MaxPool, Op, Rescale

MULTIPLIER_BITS: Final = 30
"""The largest multiplier of an operation has as many: its relative error is below 2^-29."""
SUM_LIMIT: Final = 2**31
TOTAL_BITS: Final = 61
"""Everything before the shift stays below 2^61 in size, well within 64 bits."""
MOST_SHIFT: Final = 62
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Factors:
    """out = acc · multiplier (+ excess · excess_multiplier) + residual · residual_multiplier + bias, in codes.

    All float64: multiplier, bias and excess_multiplier are (F,).
    """

    multiplier: Tensor
    bias: Tensor
    residual: float = 0.0
    excess: Tensor | None = None


def power_of_two(values: Tensor) -> Tensor:
    """The nearest ±2^k on a scale of logarithms; 0 stays 0."""
    return torch.where(values == 0, values, values.sign() * torch.exp2(values.abs().clamp_min(1e-300).log2().round()))


def target_format(layer: Layer, plan: Plan) -> Format:
    """Of what a layer gives; scores are real numbers themselves."""
    return Format(1.0, 0, 0) if layer.target == SCORES else plan.formats[layer.target]


def layer_factors(layer: Layer, found: Operand, plan: Plan, residual: Format | None) -> Factors:
    """The normalisation, the scales and zeros of `layer` and the addition, as factors of its integer sums."""
    target = target_format(layer, plan)
    whole = found.sign * layer.gain / target.scale
    multiplier = whole * found.step
    excess = whole * found.excess_step if found.clipping is not None else None
    added = 0.0 if residual is None else residual.scale / target.scale
    if plan.rescale == "shift":
        multiplier = power_of_two(multiplier)
        whole = multiplier / found.step
        excess = None if excess is None else whole * found.excess_step
        added = 2.0 ** round(math.log2(added)) if added else 0.0
    bias = layer.offset / target.scale + whole * found.constant + target.zero
    if residual is not None:
        bias = bias - residual.zero * added
    return Factors(multiplier, bias, added, excess)


def rescale(name: str, factors: Factors, most: int, top: int, excess_most: int = 0) -> tuple[Rescale, Tensor | None]:
    """The integers of an operation, and the excess's multipliers.

    Args:
        name: the operation's, for messages.
        factors: in codes.
        most: the greatest size of its sum.
        top: the target's greatest code; 0 for scores.
        excess_most: the greatest sum of the excess.

    Raises:
        BadModel: a sum could overflow, or a factor has no integer form.
    """
    if max(most, excess_most) >= SUM_LIMIT:
        raise BadModel(f"{name}: its sums reach {max(most, excess_most):,}, more than 32 bits hold; use fewer bits")
    parts = [factors.multiplier, factors.bias] + ([] if factors.excess is None else [factors.excess])
    if not all(torch.isfinite(part).all() for part in parts):
        raise BadModel(f"{name}: its normalisation or scale is not finite; train the model again")
    size = factors.multiplier.abs() * most + factors.bias.abs() + abs(factors.residual) * LEVELS
    largest = torch.cat([factors.multiplier.abs(), torch.tensor([abs(factors.residual)], dtype=torch.float64)])
    if factors.excess is not None:
        size = size + factors.excess.abs() * excess_most
        largest = torch.cat([largest, factors.excess.abs()])
    room = TOTAL_BITS - math.ceil(math.log2(max(float(size.max()), 1.0)))
    wanted = MULTIPLIER_BITS - (math.floor(math.log2(max(float(largest.max()), 2.0**-40))) + 1)
    shift = min(wanted, room, MOST_SHIFT)
    if shift < 1:
        raise BadModel(
            f"{name}: its sums times their scale need more than 64 bits (a factor of {float(largest.max()):.3g}); "
            "calibrate with images like those of the training"
        )
    unit = 2.0**shift
    excess = None if factors.excess is None else (factors.excess * unit).round()
    found = Rescale(
        (factors.multiplier * unit).round().numpy().astype(np.int32),
        (factors.bias * unit).round().numpy().astype(np.int64),
        shift,
        top,
        round(factors.residual * unit),
    )
    return found, excess


def layer_op(layer: Layer, graph: Graph, plan: Plan) -> Adder | Dot:
    """The operation of `layer`."""
    shared = graph.stored_in()
    source = plan.formats[shared[layer.source]]
    residual = None if layer.residual is None else plan.formats[shared[layer.residual]]
    found = operand(layer, plan, source)
    factors = layer_factors(layer, found, plan, residual)
    top = target_format(layer, plan).top
    excess_most = 0 if found.clipping is None else layer.taps * int(found.clipping.excess.max())
    integers, excess = rescale(layer.name, factors, layer.taps * source.top * found.most, top, excess_most)
    window = replace(layer.window, pad=source.zero)
    weights = found.codes.numpy()
    if layer.kind == "conv":
        return Dot(
            layer.name, layer.source, layer.target, weights.astype(np.int8), window, integers, layer.residual
        )  # fmt: skip
    clipping = found.clipping
    if clipping is not None:
        assert excess is not None  # for types: factors have it where there are tables
        clipping = replace(clipping, excess_multiplier=excess.numpy().astype(np.int32))
    return Adder(
        layer.name, layer.source, layer.target, weights.astype(np.uint8), window, integers, layer.residual, clipping
    )


def node_op(node: Node, graph: Graph, plan: Plan) -> Op:
    """The operation of any node."""
    shared = graph.stored_in()
    match node:
        case Layer():
            return layer_op(node, graph, plan)
        case Pooling():
            return MaxPool(node.name, node.source, node.target, node.size, node.stride, node.padding)
        case Averaging():
            source, target = plan.formats[shared[node.source]], plan.formats[node.target]
            channels, height, width = graph.shapes[node.source]
            factor = _factor(source.scale / (height * width) / target.scale, plan)
            bias = target.zero - source.zero * factor * height * width
            found, _ = rescale(node.name, _same(channels, factor, bias), height * width * source.top, target.top)
            return AvgPool(node.name, node.source, node.target, found)
        case Addition():
            return _addition(node, graph, plan)


def _addition(node: Addition, graph: Graph, plan: Plan) -> Add:
    shared = graph.stored_in()
    source, residual = plan.formats[shared[node.source]], plan.formats[shared[node.residual]]
    target = plan.formats[node.target]
    factor, added = (_factor(one.scale / target.scale, plan) for one in (source, residual))
    if plan.rescale == "shift" and abs(added * target.scale / residual.scale - 1) > _ROUNDING:
        raise ValueError(
            f"{node.name} adds two values that no layer joins, which has no form with shifts; use multiply"
        )
    bias = target.zero - source.zero * factor - residual.zero * added
    factors = _same(graph.shapes[node.target][0], factor, bias, added)
    found, _ = rescale(node.name, factors, source.top, target.top)
    return Add(node.name, node.source, node.target, found, node.residual)


def _factor(value: float, plan: Plan) -> float:
    return value if plan.rescale == "multiply" else 2.0 ** round(math.log2(value))


def _same(channels: int, factor: float, bias: float, residual: float = 0.0) -> Factors:
    def each(value: float) -> Tensor:
        return torch.full((channels,), value, dtype=torch.float64)

    return Factors(each(factor), each(bias), residual)


def pixel_tables(graph: Graph, found: Format) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pixel → code of value 0, (C, 256): the input's normalisation is in it."""
    pixels = torch.arange(LEVELS, dtype=torch.uint8).repeat(graph.input_shape[0], 1)
    codes = found.codes(graph.normalised(pixels[None, :, None])[0, :, 0])
    return codes.numpy().astype(np.uint8)
