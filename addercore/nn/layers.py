"""Adder layers as torch modules."""

import torch
from torch import Tensor, nn

from addercore.ops import Gradient, adder_conv2d, adder_linear, get
from addercore.ops.checks import pair
from addercore.ops.library import LayerOptions


class AdderLayer(nn.Module):
    """Marks its `weight` as adder filters, which the optimizer gives a local learning rate (eq. 13)."""

    weight: nn.Parameter

    def __init__(self, shape: tuple[int, ...], backend: str | None, gradient: Gradient) -> None:
        super().__init__()
        if min(shape) < 1:
            raise ValueError(f"an adder layer's filters must not be empty, got {shape}")
        if backend is not None:
            get(backend)
        self.backend = backend
        self.gradient: Gradient = gradient
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """F ~ N(0, 1), as in the authors' code."""
        nn.init.normal_(self.weight)

    @property
    def options(self) -> LayerOptions:
        """(stride, padding, dilation, groups, backend), as the operators take them."""
        return (1, 1), (0, 0), (1, 1), 1, self.backend or ""

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, gradient={self.gradient}, backend={self.backend}"


class Adder2d(AdderLayer):
    """(N, in_channels, H, W) → (N, out_channels, H', W') by eq. 2; no bias: a batch normalisation follows."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        backend: str | None = None,
        gradient: Gradient = "full_precision",
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide {in_channels} input and {out_channels} output channels, got {groups}")
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        super().__init__((out_channels, in_channels // groups, *kernel), backend, gradient)
        self.stride, self.padding = pair("stride", stride, 1), pair("padding", padding, 0)
        self.dilation, self.groups = pair("dilation", dilation, 1), groups

    @property
    def options(self) -> LayerOptions:
        return self.stride, self.padding, self.dilation, self.groups, self.backend or ""

    def forward(self, x: Tensor) -> Tensor:
        return adder_conv2d(
            x,
            self.weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            backend=self.backend,
            gradient=self.gradient,
        )


class AdderLinear(AdderLayer):
    """(…, in_features) → (…, out_features) by eq. 2 with d = 1; no bias."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        backend: str | None = None,
        gradient: Gradient = "full_precision",
    ) -> None:
        super().__init__((out_features, in_features), backend, gradient)

    def forward(self, x: Tensor) -> Tensor:
        return adder_linear(x, self.weight, backend=self.backend, gradient=self.gradient)


def adder_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Layer name → filters, of every adder layer in `model`."""
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, AdderLayer)}
