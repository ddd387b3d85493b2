"""The sums of binary layers on packed bits: XNOR and popcount instead of products. A reference for tests.

For signs x, w ∈ {−1, 1} of n taps, as bits of words: Σ x·w = n − 2 · popcount(x XOR w). Where a value is 0 (padding, or
an activation of DoReFa-Net, which are 0 and 1) its bit is masked out, and n is what is left.
"""

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.arch.shapes import output_length
from addercore.nn.binary import Binary2d, BinaryLinear

Words = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def packed_dot(x: Tensor, weight: Tensor) -> Tensor:
    """Σ x·w as int64 (P, c_out), for x (P, n) of −1, 0 and 1 and weight (c_out, n) of −1 and 1."""
    counted, positive = _pack(x != 0), _pack(x > 0)  # (P, n / 8)
    differing = (positive[:, None, :] ^ _pack(weight > 0)[None, :, :]) & counted[:, None, :]
    n = np.bitwise_count(counted).sum(-1, dtype=np.int64)[:, None]
    return torch.from_numpy(n - 2 * np.bitwise_count(differing).sum(-1, dtype=np.int64))


def _pack(bits: Tensor) -> Words:
    return np.packbits(bits.numpy(), axis=-1)


@torch.no_grad()
def packed_sums(layer: Binary2d | BinaryLinear, x: Tensor) -> Tensor:
    """The integer sums (int64) that a `bnn` or `xnor` layer multiplies by α (and K), of the output's shape."""
    values, signs = layer.bits(x), torch.where(layer.weight >= 0, 1, -1).flatten(1)
    if isinstance(layer, BinaryLinear):
        return packed_dot(values.flatten(0, -2), signs).reshape(*values.shape[:-1], -1)
    padding, stride, dilation = (tuple(map(int, part)) for part in (layer.padding, layer.stride, layer.dilation))
    parts = []
    for part, filters in zip(values.chunk(layer.groups, 1), signs.chunk(layer.groups), strict=True):
        columns = nnf.unfold(part, layer.kernel_size, dilation, padding, stride)  # (N, c_in/G · kh · kw, L)
        sums = packed_dot(columns.transpose(1, 2).flatten(0, 1), filters)  # (N · L, c_out/G)
        parts.append(sums.reshape(len(x), -1, len(filters)).transpose(1, 2))
    height = output_length(x.shape[2], layer.kernel_size[0], stride[0], padding[0], dilation[0])
    return torch.cat(parts, 1).reshape(len(x), len(signs), height, -1)
