"""Calls straight into the C library on prepared pointers: in-kernel time, without what Python and torch add."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from addercore.ops.c import library
from benchmarks.kernels.operations import Call, Data

PREFIX = "c-"


class _Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in (
        "N", "C", "H", "W", "F", "KH", "KW", "OH", "OW", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h",
        "dilation_w", "groups",
    )]  # fmt: skip


class _Epilogue(ctypes.Structure):
    _fields_ = [
        ("scale", ctypes.c_void_p), ("shift", ctypes.c_void_p), ("residual", ctypes.c_void_p), ("relu", ctypes.c_int64),
        ("mean", ctypes.c_void_p), ("variance", ctypes.c_void_p),
    ]  # fmt: skip


_INT, _POINTER = ctypes.c_int, ctypes.c_void_p
_FORWARD = ctypes.CFUNCTYPE(_INT, _INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT)
_GRAD_INPUT = ctypes.CFUNCTYPE(_INT, _INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT)


@cache
def instruction_sets() -> dict[str, int]:
    """Backend name → index, of those that this processor has, best first; empty where the library is not built."""
    if library.missing() is not None:
        return {}
    lib = library.load()
    name = ctypes.CFUNCTYPE(ctypes.c_char_p, _INT)(("adder_isa_name", lib))
    supported = ctypes.CFUNCTYPE(_INT, _INT)(("adder_isa_supported", lib))
    count = ctypes.CFUNCTYPE(_INT)(("adder_isa_count", lib))()
    return {PREFIX + name(index).decode(): index for index in range(count) if supported(index)}


def call(backend: str, operation: str, of: Data, threads: int) -> Call | None:
    """The operation by one entry of the library on tensors made here; None where the library has no such entry.

    The function's status is looked at once, here: a kernel that ran out of memory would look fast.
    """
    isa = instruction_sets().get(backend)
    if isa is None or operation not in ("forward", "forward_moments", "forward_affine", "grad_input"):
        return None
    layer, g = of.layer, of.layer.geometry
    shape = _Shape(
        layer.batch, layer.inputs * g.groups, *layer.size, layer.filters, *layer.kernel, *layer.output,
        *g.stride, *g.padding, *g.dilation, g.groups,
    )  # fmt: skip
    kept: list[Any] = [shape, of]
    if operation == "grad_input":
        kept.append(torch.empty_like(of.x))
        pointers = [ctypes.byref(shape), *map(_pointer, (of.grad, of.x, of.weight, kept[-1]))]
        function = _GRAD_INPUT(("adder_grad_input", library.load()))
    else:
        y, mean, variance = torch.empty_like(of.grad), torch.empty(layer.filters), torch.empty(layer.filters)
        epilogue = _Epilogue()
        if operation == "forward_moments":
            epilogue.mean, epilogue.variance = mean.data_ptr(), variance.data_ptr()
        elif operation == "forward_affine":
            epilogue.scale, epilogue.shift, epilogue.relu = of.scale.data_ptr(), of.shift.data_ptr(), 1
        kept += [y, mean, variance, epilogue]
        pointers = [ctypes.byref(shape), *map(_pointer, (of.x, of.weight, y)), ctypes.byref(epilogue)]
        function = _FORWARD(("adder_forward", library.load()))
    arguments = (_INT(isa), *pointers, _INT(threads))

    def run(_alive: object = kept) -> object:
        return function(*arguments)

    status = function(*arguments)
    if status != 0:
        raise RuntimeError(f"{backend} {operation} on {layer} returned {status}")
    return run


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
