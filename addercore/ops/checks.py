"""Checks of the operators' arguments. Each error names the argument, its value and what is allowed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from addercore.ops.geometry import Geometry

Pair = Sequence[int]

DTYPES: Final = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Types that tensors may have; half types are computed in float32."""


def pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    """An argument as (vertical, horizontal); one integer stands for both."""
    both = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(both, tuple | list)
        or len(both) != 2
        or not all(isinstance(part, int) and not isinstance(part, bool) and part >= least for part in both)
    ):
        raise ValueError(f"{name} must be an integer ≥ {least} or two of them, got {value!r}")
    return both[0], both[1]


def check_tensors(**tensors: Tensor | None) -> None:
    """Raises `ValueError` unless all tensors have a floating type and are on the device of the first one."""
    first: tuple[str, Tensor] | None = None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dtype not in DTYPES:
            known = ", ".join(str(kind) for kind in DTYPES)
            raise ValueError(f"{name} must have one of the types {known}, got {tensor.dtype}; convert it with .to(…)")
        if first is None:
            first = (name, tensor)
        elif tensor.device != first[1].device:
            raise ValueError(
                f"{first[0]} is on {first[1].device} and {name} on {tensor.device}; move one to the other's device"
            )


def geometry_of(stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    """The geometry of an operator's arguments. Raises `ValueError` if one is out of range."""
    if groups < 1:
        raise ValueError(f"groups must be an integer ≥ 1, got {groups!r}")
    return Geometry(
        pair("stride", tuple(stride), 1),
        pair("padding", tuple(padding), 0),
        pair("dilation", tuple(dilation), 1),
        groups,
    )


def output_shape(x: Sequence[int], weight: Sequence[int], geometry: Geometry) -> tuple[int, int, int, int]:
    """The output's shape (N, c_out, H', W'). Raises `ValueError` if input, weight and geometry do not fit."""
    if len(x) != 4 or len(weight) != 4:
        raise ValueError(
            "an adder layer takes an input (N, c_in, H, W) and a weight (c_out, c_in/groups, kh, kw), "
            f"got {tuple(x)} and {tuple(weight)}"
        )
    c_out, inputs, *taps = weight
    kernel = (taps[0], taps[1])
    if c_out < 1 or inputs < 1 or kernel[0] < 1 or kernel[1] < 1:
        raise ValueError(f"weight must not be empty, got {tuple(weight)}")
    groups = geometry.groups
    if c_out % groups or x[1] != inputs * groups:
        raise ValueError(
            f"an input {tuple(x)} and a weight {tuple(weight)} do not fit in {groups!r} groups: "
            "c_in must be weight.shape[1]·groups, and c_out a multiple of groups"
        )
    height, width = geometry.output_size((x[2], x[3]), kernel)
    if height < 1 or width < 1:
        raise ValueError(f"the input {tuple(x)} is smaller than the window of {kernel}, {geometry}")
    return x[0], c_out, height, width


@lru_cache(maxsize=1024)
def known_layer(
    x: torch.Size, weight: torch.Size, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[Geometry, tuple[int, int, int, int]]:
    """Geometry and output's shape of checked arguments. Cached, since a network has few different layers."""
    geometry = geometry_of(stride, padding, dilation, groups)
    return geometry, output_shape(x, weight, geometry)


def check_shape(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raises `ValueError` unless `tensor`, if there is one, has this shape."""
    if tensor is not None and tensor.shape != shape:
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(tensor.shape)}")


def check_output(name: str, tensor: Tensor) -> None:
    """Raises `ValueError` unless `tensor` has the four dimensions of a layer's output (N, F, H', W')."""
    if tensor.dim() != 4:
        raise ValueError(f"{name} must have the shape (N, F, H', W'), got {tuple(tensor.shape)}")
