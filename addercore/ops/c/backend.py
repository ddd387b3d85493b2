"""Calls the C kernels with the pointers of torch's tensors."""

import ctypes
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final

import torch
from torch import Tensor

from addercore.ops.backend import Backend, pooled_shape
from addercore.ops.geometry import Geometry

_SHAPE: Final = (
    *("N", "C", "H", "W", "F", "KH", "KW", "OH", "OW"),
    *("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "groups"),
)


class Shape(ctypes.Structure):
    """The struct `adder_shape` of src/adder.h."""

    _fields_ = [(name, ctypes.c_int64) for name in _SHAPE]


class Epilogue(ctypes.Structure):
    """The struct `adder_epilogue` of src/adder.h; None leaves a part out."""

    _fields_ = [
        ("scale", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("residual", ctypes.c_void_p),
        ("relu", ctypes.c_int64),
        ("mean", ctypes.c_void_p),
        ("variance", ctypes.c_void_p),
    ]


@lru_cache(maxsize=256)
def _shape(x: torch.Size, weight: torch.Size, geometry: Geometry) -> tuple[Shape, tuple[int, int, int, int]]:
    """The layer's shape as the C struct, and the output's shape."""
    height, width = geometry.output_size((x[2], x[3]), (weight[2], weight[3]))
    pairs = (*geometry.stride, *geometry.padding, *geometry.dilation)
    shape = Shape(*x, weight[0], weight[2], weight[3], height, width, *pairs, geometry.groups)
    return shape, (x[0], weight[0], height, width)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@cache
def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with argument types: integers alone would be passed as 32 bits."""
    pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    shape, epilogue = ctypes.POINTER(Shape), ctypes.POINTER(Epilogue)
    library.adder_isa_name.restype = library.adder_compiler.restype = ctypes.c_char_p
    library.adder_forward.argtypes = [number, shape, *[pointer] * 3, epilogue, number]
    library.adder_grad_input.argtypes = [number, shape, *[pointer] * 4, number]
    library.adder_grad_weight.argtypes = [number, shape, *[pointer] * 4, size, number]
    library.adder_packed_size.argtypes, library.adder_packed_size.restype = [number, shape], size
    library.adder_pack.argtypes, library.adder_pack.restype = [number, shape, pointer, pointer], None
    library.adder_evaluate.argtypes = [number, pointer, *[size] * 3, pointer, number, number]
    library.adder_normalize.argtypes = [number, *[size] * 3, *[pointer] * 4, size, pointer, number]
    library.adder_normalize_backward.argtypes = [number, *[size] * 3, *[pointer] * 10, number]
    library.adder_normalize_pool.argtypes = [number, *[size] * 4, *[pointer] * 3, size, *[pointer] * 2, number]
    library.adder_normalize_pool_backward.argtypes = [number, *[size] * 4, *[pointer] * 9, number]
    return library


def _run(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments, torch.get_num_threads()) != 0:
        raise MemoryError("the adder kernels could not allocate their scratch memory")


class CBackend(Backend):
    """The kernels of one instruction set, in fp32. Results do not depend on the number of threads, to the bit."""

    def __init__(self, library: ctypes.CDLL, isa: int) -> None:
        self.library, self.isa = _declared(library), isa
        self.name = f"c-{self.library.adder_isa_name(isa).decode()}"

    @property
    def compiler(self) -> str:
        """What compiled the kernels: "gcc 12.2.0"."""
        return str(self.library.adder_compiler().decode())

    def refusal(self, device: torch.device, dtype: torch.dtype) -> str | None:
        if device.type != "cpu":
            return "the C kernels run on the CPU; leave the backend to its default, or move the tensors there"
        if dtype != torch.float32:
            return "the C kernels compute in float32; use the backend portable or reference for float64"
        return None

    def _forward(self, x: Tensor, weight: Tensor, geometry: Geometry, epilogue: Epilogue) -> Tensor:
        shape, size = _shape(x.shape, weight.shape, geometry)
        y = x.new_empty(size)
        _run(
            self.library.adder_forward,
            *(self.isa, shape, x.data_ptr(), weight.data_ptr(), y.data_ptr(), epilogue),
        )
        return y

    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        return self._forward(x, weight, geometry, Epilogue())

    def forward_affine(
        self,
        x: Tensor,
        weight: Tensor,
        geometry: Geometry,
        scale: Tensor,
        shift: Tensor,
        residual: Tensor | None,
        relu: bool,
    ) -> Tensor:
        epilogue = Epilogue(scale.data_ptr(), shift.data_ptr(), _pointer(residual), int(relu))
        return self._forward(x, weight, geometry, epilogue)

    def forward_moments(self, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = (
            weight.new_full(weight.shape[:1], torch.nan) for _ in range(2)
        )  # remains NaN if there are no outputs
        y = self._forward(x, weight, geometry, Epilogue(mean=mean.data_ptr(), variance=variance.data_ptr()))
        return y, mean, variance

    def normalize(self, y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        z = torch.empty_like(y)
        _run(
            self.library.adder_normalize,
            *(self.isa, *_extents(y), y.data_ptr(), scale.data_ptr(), shift.data_ptr(), _pointer(residual)),
            *(int(relu), z.data_ptr()),
        )
        return z

    def normalize_backward(
        self, grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        grad_y = torch.empty_like(y)
        masked = None if z is None else torch.empty_like(y)
        grad_gamma, grad_beta = torch.empty_like(mean), torch.empty_like(mean)
        inputs = (grad.data_ptr(), _pointer(z), *(tensor.data_ptr() for tensor in (y, mean, invstd, gamma)))
        outputs = (grad_y.data_ptr(), grad_gamma.data_ptr(), grad_beta.data_ptr(), _pointer(masked))
        _run(self.library.adder_normalize_backward, self.isa, *_extents(y), *inputs, *outputs)
        return grad_y, grad_gamma, grad_beta, grad if masked is None else masked

    def normalize_pool(self, y: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> tuple[Tensor, Tensor]:
        z = y.new_empty(pooled_shape(y.shape))
        winner = torch.empty_like(z, dtype=torch.uint8)
        inputs = (y.data_ptr(), scale.data_ptr(), shift.data_ptr(), int(relu))
        _run(self.library.adder_normalize_pool, self.isa, *y.shape, *inputs, z.data_ptr(), winner.data_ptr())
        return z, winner

    def normalize_pool_backward(
        self, grad: Tensor, winner: Tensor, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        results = torch.empty_like(y), torch.empty_like(mean), torch.empty_like(mean)
        pointers = (one.data_ptr() for one in (grad, winner, y, mean, invstd, gamma, *results))
        _run(self.library.adder_normalize_pool_backward, self.isa, *y.shape, *pointers)
        return results

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        shape, _ = _shape(x.shape, weight.shape, geometry)
        result = torch.empty_like(x)
        pointers = (tensor.data_ptr() for tensor in (grad, x, weight, result))
        _run(self.library.adder_grad_input, self.isa, shape, *pointers)
        return result

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        shape, _ = _shape(x.shape, weight.shape, geometry)
        result = torch.empty_like(weight)
        pointers = (tensor.data_ptr() for tensor in (grad, x, weight, result))
        _run(self.library.adder_grad_weight, self.isa, shape, *pointers, int(sign))
        return result


def _extents(y: Tensor) -> tuple[int, int, int]:
    """(N, F, positions)"""
    return y.shape[0], y.shape[1], y.shape[2] * y.shape[3]
