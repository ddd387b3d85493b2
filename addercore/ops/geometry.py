"""Stride, padding, dilation and groups of a layer, and the windows that follow from them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.arch.shapes import output_length


@dataclass(frozen=True, slots=True)
class Geometry:
    """The geometry of a two-dimensional layer; each pair is (vertical, horizontal)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """(H', W') for an input of (H, W)."""
        height, width = (
            output_length(size[a], kernel[a], self.stride[a], self.padding[a], self.dilation[a]) for a in (0, 1)
        )
        return height, width

    def windows(self, x: Tensor, kernel: tuple[int, int]) -> Tensor:
        """Taps of every output position, (N, c, H', W', kh, kw), as a view of the zero-padded input (N, c, H, W)."""
        top, left = self.padding
        if top or left:
            x = nnf.pad(x, (left, left, top, top))
        height, width = self.output_size((x.shape[2] - 2 * top, x.shape[3] - 2 * left), kernel)
        n, c, down, right = x.stride()
        return x.as_strided(
            (x.shape[0], x.shape[1], height, width, *kernel),
            (n, c, down * self.stride[0], right * self.stride[1], down * self.dilation[0], right * self.dilation[1]),
        )

    def columns(self, x: Tensor, kernel: tuple[int, int]) -> Tensor:
        """Input (N, c, H, W) → (N·H'·W', c·kh·kw), one row a position, in the order of `weight.flatten(1)`."""
        taps = self.windows(x, kernel).permute(0, 2, 3, 1, 4, 5)  # (N, H', W', c, kh, kw)
        return taps.reshape(-1, taps.shape[3] * kernel[0] * kernel[1])

    def scatter(self, columns: Tensor, shape: torch.Size, kernel: tuple[int, int]) -> Tensor:
        """The adjoint of `columns`: (N·H'·W', c·kh·kw) → (N, c, H, W), overlapping taps added up, padding dropped."""
        if shape[0] == 0:
            return columns.new_zeros(shape)
        rows = columns.view(shape[0], -1, columns.shape[1]).transpose(1, 2)  # (N, c·kh·kw, H'·W')
        return nnf.fold(rows, (shape[2], shape[3]), kernel, self.dilation, self.padding, self.stride)
