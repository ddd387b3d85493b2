"""Calls straight into the C library on prepared pointers: in-kernel time, without what Python and torch add."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from addercore.ops.c import CBackend, backends
from addercore.ops.c.backend import Epilogue, Shape
from benchmarks.kernels.native import compiled
from benchmarks.kernels.operations import Data, Repeated


def repeated(backend: str, operation: str, of: Data, threads: int) -> Repeated | None:
    """Calls of one entry of the library on tensors made here; None for a backend that is not the library's."""
    compiled_one = backends().get(backend)
    if not isinstance(compiled_one, CBackend):
        return None
    library, isa, layer, g = compiled_one.library, compiled_one.isa, of.layer, of.layer.geometry
    (kh, kw), pairs = layer.kernel, (*g.stride, *g.padding, *g.dilation)
    shape = Shape(*of.x.shape, layer.filters, kh, kw, *layer.output, *pairs, g.groups)
    if operation in ("grad_input", "grad_weight"):
        result = torch.empty_like(of.x if operation == "grad_input" else of.weight)
        pointers = [_pointer(tensor) for tensor in (of.grad, of.x, of.weight, result)]
        if operation == "grad_input":
            return _repeated(library.adder_grad_input, (isa, ctypes.byref(shape), *pointers, threads), of)
        return _repeated(library.adder_grad_weight, (isa, ctypes.byref(shape), *pointers, 0, threads), of, signed=True)
    epilogue = Epilogue()
    moments = torch.empty(2, layer.filters)
    if operation == "forward_moments":
        epilogue.mean, epilogue.variance = (one.data_ptr() for one in moments)
    elif operation == "forward_affine":
        epilogue.scale, epilogue.shift, epilogue.relu = of.scale.data_ptr(), of.shift.data_ptr(), 1
    pointers = [_pointer(tensor) for tensor in (of.x, of.weight, torch.empty_like(of.grad))]
    arguments = (isa, ctypes.byref(shape), *pointers, ctypes.byref(epilogue), threads)
    return _repeated(library.adder_forward, arguments, of, moments)


def _repeated(entry: object, arguments: tuple[object, ...], *kept: object, signed: bool = False) -> Repeated:
    """What the pointers point to lives as long as the result: `kept`, and tensors as attributes of their pointers."""
    address = ctypes.cast(entry, ctypes.c_void_p)  # type: ignore[arg-type]
    size, number, pointer = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p
    function = compiled("repeat.c").repeat_signed if signed else compiled("repeat.c").repeat
    function.argtypes = [size, pointer, number, *[pointer] * 5, *([size] if signed else []), number]

    def run(times: int, _kept: object = kept) -> None:
        status = function(times, address, *arguments)
        if status != 0:  # a kernel that runs out of memory would look fast
            raise RuntimeError(f"an adder kernel returned {status}")

    return run


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    pointer = ctypes.c_void_p(tensor.data_ptr())
    pointer.tensor = tensor  # type: ignore[attr-defined]
    return pointer
