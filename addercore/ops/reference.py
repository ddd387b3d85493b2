"""The equations in plain PyTorch, whole and slow: what every other backend is compared with (in float64).

Memory is P·c_out·K for P output positions and K = c_in·kh·kw taps: for tests and for reading, not for training.
"""

import torch
from torch import Tensor

from addercore.ops.backend import Backend
from addercore.ops.geometry import Geometry


def _differences(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """X − F at every position, filter and tap: (G, P, c_out/G, K), K = c_in/G·kh·kw, P = N·H'·W'."""
    groups = geometry.groups
    kernel = (weight.shape[2], weight.shape[3])
    per_group = x.chunk(groups, dim=1)  # G × (N, c_in/G, H, W)
    columns = torch.stack([geometry.columns(part, kernel) for part in per_group])  # (G, P, K)
    filters = weight.reshape(groups, weight.shape[0] // groups, -1)  # (G, c_out/G, K)
    return columns[:, :, None, :] - filters[:, None, :, :]


def _by_position(grad: Tensor, groups: int) -> Tensor:
    """(N, c_out, H', W') → (G, P, c_out/G, 1)."""
    rows = grad.permute(0, 2, 3, 1).reshape(-1, groups, grad.shape[1] // groups)  # (P, G, c_out/G)
    return rows.transpose(0, 1).unsqueeze(-1)


def power(x: Tensor, weight: Tensor, geometry: Geometry, p: float) -> Tensor:
    """Y = −Σ |X − F|ᵖ: (N, c_in, H, W), (c_out, c_in/G, kh, kw) → (N, c_out, H', W')."""
    y = -_differences(x, weight, geometry).abs().pow(p).sum(-1)  # (G, P, c_out/G)
    height, width = geometry.output_size((x.shape[2], x.shape[3]), (weight.shape[2], weight.shape[3]))
    rows = y.transpose(0, 1).reshape(x.shape[0], height, width, weight.shape[0])
    return rows.permute(0, 3, 1, 2).contiguous()


def power_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, p: float, clip: str
) -> tuple[Tensor, Tensor]:
    """(∂x, ∂weight): ∂Y/∂F = p · |X − F|ᵖ⁻¹ · sgn(X − F), ∂Y/∂X = clip(−∂Y/∂F)."""
    d = _differences(x, weight, geometry)
    slope = p * d.abs().pow(p - 1) * d.sign()
    for_x = {"hardtanh": (-slope).clamp(-1, 1), "none": -slope, "sign": (-slope).sign()}[clip]
    rows = _by_position(grad, geometry.groups)
    columns = (rows * for_x).sum(2)  # (G, P, K)
    parts, kernel = x.chunk(geometry.groups, dim=1), (weight.shape[2], weight.shape[3])
    back = [geometry.scatter(each, part.shape, kernel) for each, part in zip(columns, parts, strict=True)]
    return torch.cat(back, dim=1), (rows * slope).sum(1).reshape(weight.shape)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, clip: str) -> Tensor:
    """∂x of p = 1: clamp(F − X, −1, 1) (eqs. 6, 7), F − X, or sgn(F − X)."""
    d = -_differences(x, weight, geometry)
    slope = {"hardtanh": d.clamp(-1, 1), "none": d, "sign": d.sign()}[clip]
    columns = (_by_position(grad, geometry.groups) * slope).sum(2)
    parts, kernel = x.chunk(geometry.groups, dim=1), (weight.shape[2], weight.shape[3])
    return torch.cat([geometry.scatter(each, part.shape, kernel) for each, part in zip(columns, parts, strict=True)], 1)


class Reference(Backend):
    """Equations 2, 4, 5, 6 and 7, straight from the paper."""

    name = "reference"

    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Eq. 2: Y = −Σ |X − F|; (N, c_in, H, W), (c_out, c_in/G, kh, kw) → (N, c_out, H', W')."""
        y = -_differences(x, weight, geometry).abs().sum(-1)  # (G, P, c_out/G)
        height, width = geometry.output_size((x.shape[2], x.shape[3]), (weight.shape[2], weight.shape[3]))
        rows = y.transpose(0, 1).reshape(x.shape[0], height, width, weight.shape[0])
        return rows.permute(0, 3, 1, 2).contiguous()

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Eqs. 6, 7: ∂Y/∂X = HT(F − X), HT = clamp to [−1, 1]; (N, c_out, H', W') → (N, c_in, H, W)."""
        slope = (-_differences(x, weight, geometry)).clamp(-1, 1)
        columns = (_by_position(grad, geometry.groups) * slope).sum(2)  # (G, P, K)
        parts = x.chunk(geometry.groups, dim=1)
        kernel = (weight.shape[2], weight.shape[3])
        return torch.cat(
            [geometry.scatter(rows, part.shape, kernel) for rows, part in zip(columns, parts, strict=True)], dim=1
        )

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        """Eq. 5: ∂Y/∂F = X − F, or with `sign` eq. 4: sgn(X − F); → (c_out, c_in/G, kh, kw)."""
        slope = _differences(x, weight, geometry)
        if sign:
            slope = slope.sign()
        return (_by_position(grad, geometry.groups) * slope).sum(1).reshape(weight.shape)
