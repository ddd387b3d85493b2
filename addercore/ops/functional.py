"""The public operations."""

from typing import Literal

from torch import Tensor

from addercore.ops import library
from addercore.ops.checks import pair

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
) -> Tensor:
    """Adder layer, eq. 2: Y(n, f, p) = −Σ_k |X(n, p, k) − F(f, k)|, always ≤ 0.

    input (N, c_in, H, W), weight (c_out, c_in/groups, kh, kw) → (N, c_out, H', W'), H' as for a convolution.
    Zero padding is not neutral: a padded tap contributes −|F|. Gradients are the paper's: eq. 5 (or eq. 4 with
    gradient="sign") for the weight, eqs. 6 and 7 for the input in both cases; there is no second derivative.

    float32, float64, bfloat16 and float16, the half types accumulated in float32. The output has the input's type,
    under autocast float32 in place of a half type; a gradient has the type of its tensor. Any memory format is
    taken, results are contiguous.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(GRADIENTS)}")
    if not isinstance(groups, int) or isinstance(groups, bool):
        raise ValueError(f"groups must be an integer ≥ 1, got {groups!r}")
    result: Tensor = library.forward(
        input,
        weight,
        gradient == "sign",
        pair("stride", stride, 1),
        pair("padding", padding, 0),
        pair("dilation", dilation, 1),
        groups,
        backend or "",
    )
    return result


def adder_linear(
    input: Tensor, weight: Tensor, backend: str | None = None, gradient: Gradient = "full_precision"
) -> Tensor:
    """The adder layer with d = 1: input (…, in), weight (out, in) → (…, out), Y = −Σ_k |X_k − F_fk|."""
    if weight.dim() != 2 or input.dim() < 1 or input.shape[-1] != weight.shape[1] or not weight.shape[1]:
        raise ValueError(
            f"adder_linear takes an input (…, in) and a weight (out, in), in ≥ 1, "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    rows = input.reshape(-1, input.shape[-1], 1, 1)
    y = adder_conv2d(rows, weight[:, :, None, None], backend=backend, gradient=gradient)
    return y.reshape(*input.shape[:-1], weight.shape[0])
