"""Runs an integer program on many images at once with torch: for accuracy, calibration and golden vectors.

It gives the integers of `addercore.runtime.reference`, bit for bit. Sums of differences are float32 where that is
exact, products float64; everything after them is int64.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from addercore.quant.graph import Layer
from addercore.quant.operands import Operand, sums
from addercore.quant.plan import Format
from addercore.runtime.program import SCORES, Add, Adder, AvgPool, Dot, MaxPool, Op, Program, Rescale

BATCH_VALUES: Final = 2**24
"""Numbers of the largest value that a batch may have."""


def run(program: Program, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores of images.

    Args:
        program: the network.
        images: uint8 (N, C, H, W).

    Returns:
        float32 (N, classes), the bits of `addercore.runtime.reference.run`.
    """
    parts = [values(program, part)[SCORES].numpy() for part in batches(program, images)]
    return np.concatenate(parts) if parts else np.empty((0, program.classes), np.float32)


def batches(program: Program, images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Parts of the images that fit into memory."""
    largest = max(int(np.prod(shape)) for shape in program.values)
    size = max(1, BATCH_VALUES // largest)
    return [images[at : at + size] for at in range(0, len(images), size)]


@torch.no_grad()
def values(program: Program, images: NDArray[np.uint8]) -> dict[int, Tensor]:
    """Every value of a batch: uint8 (N, C, H, W) by number, and the scores in float32 (N, classes)."""
    channels = torch.arange(program.input_shape[0]).view(1, -1, 1, 1)
    found = {0: torch.from_numpy(program.tables)[channels, torch.from_numpy(images).long()]}
    for operation in program.operations:
        found[operation.target] = computed(operation, found)
    return found


def computed(operation: Op, found: dict[int, Tensor]) -> Tensor:
    """The target of one operation."""
    source = found[operation.source]
    match operation:
        case MaxPool():
            pooled = nnf.max_pool2d(source.float(), operation.size, operation.stride, operation.padding)
            return pooled.to(torch.uint8)
        case AvgPool():
            return rescaled(source.long().sum((2, 3), keepdim=True), operation.rescale, None, operation.target)
        case Add():
            return rescaled(source.long(), operation.rescale, found[operation.residual], operation.target)
        case Adder() | Dot():
            acc, excess = _sums(operation, source)
            more = None
            if isinstance(operation, Adder) and operation.clipping is not None and excess is not None:
                more = excess * _channels(operation.clipping.excess_multiplier)
            residual = None if operation.residual is None else found[operation.residual]
            return rescaled(acc, operation.rescale, residual, operation.target, more)


def rescaled(acc: Tensor, rescale: Rescale, residual: Tensor | None, target: int, more: Tensor | None = None) -> Tensor:
    """The rule of `addercore.runtime.program`: int64 sums (N, F, H', W') → codes, or scores (N, F)."""
    value = acc * _channels(rescale.multiplier) + _channels(rescale.bias)
    if more is not None:
        value += more
    if residual is not None:
        value += residual.long() * rescale.residual_multiplier
    if target == SCORES:
        return (value.double() * 2.0**-rescale.shift).float().flatten(1)
    return ((value + (1 << (rescale.shift - 1))) >> rescale.shift).clamp_(0, rescale.top).to(torch.uint8)


def _sums(operation: Adder | Dot, codes: Tensor) -> tuple[Tensor, Tensor | None]:
    clipping = operation.clipping if isinstance(operation, Adder) else None
    weights = torch.from_numpy(operation.weights.astype(np.int64))
    nothing = torch.empty(0, dtype=torch.float64)
    layer = Layer(
        operation.name, "adder" if isinstance(operation, Adder) else "conv", operation.source, operation.target,
        weights, operation.window, nothing, nothing,
    )  # fmt: skip
    return sums(layer, Operand(weights, nothing, nothing, 1, clipping), codes, Format(1.0, operation.window.pad, 255))


def _channels(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64)).view(1, -1, 1, 1)
