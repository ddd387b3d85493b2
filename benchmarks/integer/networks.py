"""A network of `addercore.arch` as an integer program with random weights, which serve for speed.

Speed does not depend on the numbers. Small networks are calibrated all the same, so that tests can use them:
each layer's codes spread over their range on a random image.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from addercore.arch import network
from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Linear, MaxPool, Node, ReLU, Residual, Sequential
from addercore.runtime import program as integer
from addercore.runtime import reference
from addercore.runtime.program import SCORES, Op, Program, Rescale, Shape, Window

SHIFT = 40
TOP = 255
MOST_PIXELS = 32 * 32 * 64
"""Of an image up to which a network is calibrated: the definition in numpy is slow."""


def resnet20(method: str = "adder") -> Program:
    """ResNet-20 at 32×32; first and last layer are convolutions."""
    return program_of("resnet20", (3, 32, 32), 10, method, first_last="conv")


def lenet5_bn(method: str = "adder") -> Program:
    """LeNet-5-BN at 32×32 (MNIST, padded), adders throughout."""
    return program_of("lenet5_bn", (1, 32, 32), 10, method, first_last=method)


def program_of(arch: str, input_shape: Shape, classes: int, method: str, first_last: str) -> Program:
    """Any network of `addercore.arch`, with "adder" or "conv" layers. Large ones are not calibrated."""
    walk = Walk(input_shape, method, first_last)
    walk.node(network(arch, input_shape, classes).body, None)
    return walk.program()


def layers(channels: int, side: int, count: int, method: str = "adder", residual: bool = False) -> Program:
    """So many equal 3×3 layers, and as small an end as there can be; `residual`: every second one adds one."""
    walk = Walk((channels, side, side), method, method)
    for number in range(count):
        added = walk.at - 1 if residual and number % 2 else None
        walk.conv(Conv(f"layer{number}", channels, channels, (3, 3), padding=(1, 1)), added)
    walk.pool_all()
    walk.conv(Conv("end", channels, 2, (1, 1)), None)
    return walk.program()


class Walk:
    """Goes through a network in order of computation; normalisations and ReLU are in the rescaling of layers."""

    def __init__(self, shape: Shape, method: str, first_last: str) -> None:
        self.rng = np.random.default_rng(0)
        self.method, self.first_last = method, first_last
        self.values: list[Shape] = [shape]
        self.codes: dict[int, Any] | None = None
        if math.prod(shape) <= MOST_PIXELS:
            self.codes = {0: self.rng.integers(0, 256, shape, dtype=np.uint8)}
        self.operations: list[Op] = []
        self.at = 0

    def program(self) -> Program:
        """What was walked through; the last layer gives the scores."""
        last = self.operations[-1]
        assert isinstance(last, integer.Adder | integer.Dot)
        last = replace(last, target=SCORES, rescale=replace(last.rescale, top=0))
        tables = np.tile(np.arange(256, dtype=np.uint8), (self.values[0][0], 1))
        return Program(self.values[0], tables, tuple(self.values[:-1]), (*self.operations[:-1], last), {})

    def node(self, node: Node, residual: int | None) -> None:
        """A part of the network; `residual` is added by its last layer."""
        match node:
            case Sequential():
                layers = [number for number, child in enumerate(node.children) if not isinstance(child, BatchNorm)]
                for number, child in enumerate(node.children):
                    self.node(child, residual if number == layers[-1] else None)
            case Residual():
                self.residual(node)
            case Conv():
                self.conv(node, residual)
            case Linear():
                _, height, width = self.values[self.at]
                channels = node.in_features // (height * width)
                self.conv(Conv(node.name, channels, node.out_features, (height, width), role=node.role), residual)
            case MaxPool():
                self.max_pool(node)
            case AvgPool():
                self.pool_all()
            case BatchNorm() | ReLU() | Flatten():
                pass

    def residual(self, node: Residual) -> None:
        """The body but for its last layer, the shortcut, the last layer with the sum."""
        source = self.at
        layers = [number for number, child in enumerate(node.body.children) if isinstance(child, Conv)]
        for child in node.body.children[: layers[-1]]:
            self.node(child, None)
        inner, added = self.at, source
        if node.shortcut is not None:
            self.at = source
            self.node(node.shortcut, None)
            added = self.at
        self.at = inner
        self.node(node.body.children[layers[-1]], added)

    def conv(self, node: Conv, residual: int | None) -> None:
        """A layer with random weights whose codes spread over their range."""
        source = self.values[self.at]
        window = Window(node.kernel, node.stride, node.padding, node.dilation, node.groups, 0)
        sides = [
            (side + 2 * pad - (size - 1) * apart - 1) // step + 1
            for side, size, step, pad, apart in zip(
                source[1:], node.kernel, node.stride, node.padding, node.dilation, strict=True
            )
        ]
        shape = (node.out_channels, source[0] // node.groups, *node.kernel)
        terms = math.prod(shape[1:])
        is_adder = (self.method if node.role == "inner" else self.first_last) == "adder"
        low, high = (0, 256) if is_adder else (-128, 128)
        weights = self.rng.integers(low, high, shape)
        target, after = len(self.values), (shape[0], *sides)
        kind, codes = (integer.Adder, np.uint8) if is_adder else (integer.Dot, np.int8)
        spread, middle = (terms**0.5 * 70, terms * 85.0) if is_adder else (terms**0.5 * 10_000, 0.0)
        scale = self.rescale(node.out_channels, spread, middle, -1 if is_adder else 1, residual is not None)
        layer = kind(node.name, self.at, target, weights.astype(codes), window, scale, residual)
        if self.codes is not None:
            sums, _ = reference.sums(layer, self.codes[self.at])
            means = sums.reshape(shape[0], -1).mean(axis=1) if sums[0].size > 1 else sums.mean()
            sign = -1 if is_adder else 1
            scale = self.rescale(shape[0], max(float(sums.std()), 1.0), means, sign, residual is not None)
            layer = replace(layer, rescale=scale)
        self.add(layer, after)

    def rescale(self, channels: int, spread: float, middle: Any, sign: int, added: bool) -> Rescale:
        """Maps `middle`, of each channel or of all, to a third of the codes, and ± 2 · `spread` inside of them."""
        one = sign * TOP / 4 / spread * 2.0**SHIFT
        shift = SHIFT
        while abs(one) >= 2**30:
            one, shift = one / 2, shift - 1
        multiplier = np.full(channels, round(one), np.int32)
        bias = np.broadcast_to(np.round(TOP / 3 * 2.0**shift - one * middle), channels).astype(np.int64)
        return Rescale(multiplier, bias, shift, TOP, round(2.0 ** min(shift, 30) / 2) if added else 0)

    def max_pool(self, node: MaxPool) -> None:
        channels, *sides = self.values[self.at]
        stride = node.stride or node.size
        after = [(side + 2 * node.padding - node.size) // stride + 1 for side in sides]
        pool = integer.MaxPool(node.name, self.at, len(self.values), node.size, stride, node.padding)
        self.add(pool, (channels, *after))

    def pool_all(self) -> None:
        channels, height, width = self.values[self.at]
        scale = self.rescale(channels, (height * width) ** 0.5 * 60, height * width * 100, 1, False)
        if self.codes is not None:
            sums = self.codes[self.at].sum(axis=(1, 2), dtype=np.int64)
            scale = self.rescale(channels, max(float(sums.std()), 1.0), sums.mean(), 1, False)
        self.add(integer.AvgPool("pool", self.at, len(self.values), scale), (channels, 1, 1))

    def add(self, operation: Op, shape: tuple[int, ...]) -> None:
        self.operations.append(operation)
        if self.codes is not None:
            self.codes[operation.target] = reference.computed(operation, self.codes)
        self.at = len(self.values)
        self.values.append((shape[0], shape[1], shape[2]))
