"""An integer model in ONNX: the same integers by standard operators, so that scores are equal to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from addercore.export.onnx_functions import DISTANCES, filters_of, functions, windows_call
from addercore.export.onnx_graph import DOMAIN, Writer, model_of
from addercore.runtime.checks import check
from addercore.runtime.program import (
    LEVELS,
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
    Window,
)

if TYPE_CHECKING:
    from onnx import ModelProto


def integer_model(program: Program) -> ModelProto:
    """An integer model in ONNX (docs/export.md).

    Its input `pixels` is uint8 (N, C, H, W), its output `scores` float32 (N, classes): those of `addercore.runtime`,
    bit for bit. Codes are uint8, sums int32, totals int64. Names of classes are in the metadata, a JSON list.

    Args:
        program: the network.

    Raises:
        ValueError: an inconsistent program.
        ModuleNotFoundError: onnx is not installed.
    """
    check(program)
    writer = _IntegerWriter(program)
    for operation in program.operations:
        writer.add(operation)
    writer.ending(writer.values[SCORES], "scores")
    named = program.manifest.get("classes")
    fits = isinstance(named, list) and len(named) == program.classes
    classes = [str(one) for one in (named if fits and named else range(program.classes))]
    network = program.manifest.get("network")
    known = network if isinstance(network, dict) else {}
    about = {key: str(known[key]) for key in ("arch", "method") if key in known}
    called = {node.op_type for node in writer.nodes if node.domain == DOMAIN}
    used = [one for one in functions(writer, np.int32) if one.name in called]
    return model_of(writer, used, program.input_shape, classes, about)


class _IntegerWriter(Writer):
    """Names of the values of a program that are written already: `values`, by number."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.values = {0: self._codes("pixels", program.tables)}

    def _codes(self, pixels: str, tables: Any) -> str:
        """Each channel through its table: one table of all, in which a channel begins 256 later than the one before."""
        begins = self.channelwise(np.arange(0, len(tables) * LEVELS, LEVELS, dtype=np.int32))
        places = self.node("Add", [self.cast(pixels, np.int32), begins], "places")
        return self.node("Gather", [self.constant(tables.reshape(-1), "tables"), places], "image")

    def add(self, operation: Op) -> None:
        """Writes an operation."""
        match operation:
            case MaxPool():
                out = self._max_pool(operation)
            case AvgPool():
                codes = self.cast(self.values[operation.source], np.int64)
                axes = self.numbers(2, 3)
                total = self._scaled(self.node("ReduceSum", [codes, axes], keepdims=1), operation.rescale)
                out = self._finish(operation, total)
            case Add():
                codes = self.cast(self.values[operation.source], np.int64)
                out = self._finish(operation, self._scaled(codes, operation.rescale))
            case Adder() | Dot():
                out = self._finish(operation, self._layer(operation))
        self.values[operation.target] = out

    def _max_pool(self, pool: MaxPool) -> str:
        """ONNX's own pooling pads with the least value, too."""
        lists: dict[str, Any] = {
            "kernel_shape": [pool.size] * 2,
            "strides": [pool.stride] * 2,
            "pads": [pool.padding] * 4,
        }
        return self.node("MaxPool", [self.values[pool.source]], pool.name, **lists)

    def _layer(self, layer: Adder | Dot) -> str:
        """acc · multiplier + bias and what clipping adds, int64 (N, F, H', W')."""
        window, size = layer.window, self._size(layer)
        each = len(layer.weights) // window.groups
        clipping = layer.clipping if isinstance(layer, Adder) else None
        sums, excesses, order = [], [], []
        for group, part in enumerate(self.split(self.values[layer.source], window.groups, layer.weights.shape[1])):
            mine = np.arange(group * each, (group + 1) * each)
            if clipping is None or not isinstance(layer, Adder):
                sums.append(self._sums(layer, part, window, mine, size))
                continue
            for number in np.unique(clipping.group[mine]):
                alike = mine[clipping.group[mine] == number]
                sums.append(self._clipped(layer, clipping, int(number), part, alike, size))
                excesses.append(self._excess(layer, clipping, int(number), part, alike, size))
                order.append(alike)
        acc = self.cast(self._in_order(sums, order), np.int64)
        total = self._scaled(self.planes([acc], size), layer.rescale)
        if not excesses:
            return total
        return self.node("Add", [total, self.planes([self._in_order(excesses, order)], size)], f"{layer.name}/total")

    def _in_order(self, parts: list[str], order: list[Any]) -> str:
        """Joins the parts' filters, (N, f, P) each, and brings them from `order` into their own."""
        joined = parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=1)
        places = np.argsort(np.concatenate(order)) if order else np.arange(0)
        if (places == np.arange(len(places))).all():
            return joined
        return self.node("Gather", [joined, self.constant(places)], "in_order", axis=1)

    def _sums(self, layer: Adder | Dot, codes: str, window: Window, filters: Any, size: tuple[int, int]) -> str:
        """acc of some filters, int32 (N, f, P)."""
        seen = self._windows(codes, window.pad, window, size, layer.name)
        stored = self.constant(filters_of(layer.weights[filters]), f"{layer.name}/filters")  # a byte each in the file
        weights = self.cast(stored, np.int32)
        if isinstance(layer, Adder):
            return self.node(DISTANCES, [seen, weights], f"{layer.name}/distances", DOMAIN)
        return self.node("MatMul", [weights, seen], f"{layer.name}/products")

    def _windows(self, codes: str, pad: int, window: Window, size: tuple[int, int], name: str) -> str:
        outside = self.constant(np.array([pad], np.int32), f"{name}/outside")
        return windows_call(self, self.cast(codes, np.int32), outside, window, size, f"{name}/windows")

    def _clipped(
        self, layer: Adder, clipping: Clipping, group: int, codes: str, filters: Any, size: tuple[int, int]
    ) -> str:
        """acc of the filters of a group, which see codes through its table."""
        table = clipping.tables[group]
        seen = self._through(table, codes)
        pad = int(table[layer.window.pad])
        return self._sums(layer, seen, _padded_by(layer.window, pad), filters, size)

    def _excess(
        self, layer: Adder, clipping: Clipping, group: int, codes: str, filters: Any, size: tuple[int, int]
    ) -> str:
        """Σ excess · excess_multiplier, int64 (N, f, P). The sum is the same for all filters of a group."""
        above = clipping.excess[group].astype(np.int32)
        pad = int(above[layer.window.pad])
        seen = self.cast(self._windows(self._through(above, codes), pad, layer.window, size, layer.name), np.int64)
        total = self.node("ReduceSum", [seen, self.numbers(1)], f"{layer.name}/excess", keepdims=1)
        factors = clipping.excess_multiplier[filters].astype(np.int64).reshape(1, -1, 1)
        return self.node("Mul", [total, self.constant(factors)], f"{layer.name}/lost")

    def _through(self, table: Any, codes: str) -> str:
        return self.node("Gather", [self.constant(table, "table"), self.cast(codes, np.int32)], "through_table")

    def _scaled(self, acc: str, rescale: Rescale) -> str:
        """acc · multiplier + bias, int64."""
        factors = self.channelwise(rescale.multiplier.astype(np.int64), "multiplier")
        return self.node("Add", [self.node("Mul", [acc, factors]), self.channelwise(rescale.bias, "bias")], "scaled")

    def _finish(self, operation: Adder | Dot | AvgPool | Add, total: str) -> str:
        """The rule: from acc · multiplier + bias to codes or scores."""
        rescale = operation.rescale
        residual = None if isinstance(operation, AvgPool) else operation.residual
        if residual is not None:
            factor = self.constant(np.int64(rescale.residual_multiplier))
            added = self.node("Mul", [self.cast(self.values[residual], np.int64), factor])
            total = self.node("Add", [total, added], f"{operation.name}/sum")
        if operation.target == SCORES:
            unit = self.constant(np.float64(2.0**-rescale.shift), "unit")
            scores = self.cast(self.node("Mul", [self.cast(total, np.float64), unit]), np.float32)
            return self.node("Flatten", [scores])
        return self._code(operation.name, total, rescale)

    def _code(self, name: str, total: str, rescale: Rescale) -> str:
        """clamp((total + 2^(shift − 1)) >> shift, 0, top).

        ONNX shifts unsigned numbers only. What is negative before the shift has the code 0, so it is made 0 first.
        `Where` does it, because `Max` on int64 is wrong beyond 32 bits in ONNX Runtime 1.24 and 1.25.
        """
        zero, top = self.constant(np.int64(0), "zero"), self.constant(np.int64(rescale.top), "top")
        rounded = self.node("Add", [total, self.constant(np.int64(1 << (rescale.shift - 1)))], "rounded")
        positive = self.node("Where", [self.node("Less", [rounded, zero]), zero, rounded], "positive")
        shift = self.constant(np.uint64(rescale.shift), "shift")
        shifted = self.node("BitShift", [self.cast(positive, np.uint64), shift], direction="RIGHT")
        whole = self.cast(shifted, np.int64)
        clamped = self.node("Where", [self.node("Less", [top, whole]), top, whole], "clamped")
        return self.node("Cast", [clamped], name, to=self.kind(np.uint8))

    def _size(self, layer: Adder | Dot) -> tuple[int, int]:
        return (1, 1) if layer.target == SCORES else self.program.values[layer.target][1:]


def _padded_by(window: Window, pad: int) -> Window:
    return Window(window.kernel, window.stride, window.padding, window.dilation, window.groups, pad)
