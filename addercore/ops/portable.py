"""The adder layer in ordinary torch operations, on any device, in bounded memory.

Work is cut into pieces whose temporaries stay below `TEMPORARY` elements (they fit a processor's cache), and images
into runs whose columns stay below `COLUMNS`. Measured on an AVX-512 core over LeNet-5-BN's layers, `cdist`
(vectorised over taps, no temporary) and a batched matrix product over clamped differences reach 2.5–5 and 4–5.5
G elements/s; loops over filters (abs, max form, vector norm, addcmul) reached 0.2–6, depending on the layer's shape.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from addercore.ops.backend import Backend
from addercore.ops.geometry import Geometry

TEMPORARY = 2**20  # elements of a clamped-difference piece: 4 MiB in fp32
COLUMNS = 2**23  # elements of gathered columns: 32 MiB in fp32


def _runs(total: int, each: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cuts `total` items of `each` elements into [begin, end) runs of at most `limit` elements, one item at least."""
    step = max(1, limit // max(1, each))
    yield from pairwise([*range(0, total, step), total])


class Portable(Backend):
    """Eq. 2 by `torch.cdist` (abs form: ≤ 0, exactly 0 at X = F), eq. 5 as a matrix product, eqs. 6, 7 in pieces."""

    name = "portable"

    def _images(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Iterator[tuple[slice, slice, slice]]:
        """(images, input channels, filters) of each piece: runs of images by groups."""
        groups = geometry.groups
        kernel = (weight.shape[2], weight.shape[3])
        height, width = geometry.output_size((x.shape[2], x.shape[3]), kernel)
        inputs, filters = x.shape[1] // groups, weight.shape[0] // groups
        each = height * width * inputs * kernel[0] * kernel[1]
        for begin, end in _runs(x.shape[0], each, COLUMNS):
            for group in range(groups):
                yield (
                    slice(begin, end),
                    slice(group * inputs, (group + 1) * inputs),
                    slice(group * filters, (group + 1) * filters),
                )

    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """(N, c_in, H, W), (c_out, c_in/G, kh, kw) → (N, c_out, H', W')."""
        kernel = (weight.shape[2], weight.shape[3])
        size = geometry.output_size((x.shape[2], x.shape[3]), kernel)
        y = x.new_empty((x.shape[0], weight.shape[0], *size))
        flat = weight.flatten(1)  # (c_out, K)
        for images, inputs, filters in self._images(x, weight, geometry):
            columns = geometry.columns(x[images, inputs], kernel)  # (P, K)
            distances = torch.cdist(columns, flat[filters], p=1.0)  # (P, c_out/G)
            rows = distances.view(-1, *size, distances.shape[1]).permute(0, 3, 1, 2)
            torch.neg(rows, out=y[images, filters])
        return y

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """(N, c_out, H', W') → (N, c_in, H, W)."""
        kernel = (weight.shape[2], weight.shape[3])
        result = torch.empty_like(x)
        flat = weight.flatten(1)
        for images, inputs, filters in self._images(x, weight, geometry):
            part = x[images, inputs]
            columns = geometry.columns(part, kernel)  # (P, K)
            rows = grad[images, filters].permute(0, 2, 3, 1).reshape(columns.shape[0], 1, -1)  # (P, 1, c_out/G)
            result[images, inputs] = geometry.scatter(_clamped(rows, columns, flat[filters]), part.shape, kernel)
        return result

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor:
        """→ (c_out, c_in/G, kh, kw); `sign` takes eq. 4 in place of eq. 5."""
        kernel = (weight.shape[2], weight.shape[3])
        flat = weight.flatten(1)
        result = torch.zeros_like(flat)
        for images, inputs, filters in self._images(x, weight, geometry):
            columns = geometry.columns(x[images, inputs], kernel)  # (P, K)
            rows = grad[images, filters].permute(0, 2, 3, 1).reshape(columns.shape[0], -1)  # (P, c_out/G)
            if sign:
                result[filters] += _signed(rows, columns, flat[filters])
            else:  # Σ g(X − F) = gᵀX − F·Σg
                result[filters].addmm_(rows.t(), columns).addcmul_(flat[filters], rows.sum(0)[:, None], value=-1)
        return result.view_as(weight)


def _clamped(grad: Tensor, columns: Tensor, filters: Tensor) -> Tensor:
    """Σ_f g_f · clamp(F_f − X, −1, 1): (P, 1, f), (P, K), (f, K) → (P, K)."""
    result = torch.empty_like(columns)
    runs = list(_runs(columns.shape[0], filters.numel(), TEMPORARY))
    longest = max((end - begin for begin, end in runs), default=0)
    buffer = columns.new_empty((longest, *filters.shape))  # one for all runs: fresh pages cost more than the sums
    for begin, end in runs:
        slopes = torch.sub(filters, columns[begin:end, None], out=buffer[: end - begin]).clamp_(-1, 1)  # (p, f, K)
        torch.bmm(grad[begin:end], slopes, out=result[begin:end, None])
    return result


def _signed(grad: Tensor, columns: Tensor, filters: Tensor) -> Tensor:
    """Σ_p g_p · sgn(X_p − F): (P, f), (P, K), (f, K) → (f, K)."""
    result = torch.zeros_like(filters)
    runs = list(_runs(columns.shape[0], filters.numel(), TEMPORARY))
    longest = max((end - begin for begin, end in runs), default=0)
    buffer = columns.new_empty(longest * filters.numel())
    for begin, end in runs:
        shape = (filters.shape[0], end - begin, filters.shape[1])  # (f, p, K)
        out = buffer[: (end - begin) * filters.numel()].view(shape)
        signs = torch.sub(columns[begin:end], filters[:, None], out=out).sign_()
        result += torch.bmm(grad[begin:end].t()[:, None], signs)[:, 0]  # (f, 1, p) × (f, p, K)
    return result
