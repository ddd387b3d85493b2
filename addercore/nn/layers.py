"""Adder layers as torch modules."""

import torch
from torch import Tensor, nn

from addercore.ops import Gradient, adder_conv2d, adder_linear, get
from addercore.ops.checks import pair
from addercore.ops.library import LayerOptions
from addercore.ops.variants import Clip


class AdderLayer(nn.Module):
    """Base of adder layers. `AdderSGD` gives the `weight` of each of them a local learning rate (eq. 13)."""

    weight: nn.Parameter
    clip: Clip = "hardtanh"
    """Of the input's gradient, as for `adder_conv2d`; a training sets it."""
    p: float = 1.0
    """The power of |X − F|, as for `adder_conv2d`; a training changes it from step to step."""

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
        """Draws the filters from N(0, 1), as the authors' code does."""
        nn.init.normal_(self.weight)

    @property
    def options(self) -> LayerOptions:
        """(stride, padding, dilation, groups, backend), as the operators take them."""
        return (1, 1), (0, 0), (1, 1), 1, self.backend or ""

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, gradient={self.gradient}, backend={self.backend}"


class Adder2d(AdderLayer):
    """The adder layer as a module: `adder_conv2d` with filters of its own.

    It has no bias, since a batch normalisation follows. Filters are drawn from N(0, 1).

    Args:
        in_channels: channels of the input.
        out_channels: filters, the channels of the output.
        kernel_size: pixels of a window; a pair is (vertical, horizontal), also below.
        stride: pixels between windows.
        padding: pixels of zeros on every side.
        dilation: pixels between the taps of a window.
        groups: groups of channels that do not see each other; divides both numbers of channels.
        backend: name of the kernels that compute, as for `adder_conv2d`.
        gradient: "full_precision" (eq. 5) or "sign" (eq. 4), for the filters.

    Raises:
        ValueError: sizes below 1, groups that do not divide the channels, or an unknown backend.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200, eq. 2.
    """

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
        kernel = pair("kernel_size", kernel_size, 1)
        super().__init__((out_channels, in_channels // groups, *kernel), backend, gradient)
        self.stride, self.padding = pair("stride", stride, 1), pair("padding", padding, 0)
        self.dilation, self.groups = pair("dilation", dilation, 1), groups

    @property
    def options(self) -> LayerOptions:
        """(stride, padding, dilation, groups, backend), as the operators take them."""
        return self.stride, self.padding, self.dilation, self.groups, self.backend or ""

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer (eq. 2).

        Args:
            x: (N, in_channels, H, W).

        Returns:
            (N, out_channels, H', W').
        """
        return adder_conv2d(
            x,
            self.weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            backend=self.backend,
            gradient=self.gradient,
            clip=self.clip,
            p=self.p,
        )


class AdderLinear(AdderLayer):
    """The fully connected adder layer as a module: `adder_linear` with filters of its own, drawn from N(0, 1). No bias.

    Args:
        in_features: values of an input row.
        out_features: filters, the values of an output row.
        backend: name of the kernels that compute, as for `adder_conv2d`.
        gradient: "full_precision" (eq. 5) or "sign" (eq. 4), for the filters.

    Raises:
        ValueError: sizes below 1, or an unknown backend.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        backend: str | None = None,
        gradient: Gradient = "full_precision",
    ) -> None:
        super().__init__((out_features, in_features), backend, gradient)

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer (eq. 2).

        Args:
            x: (…, in_features).

        Returns:
            (…, out_features).
        """
        return adder_linear(x, self.weight, backend=self.backend, gradient=self.gradient, clip=self.clip, p=self.p)


def adder_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The filters of every adder layer in `model`, by the layer's name."""
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, AdderLayer)}
