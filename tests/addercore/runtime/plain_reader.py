"""A second reader of `model.adder` and a second definition of its numbers: plain Python, written from docs/integer.md.

Nothing of addercore is imported here, and no numpy: what this file does is all that another implementation has to do.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

Value = list[list[list[int]]]  # [channel][row][column]


class Op(NamedTuple):
    """The first fields of a record of 128 bytes, in the file's order."""

    kind: int
    source: int
    target: int
    residual: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    filters: int
    pad: int
    top: int
    shift: int
    layout: int
    residual_multiplier: int
    weights: int
    multiplier: int
    bias: int
    clipping: int
    clip_groups: int


RECORD = struct.Struct("<Iiii8HII4BiQQQQI")


class Model:
    """A model file."""

    def __init__(self, content: bytes) -> None:
        magic, version = struct.unpack_from("<8sI", content)
        if magic != b"ADDER\r\n\x1a" or version != 1:
            raise ValueError("no adder model of version 1")
        self.shape = struct.unpack_from("<III", content, 32)
        sections = [struct.unpack_from("<IIQQ", content, 64 + 32 * number) for number in range(6)]
        parts = [content[offset : offset + size] for _, _, offset, size in sections]
        self.tables, self.data = parts[2], parts[5]
        self.channels = [one[0] for one in struct.iter_unpack("<III", parts[3])]
        self.operations = [Op(*RECORD.unpack_from(parts[4], at)) for at in range(0, len(parts[4]), 128)]

    def scores(self, image: Value) -> list[float]:
        """Scores of one image, pixels [channel][row][column]."""
        tables = [self.tables[256 * number : 256 * number + 256] for number in range(self.shape[0])]
        values = {0: [[[table[x] for x in row] for row in plane] for table, plane in zip(tables, image, strict=True)]}
        for op in self.operations:
            values[op.target] = self.compute(op, values)
        return [plane[0][0] for plane in values[-1]]

    def compute(self, op: Op, values: dict[int, Any]) -> Any:
        x = values[op.source]
        height, width = len(x[0]), len(x[0][0])
        if op.kind == 4:
            return [[[self.rescale(op, c, sum(map(sum, x[c])), 0, 0)]] for c in range(len(x))]
        rows = (height + 2 * op.pad_h - (op.kernel_h - 1) * op.dilation_h - 1) // op.stride_h + 1
        columns = (width + 2 * op.pad_w - (op.kernel_w - 1) * op.dilation_w - 1) // op.stride_w + 1
        added = values[op.residual] if op.residual >= 0 else None

        def at(c: int, row: int, column: int, outside: int) -> int:
            return x[c][row][column] if 0 <= row < height and 0 <= column < width else outside

        def one(f: int, row: int, column: int) -> float:
            top, left = row * op.stride_h - op.pad_h, column * op.stride_w - op.pad_w
            more = added[f][row][column] * op.residual_multiplier if added else 0
            if op.kind == 5:
                return self.rescale(op, f, x[f][row][column], more, 0)
            taps = [
                (r, q, top + r * op.dilation_h, left + q * op.dilation_w)
                for r in range(op.kernel_h)
                for q in range(op.kernel_w)
            ]
            if op.kind == 3:
                return max(at(f, r, q, 0) for _, _, r, q in taps)
            each = len(x) // op.groups
            first = f // (op.filters // op.groups) * each
            seen = [(at(first + c, i, j, op.pad), c, r, q) for r, q, i, j in taps for c in range(each)]
            if op.kind == 2:
                acc = sum(code * self.weight(op, each, f, c, r, q) for code, c, r, q in seen)
                return self.rescale(op, f, acc, more, 0)
            clip, over = self.clipped(op, f)
            acc = sum(abs(clip[code] - self.weight(op, each, f, c, r, q)) for code, c, r, q in seen)
            return self.rescale(op, f, acc, more, sum(over[code] for code, *_ in seen))

        outputs = op.filters or len(x)
        return [[[one(f, i, j) for j in range(columns)] for i in range(rows)] for f in range(outputs)]

    def weight(self, op: Op, channels: int, f: int, c: int, row: int, column: int) -> int:
        if op.layout == 0:
            blocks = -(-channels // 8)
            steps, byte = blocks * op.kernel_h * op.kernel_w, c % 8
            step = (c // 8 * op.kernel_h + row) * op.kernel_w + column
        else:
            whole, rest = divmod(op.kernel_w * channels, 8)
            shared = 8 // rest if rest else 1
            steps = op.kernel_h * whole + (-(-op.kernel_h // shared) if rest else 0)
            place = column * channels + c
            step, byte = row * whole + place // 8, place % 8
            if place >= 8 * whole:
                step, byte = op.kernel_h * whole + row // shared, row % shared * rest + place - 8 * whole
        found = self.data[op.weights + ((f // 8 * steps + step) * 8 + f % 8) * 8 + byte]
        return found - 256 if op.kind == 2 and found > 127 else found

    def clipped(self, op: Op, f: int) -> tuple[Any, Any]:
        """Two tables by code: the code that a filter sees, and what it loses times its multiplier."""
        if not op.clip_groups:
            return range(256), [0] * 256
        full = -(-op.filters // 8) * 8
        tables = op.clipping + -(-full // 64) * 64
        excess = tables + 256 * op.clip_groups
        (times,) = struct.unpack_from("<i", self.data, excess + 512 * op.clip_groups + 4 * f)
        group = self.data[op.clipping + f]
        lost = struct.unpack_from("<256H", self.data, excess + 512 * group)
        return self.data[tables + 256 * group :][:256], [one * times for one in lost]

    def rescale(self, op: Op, f: int, acc: int, added: int, excess: int) -> float:
        (multiplier,) = struct.unpack_from("<i", self.data, op.multiplier + 4 * f)
        (bias,) = struct.unpack_from("<q", self.data, op.bias + 8 * f)
        total = acc * multiplier + added + bias + excess
        if op.target == -1:
            return float(struct.unpack("<f", struct.pack("<f", math.ldexp(total, -op.shift)))[0])
        return min(max((total + (1 << (op.shift - 1))) >> op.shift, 0), op.top)
