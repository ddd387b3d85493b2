"""The backend's methods: what is a kernel of our own, and what is torch's. Triton is imported with the first call."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Final

import torch
from torch import Tensor

from addercore.ops.backend import Backend
from addercore.ops.geometry import Geometry

LEAST_CAPABILITY: Final = (8, 0)


def _device(x: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device, which need not be the tensors'."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


@cache
def _kernels() -> ModuleType:
    from addercore.ops.triton import launch

    return launch


class TritonBackend(Backend):
    """Float32 tensors on an NVIDIA GPU from Ampere on; CPU tensors in Triton's interpreter. See docs/kernels-gpu.md."""

    name = "triton"

    def __init__(self, tf32: bool = False) -> None:
        """`tf32`: whether the filter gradient may round X and g to TF32's 11 bits for the tensor cores."""
        self.tf32 = tf32

    def refusal(self, device: torch.device, dtype: torch.dtype) -> str | None:
        from addercore.ops.triton.language import INTERPRETED

        if dtype != torch.float32:
            return "its kernels take float32; cast the tensors, or name the portable backend"
        if INTERPRETED:
            return None if device.type == "cpu" else "TRITON_INTERPRET=1 interprets on CPU tensors only; unset it"
        if device.type != "cuda" or torch.version.hip is not None:
            return "its kernels run on NVIDIA GPUs; move the tensors to one, or name the portable backend"
        capability = torch.cuda.get_device_capability(device)
        if capability < LEAST_CAPABILITY:
            return f"its kernels need compute capability 8.0, this GPU has {capability}; name the portable backend"
        return None

    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        kernels = _kernels()
        with _device(x):
            y: Tensor = kernels.run_forward(x, weight, geometry, kernels.PLAIN)[0]
        return y

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
        kernels = _kernels()
        with _device(x):
            z: Tensor = kernels.run_forward(x, weight, geometry, kernels.affine(scale, shift, residual, relu))[0]
        return z

    def forward_moments(self, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        kernels = _kernels()
        with _device(x):
            y, means, squares = kernels.run_forward(x, weight, geometry, kernels.MOMENTS)
            return y, *kernels.merged_moments(means, squares, y.shape[0] * y.shape[2] * y.shape[3])

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        with _device(x):
            dx: Tensor = _kernels().run_grad_input(grad, x, weight, geometry)
        return dx

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        """Eq. 5 is a convolution's weight gradient less F·Σg: cuDNN's, in float32 and by a deterministic algorithm."""
        if sign:
            with _device(x):
                signed: Tensor = _kernels().run_grad_sign(grad, x, weight, geometry)
            return signed
        if grad.numel() == 0:
            return torch.zeros_like(weight)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=self.tf32):
            product = torch.ops.aten.convolution_backward(
                grad, x, weight, None, geometry.stride, geometry.padding, geometry.dilation,
                False, [0, 0], geometry.groups, [False, True, False],
            )[1]  # fmt: skip
        return torch.addcmul(product, weight, grad.sum((0, 2, 3))[:, None, None, None], value=-1)

    def normalize(self, y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        from addercore.ops.triton.normalise import run_normalize

        with _device(y):
            return run_normalize(y, scale, shift, residual, relu)

    def normalize_backward(
        self, grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        from addercore.ops.triton.normalise import run_normalize_backward

        with _device(y):
            return run_normalize_backward(grad, z, y, mean, invstd, gamma)
