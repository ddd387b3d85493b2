"""Layers with binary weights: the paper's baseline and XNOR-Net's two, as torch modules.

The stored parameters are float weights W, the convolutional twin's; what is computed with them has one bit each and a
factor α: W_b = α · sign(W), with sign(0) = +1 since a bit has no third value.

| kind | arXiv | α | input X | output |
|---|---|---|---|---|
| `bnn`, DoReFa-Net | 1606.06160 | mean of all |W|, one a layer | b = round(clip(X, 0, 1)), a bit | α · (b ∗ sign W) |
| `xnor`, XNOR-Net | 1603.05279 | mean of a filter's |W| | s = sign X | α · K ⊙ (s ∗ sign W) |
| `bwn`, binary weights | 1603.05279 | mean of a filter's |W| | as it is | X ∗ (α · sign W) |

K (eq. 11 there) is the mean of |X| over the channels, averaged over each window. Its authors' code leaves it out; it
stays in here, as published, because the batch normalisation behind the layer cannot make up for what differs from
place to place. Padding is 0 and takes no part in a sum, so sums there have fewer terms.

Straight-through gradients, as published: sign X and, for `xnor` and `bwn`, sign W pass the gradient on where |·| ≤ 1;
the rounding does for 0 ≤ X ≤ 1; DoReFa's weights pass ∂W_b on as ∂W, whatever α. α and K of XNOR-Net are functions of
W and X and are differentiated as such (its eq. for ∂W keeps only the diagonal of ∂α/∂W).
"""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

Binary = Literal["bnn", "xnor", "bwn"]
_LEAST = 1e-12  # α of a layer of zeros, where its inverse is needed


def _signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x.new_ones(()), -x.new_ones(()))


class _Sign(torch.autograd.Function):
    """sign(x) as ±1; the gradient passes where |x| ≤ 1."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        inside: Tensor = ctx.saved_tensors[0]
        return grad * inside


class _DoReFaSign(torch.autograd.Function):
    """sign(w) of W_b = α · sign(w), with ∂w = ∂W_b: what comes back is α · ∂W_b."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(alpha)
        return _signs(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (alpha,) = ctx.saved_tensors
        return grad / alpha.clamp_min(_LEAST), None


class _Bit(torch.autograd.Function):
    """round(clip(x, 0, 1)); the gradient passes where 0 ≤ x ≤ 1."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward((x >= 0) & (x <= 1))
        return x.clamp(0, 1).round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        inside: Tensor = ctx.saved_tensors[0]
        return grad * inside


class BinaryLayer(nn.Module):
    """Base of the binary layers. `weight` holds the float weights that are trained."""

    weight: Tensor
    binary: Binary

    def _set(self, binary: Binary) -> None:
        if binary not in get_args(Binary):
            raise ValueError(f"unknown binary layer {binary!r}; known: {', '.join(get_args(Binary))}")
        self.binary = binary

    def alpha(self) -> Tensor:
        """The scaling factors: (1,) for `bnn`, (filters,) for the others."""
        if self.binary == "bnn":
            return self.weight.detach().abs().mean().reshape(1)
        return self.weight.abs().flatten(1).mean(1)

    def binary_weight(self) -> Tensor:
        """W_b = α · sign(W), of the weights' shape: ±α and nothing else."""
        alpha = self.alpha()
        return self._weight_signs(alpha) * alpha.view(-1, *[1] * (self.weight.dim() - 1))

    def bits(self, x: Tensor) -> Tensor:
        """The values that enter the sums.

        Args:
            x: the layer's input.

        Returns:
            Of the shape of `x`: 0 and 1 (`bnn`), −1 and 1 (`xnor`), or `x` itself (`bwn`).
        """
        if self.binary == "bwn":
            return x
        bits: Tensor = (_Bit if self.binary == "bnn" else _Sign).apply(x)  # type: ignore[no-untyped-call]
        return bits

    def _weight_signs(self, alpha: Tensor) -> Tensor:
        arguments = (self.weight, alpha) if self.binary == "bnn" else (self.weight,)
        signs: Tensor = (_DoReFaSign if self.binary == "bnn" else _Sign).apply(*arguments)  # type: ignore[no-untyped-call]
        return signs

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's similarity x·w with the given weights."""
        raise NotImplementedError

    def _means(self, x: Tensor) -> Tensor:
        """K of eq. 11, to be multiplied with the output."""
        raise NotImplementedError

    def _channels(self, alpha: Tensor) -> Tensor:
        """α in the shape in which it multiplies the output."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer.

        Args:
            x: (N, in_channels, H, W) for a convolution, (…, in_features) for a linear layer.

        Returns:
            (N, out_channels, H', W') or (…, out_features).
        """
        if self.binary == "bwn":
            return self._sums(x, self.binary_weight())
        alpha = self.alpha()
        sums = self._sums(self.bits(x), self._weight_signs(alpha))  # whole numbers; α · bits would round each term
        factor = self._channels(alpha).to(sums.dtype)
        return sums * (factor if self.binary == "bnn" else factor * self._means(x).to(sums.dtype))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, binary={self.binary}"


class Binary2d(BinaryLayer, nn.Conv2d):
    """A convolution with binary weights, and for `bnn` and `xnor` binary inputs. It has no bias.

    Args:
        in_channels: channels of the input.
        out_channels: filters, the channels of the output.
        kernel_size: pixels of a window; a pair is (vertical, horizontal), also below.
        stride: pixels between windows.
        padding: pixels of zeros on every side, which take no part in a sum.
        dilation: pixels between the taps of a window.
        groups: groups of channels that do not see each other; divides both numbers of channels.
        binary: "bnn" (DoReFa-Net with one bit), "xnor" (XNOR-Net) or "bwn" (binary weights, inputs as they are).

    Raises:
        ValueError: an unknown `binary`; torch's Conv2d raises its own for sizes.

    Source:
        Zhou et al., DoReFa-Net (2016), https://arxiv.org/abs/1606.06160; Rastegari et al., XNOR-Net (ECCV 2016),
        https://arxiv.org/abs/1603.05279. The module's head has the equations.
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
        binary: Binary = "xnor",
    ) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
        self._set(binary)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return nnf.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def _means(self, x: Tensor) -> Tensor:
        """(N, out_channels or 1, H', W')"""
        size = torch.stack([part.abs().mean(1) for part in x.chunk(self.groups, 1)], 1)  # (N, groups, H, W)
        window = size.new_full((self.groups, 1, *self.kernel_size), 1 / (self.kernel_size[0] * self.kernel_size[1]))
        means = nnf.conv2d(size, window, None, self.stride, self.padding, self.dilation, self.groups)
        return means if self.groups == 1 else means.repeat_interleave(self.out_channels // self.groups, 1)

    def _channels(self, alpha: Tensor) -> Tensor:
        return alpha.view(-1, 1, 1)


class BinaryLinear(BinaryLayer, nn.Linear):
    """A linear layer with binary weights, and for `bnn` and `xnor` binary inputs. It has no bias.

    Args:
        in_features: values of an input row.
        out_features: values of an output row.
        binary: "bnn", "xnor" or "bwn", as for `Binary2d`.

    Raises:
        ValueError: an unknown `binary`.
    """

    def __init__(self, in_features: int, out_features: int, binary: Binary = "xnor") -> None:
        nn.Linear.__init__(self, in_features, out_features, bias=False)
        self._set(binary)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return nnf.linear(x, weight)

    def _means(self, x: Tensor) -> Tensor:
        """(…, 1)"""
        return x.abs().mean(-1, keepdim=True)

    def _channels(self, alpha: Tensor) -> Tensor:
        return alpha
