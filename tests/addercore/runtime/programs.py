"""Random programs: every operation, kernel, stride, padding, dilation, grouping, residual and clipping, by a seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from addercore.runtime import reference
from addercore.runtime.program import (
    SCORES,
    Add,
    Adder,
    AvgPool,
    Clipping,
    Dot,
    MaxPool,
    Op,
    Program,
    Rescale,
    Shape,
    Window,
)

KERNELS = (1, 1, 3, 3, 3, 5, 7, 11)
TOPS = (3, 7, 15, 31, 63, 127, 255)


def sizes(rng: np.random.Generator) -> int:
    """Channels: around the multiples of 8, small ones more often."""
    return int(rng.choice([1, 2, 3, 4, 6, 7, 8, 9, 10, 16, 17, 24, 32, 33, 64, 120, 130]))


class Maker:
    """Grows a program, value by value."""

    def __init__(self, rng: np.random.Generator, shape: Shape, clips: bool = False) -> None:
        self.rng, self.clips = rng, clips
        self.values: list[Shape] = [shape]
        self.operations: list[Op] = []
        self.codes: dict[int, Any] = {0: rng.integers(0, 256, shape, dtype=np.uint8)}

    def window(self, shape: Shape, groups: int = 1) -> Window:
        """A window that fits a value."""
        rng = self.rng
        while True:
            kernel = (int(rng.choice(KERNELS)), int(rng.choice(KERNELS)))
            if rng.random() < 0.7:
                kernel = (kernel[0], kernel[0])
            dilation = (1, 1) if rng.random() < 0.7 else (int(rng.integers(1, 3)), int(rng.integers(1, 4)))
            padding = (int(rng.integers(0, kernel[0])), int(rng.integers(0, kernel[1])))
            stride = (1, 1) if rng.random() < 0.5 else (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
            spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
            if all(side + 2 * pad >= span for side, pad, span in zip(shape[1:], padding, spans, strict=True)):
                return Window(kernel, stride, padding, dilation, groups, int(rng.integers(0, 200)))

    def layer(self, source: int, target: int, filters: int, window: Window, dot: bool, residual: int | None) -> Op:
        """An `Adder` or `Dot` whose codes spread over their range."""
        rng, channels = self.rng, self.values[source][0]
        shape = (filters, channels // window.groups, *window.kernel)
        name = f"layer{len(self.operations)}"
        none = Rescale(np.ones(filters, np.int32), np.zeros(filters, np.int64), 1, 255)
        if dot:
            layer: Adder | Dot = Dot(
                name, source, target, rng.integers(-128, 128, shape, dtype=np.int8), window, none, residual
            )
        else:
            codes = rng.integers(0, 256, shape, dtype=np.uint8)
            clips = self.clipping(filters) if self.clips and rng.random() < 0.5 else None
            layer = Adder(name, source, target, codes, window, none, residual, clips)
        sums, _ = reference.sums(layer, self.codes[source])
        scale = self.rescale(sums, target, residual, 1 if dot else -1)
        if isinstance(layer, Adder) and layer.clipping is not None:
            most = abs(int(scale.multiplier[0])) // 2
            extra = rng.integers(-most, most + 1, filters).astype(np.int32)
            layer = replace(layer, clipping=replace(layer.clipping, excess_multiplier=extra))
        return replace(layer, rescale=scale)

    def clipping(self, filters: int) -> Clipping:
        rng = self.rng
        groups = int(rng.integers(1, 5))
        limits = rng.integers(20, 256, groups)
        codes = np.arange(256)
        tables = np.stack([np.minimum(codes, limit) for limit in limits]).astype(np.uint8)
        excess = np.stack([np.maximum(codes - limit, 0) for limit in limits]).astype(np.uint16)
        of = rng.integers(0, groups, filters).astype(np.uint8)
        return Clipping(of, tables, excess, np.zeros(filters, np.int32))

    def rescale(self, sums: Any, target: int, residual: int | None, sign: int = 1) -> Rescale:
        """Maps these sums, channels first, to the codes: their mean to the middle, most of them inside."""
        rng, channels = self.rng, len(sums)
        top = 0 if target == SCORES else int(rng.choice(TOPS))
        shift = int(rng.choice([8, 15, 24, 31, 32, 33, 36, 40]))
        spread = max(float(sums.std()), 1.0)
        one = (top or 100) / 4 / spread * 2.0**shift
        while one > 2.0**30 or one * float(np.abs(sums).max()) > 2.0**58:
            shift, one = shift - 1, one / 2
        shift = max(shift, 1)
        multiplier = sign * np.round(one * rng.uniform(0.5, 1.5, channels)).astype(np.int64).clip(1, 2**31 - 1)
        middle = np.round(sums.reshape(channels, -1).mean(axis=1)).astype(np.int64)
        bias = (rng.uniform(0.3, 0.7, channels) * (top or 100) * 2.0**shift).astype(np.int64) - multiplier * middle
        extra = 0 if residual is None else int(rng.integers(-(2 ** min(shift, 30)), 2 ** min(shift, 30))) // 2
        return Rescale(multiplier.astype(np.int32), bias, shift, top, extra)

    def add(self, operation: Op, shape: Shape) -> int:
        self.operations.append(operation)
        self.codes[len(self.values)] = reference.computed(operation, self.codes)
        self.values.append(shape)
        return len(self.values) - 1

    def grow(self) -> None:
        """One more operation, on any value that there is."""
        rng = self.rng
        source = int(rng.choice([len(self.values) - 1, int(rng.integers(0, len(self.values)))], p=[0.8, 0.2]))
        shape = self.values[source]
        target = len(self.values)
        kind = rng.random()
        name = f"op{len(self.operations)}"
        if kind < 0.12 and min(shape[1:]) >= 2:
            size = int(rng.integers(2, 4)) if min(shape[1:]) >= 3 else 2
            stride, padding = int(rng.integers(1, 4)), int(rng.integers(0, size))
            sides = tuple((side + 2 * padding - size) // stride + 1 for side in shape[1:])
            self.add(MaxPool(name, source, target, size, stride, padding), (shape[0], *sides))
        elif kind < 0.16:
            scale = self.rescale(self.codes[source].sum(axis=(1, 2), dtype=np.int64), target, None)
            self.add(AvgPool(name, source, target, scale), (shape[0], 1, 1))
        elif kind < 0.24:
            alike = [number for number, other in enumerate(self.values) if other == shape]
            residual = int(rng.choice(alike))
            scale = self.rescale(self.codes[source].astype(np.int64), target, residual)
            self.add(Add(name, source, target, scale, residual), shape)
        else:
            self.grow_layer(source, target)

    def grow_layer(self, source: int, target: int) -> None:
        rng, shape = self.rng, self.values[source]
        filters, groups = sizes(rng), 1
        if rng.random() < 0.2:
            groups = int(rng.choice([number for number in range(1, shape[0] + 1) if shape[0] % number == 0]))
            filters = groups * int(rng.integers(1, 10))
        window = self.window(shape, groups)
        spans = [(size - 1) * step + 1 for size, step in zip(window.kernel, window.dilation, strict=True)]
        sides = [
            (side + 2 * pad - span) // step + 1
            for side, pad, span, step in zip(shape[1:], window.padding, spans, window.stride, strict=True)
        ]
        after = (filters, sides[0], sides[1])
        alike = [number for number, other in enumerate(self.values) if other == after]
        residual = int(rng.choice(alike)) if alike and rng.random() < 0.6 else None
        self.add(self.layer(source, target, filters, window, rng.random() < 0.3, residual), after)

    def finish(self) -> Program:
        """Scores of the last value, and of what nobody read."""
        shape = self.values[-1]
        classes = int(self.rng.integers(1, 14))
        window = Window(shape[1:])
        self.operations.append(self.layer(len(self.values) - 1, SCORES, classes, window, self.rng.random() < 0.5, None))
        tables = self.rng.integers(0, 256, (self.values[0][0], 256), dtype=np.uint8)
        manifest: dict[str, Any] = {"classes": [str(number) for number in range(classes)]}
        return Program(self.values[0], tables, tuple(self.values), tuple(self.operations), manifest)


def random_program(seed: int, clips: bool | None = None) -> Program:
    """A program of 1 to 8 operations before its scores."""
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([1, 1, 3, 3, 2, 4, 5, 8, 17]))
    shape = (channels, int(rng.integers(1, 20)), int(rng.integers(1, 20)))
    maker = Maker(rng, shape, rng.random() < 0.3 if clips is None else clips)
    for _ in range(int(rng.integers(1, 9))):
        maker.grow()
    return maker.finish()


def random_images(program: Program, count: int, seed: int) -> Any:
    """uint8 (count, C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *program.input_shape), dtype=np.uint8)
