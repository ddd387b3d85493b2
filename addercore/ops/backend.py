"""The interface of a backend: the layer and its gradients, and fused operations that it may override."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.ops.geometry import Geometry


def pooled_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """(N, F, H, W) → (N, F, H/2, W/2): the windows of 2×2, which leave out an odd row or column at the end."""
    images, channels, height, width = shape
    return images, channels, height // 2, width // 2


DEAD: Final = 4
"""The byte of a window whose maximum the ReLU made 0."""


def _per_channel(values: Tensor) -> Tensor:
    """(F,) → (F, 1, 1), to be broadcast over (N, F, H', W')."""
    return values[:, None, None]


class Backend(ABC):
    """An implementation of the layer. Its tensors are checked, contiguous, of one floating type and on one device.

    Shapes: x (N, c_in, H, W), weight (c_out, c_in/G, kh, kw), y, z, grad and residual (N, c_out, H', W'), everything
    per channel (c_out,). The fused methods are implemented here with ordinary operations; kernels override them.
    """

    name: str

    def refusal(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Why this backend cannot compute `dtype` on `device`, with the remedy; None if it can."""
        return None

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Eq. 2: Y = −Σ |X − F|."""

    @abstractmethod
    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Eqs. 6, 7: Σ_f g · clamp(F − X, −1, 1), of x's shape."""

    @abstractmethod
    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        """Eq. 5: Σ g · (X − F), or with `sign` eq. 4: Σ g · sgn(X − F), of weight's shape."""

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
        """act(scale · Y + shift + residual): the layer with its batch normalisation folded, for evaluation."""
        return self.normalize(self.forward(x, weight, geometry), scale, shift, residual, relu)

    def forward_moments(self, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        """(Y, its mean, its biased variance), both per channel over N, H' and W'."""
        y = self.forward(x, weight, geometry)
        variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        return y, mean, variance

    def normalize(self, y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        """act(scale · y + shift + residual), element by element; `act` is ReLU or nothing."""
        z = torch.addcmul(_per_channel(shift), y, _per_channel(scale))
        if residual is not None:
            z += residual
        return z.relu_() if relu else z

    def normalize_backward(
        self, grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(∂y, ∂γ, ∂β, gradient behind the ReLU) of z = act(γ · (y − mean) · invstd + β + residual), batch statistics.

        `z` is the output where a ReLU was applied, else None. The last of the four is the residual's gradient.
        """
        masked = grad if z is None else torch.where(z > 0, grad, 0)
        count = y.numel() // max(1, y.shape[1])
        centred = (y - _per_channel(mean)) * _per_channel(invstd)
        grad_beta = masked.sum((0, 2, 3))
        grad_gamma = (masked * centred).sum((0, 2, 3))
        grad_y = masked - (_per_channel(grad_beta) + centred * _per_channel(grad_gamma)) / max(1, count)
        return grad_y * _per_channel(gamma * invstd), grad_gamma, grad_beta, masked

    def normalize_pool(self, y: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> tuple[Tensor, Tensor]:
        """(z, winner): the maximum of each 2×2 window of act(scale · y + shift), and which of the four it is.

        Both have `pooled_shape`. The byte counts row by row from 0, or is `DEAD` where the ReLU made the maximum 0.
        """
        found, place = nnf.max_pool2d(self.normalize(y, scale, shift, None, False), 2, return_indices=True)
        width = y.shape[3]
        winner = (place // width % 2 * 2 + place % width % 2).to(torch.uint8)
        if relu:
            winner = winner.masked_fill_(found <= 0, DEAD)
            found = found.relu_()
        return found, winner

    def normalize_pool_backward(
        self, grad: Tensor, winner: Tensor, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(∂y, ∂γ, ∂β) of `normalize_pool` with batch statistics; grad and winner have its output's shape."""
        height, width = 2 * grad.shape[2], 2 * grad.shape[3]
        spread = torch.zeros_like(y)
        for number in range(DEAD):
            spread[:, :, number // 2 : height : 2, number % 2 : width : 2] = torch.where(winner == number, grad, 0)
        return self.normalize_backward(spread, None, y, mean, invstd, gamma)[:3]
