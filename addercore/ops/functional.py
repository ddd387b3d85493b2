"""The adder layer as functions of tensors."""

from typing import Literal

from torch import Tensor

from addercore.ops import library
from addercore.ops.checks import pair
from addercore.ops.variants import Clip, variant

Gradient = Literal["full_precision", "sign"]
GRADIENTS: tuple[str, ...] = ("full_precision", "sign")


def adder_conv2d(
    input: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    backend: str | None = None,
    gradient: Gradient = "full_precision",
    clip: Clip = "hardtanh",
    p: float = 1.0,
) -> Tensor:
    """The adder layer: Y(n, f, p) = −Σ_k |X(n, p, k) − F(f, k)|, which is never positive.

    The sum runs over the taps k of a window, as in a convolution; p is an output position. Zero padding is not
    neutral: a padded tap contributes −|F|. Tensors may be float32, float64, bfloat16 or float16; the half types are
    accumulated in float32. Gradients are the paper's and not the output's derivatives, so there is no second
    derivative.

    Args:
        input: X, (N, c_in, H, W), in any memory format.
        weight: the filters F, (c_out, c_in/groups, kh, kw), on the device of `input`.
        stride: pixels between windows; a pair is (vertical, horizontal), also below.
        padding: pixels of zeros on every side.
        dilation: pixels between the taps of a window.
        groups: groups of channels that do not see each other; divides c_in and c_out.
        backend: name of the kernels that compute (`addercore.ops.available()`). None takes ADDER_BACKEND from the
            environment, or else the fastest that the device has.
        gradient: "full_precision" takes eq. 5 for the weight, "sign" takes eq. 4; of p = 1 alone.
        clip: of the input's gradient: "hardtanh" takes eqs. 6 and 7, "none" F − X as it is, "sign" the derivative
            sgn(F − X).
        p: 1 ≤ p ≤ 2. Other powers than 1 compute −Σ |X − F|ᵖ with its derivatives (`addercore.ops.variants`), slowly.

    Returns:
        Y, (N, c_out, H', W'), contiguous, with H' and W' as for a convolution. It has the type of `input`; under
        autocast, float32 instead of a half type.

    Raises:
        ValueError: shapes, types, devices or options that do not fit each other, or a backend that cannot run here.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200, eqs. 2 and 4 to 7.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(GRADIENTS)}")
    if not isinstance(groups, int) or isinstance(groups, bool):
        raise ValueError(f"groups must be an integer ≥ 1, got {groups!r}")
    arguments = (
        pair("stride", stride, 1),
        pair("padding", padding, 0),
        pair("dilation", dilation, 1),
        groups,
        backend or "",
    )
    if clip != "hardtanh" or p != 1:
        return variant(input, weight, gradient == "sign", clip, p, *arguments)
    result: Tensor = library.forward(input, weight, gradient == "sign", *arguments)
    return result


def adder_linear(
    input: Tensor,
    weight: Tensor,
    backend: str | None = None,
    gradient: Gradient = "full_precision",
    clip: Clip = "hardtanh",
    p: float = 1.0,
) -> Tensor:
    """The fully connected adder layer: Y_f = −Σ_k |X_k − F_fk|, which is `adder_conv2d` with windows of one pixel.

    Args:
        input: X, (…, in).
        weight: F, (out, in), on the device of `input`.
        backend: as for `adder_conv2d`.
        gradient: as for `adder_conv2d`.
        clip: as for `adder_conv2d`.
        p: as for `adder_conv2d`.

    Returns:
        Y, (…, out).

    Raises:
        ValueError: shapes, types, devices or options that do not fit each other, or a backend that cannot run here.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200, eq. 2 with d = 1.
    """
    if weight.dim() != 2 or input.dim() < 1 or input.shape[-1] != weight.shape[1] or not weight.shape[1]:
        raise ValueError(
            f"adder_linear takes an input (…, in) and a weight (out, in), in ≥ 1, "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    rows = input.reshape(-1, input.shape[-1], 1, 1)
    y = adder_conv2d(rows, weight[:, :, None, None], backend=backend, gradient=gradient, clip=clip, p=p)
    return y.reshape(*input.shape[:-1], weight.shape[0])
