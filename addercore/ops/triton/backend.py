"""The backend's methods: what is a kernel of our own, and what is torch's."""

import torch
from torch import Tensor

from addercore.ops.backend import Backend
from addercore.ops.geometry import Geometry
from addercore.ops.triton.language import INTERPRETED
from addercore.ops.triton.launch import Epilogue, run_forward, run_grad_input, run_grad_sign

LEAST_CAPABILITY = (8, 0)


class TritonBackend(Backend):
    """Float32 tensors on an NVIDIA GPU from Ampere on; CPU tensors in Triton's interpreter. See docs/kernels-gpu.md."""

    name = "triton"

    def __init__(self, tf32: bool = False) -> None:
        """`tf32`: whether the filter gradient may round X and g to TF32's 11 bits for the tensor cores."""
        self.tf32 = tf32

    def refusal(self, device: torch.device, dtype: torch.dtype) -> str | None:
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
        return run_forward(x, weight, geometry, Epilogue())[0]

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        return run_grad_input(grad, x, weight, geometry)

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        """Eq. 5 is a convolution's weight gradient less F·Σg: cuDNN's, in float32 and by a deterministic algorithm."""
        if sign:
            return run_grad_sign(grad, x, weight, geometry)
        if grad.numel() == 0:
            return torch.zeros_like(weight)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=self.tf32):
            product = torch.ops.aten.convolution_backward(
                grad, x, weight, None, geometry.stride, geometry.padding, geometry.dilation,
                False, [0, 0], geometry.groups, [False, True, False],
            )[1]  # fmt: skip
        return torch.addcmul(product, weight, grad.sum((0, 2, 3))[:, None, None, None], value=-1)
