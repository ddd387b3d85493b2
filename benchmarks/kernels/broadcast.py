"""The layer as the authors' code computes it, written from its formula: what the kernels' speed-up is counted from.

All differences at once, (F, K, N·H'·W') elements, in the forward pass and again for each gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from addercore import networks
from addercore.arch import Network
from addercore.arch.layers import Conv
from addercore.nn import AdderLayer


class _Differences(torch.autograd.Function):
    """Columns (K, P) and filters (F, K) → (F, P)."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, filters: Tensor) -> Tensor:
        """Eq. 2: −Σ_k |F − X|."""
        ctx.save_for_backward(columns, filters)
        return -(filters[:, :, None] - columns[None]).abs().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs. 6, 7 for the columns: Σ_f g · clamp(F − X, −1, 1); eq. 5 for the filters: Σ_p g · (X − F)."""
        columns, filters = ctx.saved_tensors
        of_filters = ((columns[None] - filters[:, :, None]) * grad[:, None]).sum(2)
        of_columns = ((filters[:, :, None] - columns[None]).clamp(-1, 1) * grad[:, None]).sum(0)
        return of_columns, of_filters


def broadcast_adder_conv2d(x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """(N, c, H, W), (F, c, kh, kw) → (N, F, H', W'); unfold and its adjoint, fold, are torch's."""
    columns = nnf.unfold(x, weight.shape[2:], padding=padding, stride=stride)  # (N, K, H'·W')
    height = (x.shape[2] + 2 * padding[0] - weight.shape[2]) // stride[0] + 1
    flat = columns.permute(1, 2, 0).reshape(columns.shape[1], -1)  # (K, H'·W'·N)
    y: Tensor = _Differences.apply(flat, weight.flatten(1))  # type: ignore[no-untyped-call]
    return y.view(weight.shape[0], height, -1, x.shape[0]).permute(3, 0, 1, 2).contiguous()


class BroadcastAdder(AdderLayer):
    """An adder layer that computes this way."""

    def __init__(self, layer: Conv) -> None:
        super().__init__((layer.out_channels, layer.in_channels, *layer.kernel), None, "full_precision")
        if layer.groups != 1 or layer.dilation != (1, 1):
            raise ValueError(f"the broadcast form has neither groups nor dilation, got {layer}")
        self.stride, self.padding = layer.stride, layer.padding

    def forward(self, x: Tensor) -> Tensor:
        return broadcast_adder_conv2d(x, self.weight, self.stride, self.padding)


def broadcast_network(net: Network, seed: int) -> nn.Module:
    """`net` with adder layers of this kind inside, and convolutions first and last."""
    model = networks.build(net, method="conv", seed=seed)
    for placed in net.layers():
        if isinstance(placed.layer, Conv) and placed.layer.role == "inner":
            parent, _, name = placed.name.rpartition(".")
            setattr(model.get_submodule(parent), name, BroadcastAdder(placed.layer))
    return model
