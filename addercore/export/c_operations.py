"""Each operation of a program as a function of C: its constants and one loop nest."""

from __future__ import annotations

from typing import Any

import numpy as np

from addercore.export.c_text import array, comment
from addercore.export.factors import are_powers
from addercore.runtime.program import SCORES, Add, Adder, AvgPool, Clipping, Dot, MaxPool, Op, Rescale, Shape


class Function:
    """Writes the function of one operation.

    Args:
        prefix: begins the names of its constants, and is its own.
        operation: what it computes.
        source: shape of what it reads.
        target: shape of what it gives; (classes, 1, 1) for scores.
    """

    def __init__(self, prefix: str, operation: Op, source: Shape, target: Shape) -> None:
        self.prefix, self.operation, self.source, self.target = prefix, operation, source, target
        self.helpers = prefix.rpartition("_")[0]
        self.constants: list[str] = []
        self.lines: list[str] = []

    @property
    def signature(self) -> str:
        """Result, name and parameters."""
        result = "float *scores" if self.operation.target == SCORES else "uint8_t *target"
        residual = ", const uint8_t *residual" if getattr(self.operation, "residual", None) is not None else ""
        return f"static void {self.prefix}(const uint8_t *source{residual}, {result})"

    def text(self) -> str:
        """Comment, constants and function."""
        body: list[str]
        match self.operation:
            case Adder() | Dot():
                body = self._layer(self.operation)
            case MaxPool():
                body = self._max_pool(self.operation)
            case AvgPool():
                body = self._avg_pool(self.operation)
            case Add():
                body = self._add(self.operation)
        function = [f"{self.signature} {{", *(f"    {line}" for line in body), "}"]
        return "\n".join([f"/* {self._summary()} */", *self.constants, *function]) + "\n"

    def _summary(self) -> str:
        operation = self.operation
        sides = " -> ".join("x".join(map(str, shape)) for shape in (self.source, self.target))
        what = {Adder: "adder layer", Dot: "convolution", MaxPool: "greatest of windows", AvgPool: "mean of channels"}
        return f"{comment(operation.name)}: {what.get(type(operation), 'sum of two values')}, {sides}"

    def _constant(self, name: str, values: Any) -> str:
        self.constants.append(array(f"{self.prefix}_{name}", values))
        return f"{self.prefix}_{name}"

    def _positions(self, index: str = "f") -> list[str]:
        """Opens the loops over a target's channels, rows and columns."""
        filters, height, width = self.target
        return [
            f"for (int32_t {index} = 0; {index} < {filters}; {index}++)",
            f"for (int32_t y = 0; y < {height}; y++)",
            f"for (int32_t x = 0; x < {width}; x++) {{",
        ]

    def _layer(self, layer: Adder | Dot) -> list[str]:
        window = layer.window
        weights = self._constant("weights", layer.weights)
        is_adder = isinstance(layer, Adder)
        each, channels = len(layer.weights) // window.groups, self.source[0] // window.groups
        first = _first(each, channels * self.source[1] * self.source[2], window.groups)
        clipping = layer.clipping if isinstance(layer, Adder) else None
        term = "code > *weight ? code - *weight : *weight - code" if is_adder else "code * *weight"
        return [
            *self._positions(),
            f"    const uint8_t *from = source + {first};",
            f"    const {'uint8_t' if is_adder else 'int8_t'} *weight = {weights} + f * {layer.weights[0].size};",
            *([f"    {line}" for line in self._clipped(clipping)] if clipping else []),
            "    int32_t sum = 0;",
            f"    for (int32_t c = 0; c < {channels}; c++)",
            f"    for (int32_t i = 0; i < {window.kernel[0]}; i++)",
            f"    for (int32_t j = 0; j < {window.kernel[1]}; j++) {{",
            *(f"        {line}" for line in self._code(layer)),
            *(["        excess += above[code];", "        code = table[code];"] if clipping else []),
            f"        sum += {term};",
            "        weight++;",
            "    }",
            *self._finish(layer.rescale, "f", layer.residual is not None, clipping),
            "}",
        ]

    def _clipped(self, clipping: Clipping) -> list[str]:
        tables, above = self._constant("tables", clipping.tables), self._constant("excess", clipping.excess)
        group = self._constant("group", clipping.group)
        return [
            f"const uint8_t *table = {tables} + {group}[f] * 256;",
            f"const uint16_t *above = {above} + {group}[f] * 256;",
            "int64_t excess = 0;",
        ]

    def _code(self, layer: Adder | Dot) -> list[str]:
        """The code under a tap of the window: the one for 0 outside of the image."""
        window = layer.window
        _, height, width = self.source
        row = _along("y", window.stride[0], "i", window.dilation[0], window.padding[0])
        column = _along("x", window.stride[1], "j", window.dilation[1], window.padding[1])
        lines = [f"const int32_t row = {row}, column = {column};"]
        inside = f"from[(c * {height} + row) * {width} + column]"
        if window.padding != (0, 0):
            outside = f"row < 0 || row >= {height} || column < 0 || column >= {width}"
            return [*lines, f"int32_t code = {outside} ? {window.pad} : {inside};"]
        return [*lines, f"int32_t code = {inside};"]

    def _max_pool(self, pool: MaxPool) -> list[str]:
        _, height, width = self.source
        row = _along("y", pool.stride, "i", 1, pool.padding)
        column = _along("x", pool.stride, "j", 1, pool.padding)
        return [
            *self._positions("c"),
            "    uint8_t greatest = 0;",
            f"    for (int32_t i = 0; i < {pool.size}; i++)",
            f"    for (int32_t j = 0; j < {pool.size}; j++) {{",
            f"        const int32_t row = {row}, column = {column};",
            f"        if (row < 0 || row >= {height} || column < 0 || column >= {width}) continue;",
            f"        const uint8_t code = source[(c * {height} + row) * {width} + column];",
            "        if (code > greatest) greatest = code;",
            "    }",
            f"    target[{self._at('c')}] = greatest;",
            "}",
        ]

    def _avg_pool(self, pool: AvgPool) -> list[str]:
        channels, height, width = self.source
        return [
            f"for (int32_t c = 0; c < {channels}; c++) {{",
            "    int32_t sum = 0;",
            f"    for (int32_t i = 0; i < {height * width}; i++) sum += source[c * {height * width} + i];",
            *self._finish(pool.rescale, "c", False, None, place="c"),
            "}",
        ]

    def _add(self, add: Add) -> list[str]:
        return [
            *self._positions("c"),
            f"    const int32_t sum = source[{self._at('c')}];",
            *self._finish(add.rescale, "c", True, None),
            "}",
        ]

    def _at(self, index: str) -> str:
        return f"({index} * {self.target[1]} + y) * {self.target[2]} + x"

    def _finish(
        self, rescale: Rescale, index: str, residual: bool, clipping: Clipping | None, place: str = ""
    ) -> list[str]:
        """The rule: from the sum to a code or a score."""
        place = place or self._at(index)
        bias = self._constant("bias", rescale.bias)
        lines = [
            f"    int64_t total = {bias}[{index}] + {self._times('sum', 'multiplier', rescale.multiplier, index)};"
        ]
        if clipping is not None:
            times = self._times("excess", "excess_multiplier", clipping.excess_multiplier, index)
            lines.append(f"    total += {times};")
        if residual:
            lines.append(f"    total += {self._by_one(f'residual[{place}]', rescale.residual_multiplier)};")
        if self.operation.target == SCORES:
            return [*lines, f"    scores[{index}] = (float)((double)total * 0x1p-{rescale.shift});"]
        return [*lines, f"    target[{place}] = {self.helpers}_code(total, {rescale.shift}, {rescale.top});"]

    def _times(self, value: str, name: str, factors: Any, index: str) -> str:
        """`value` times the factor of its channel: by a shift where all factors are powers of two."""
        if are_powers(factors):
            powers = self._constant(f"{name}_power", np.array([power_of(one) for one in factors.tolist()], np.int8))
            return f"{self.helpers}_shifted({value}, {powers}[{index}])"
        return f"(int64_t){value} * {self._constant(name, factors)}[{index}]"

    def _by_one(self, value: str, factor: int) -> str:
        if are_powers(factor):
            return f"{self.helpers}_shifted({value}, {power_of(factor)})"
        return f"(int64_t){value} * {factor}LL"


def power_of(factor: int) -> int:
    """What `_shifted` takes for ±2^k: ±(k + 1); 0 for 0."""
    return abs(factor).bit_length() * (-1 if factor < 0 else 1)


def _along(position: str, stride: int, tap: str, dilation: int, padding: int) -> str:
    parts = [position if stride == 1 else f"{position} * {stride}", tap if dilation == 1 else f"{tap} * {dilation}"]
    return " + ".join(parts) + (f" - {padding}" if padding else "")


def _first(each: int, size: int, groups: int) -> str:
    """Where the channels that filter f sees begin."""
    return "0" if groups == 1 else f"f / {each} * {size}"
