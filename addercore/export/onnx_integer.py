"""An integer model in ONNX: the same integers by standard operators, so that scores are equal to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from addercore.errors import expect
from addercore.export.onnx_functions import distances_call, filters_of, functions, windows_call
from addercore.export.onnx_graph import DOMAIN, Writer, model_of
from addercore.runtime.checks import check
from addercore.runtime.program import (
    LEVELS,
    OF_MODEL,
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
    expect("program", program, Program, OF_MODEL)
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
        rows = np.arange(len(program.tables), dtype=np.int32)
        self.values = {0: self._through(program.tables, rows, "pixels")}

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
        codes, size = self.values[layer.source], self._size(layer)
        if isinstance(layer, Adder) and layer.clipping is not None:
            return self._clipped(layer, layer.clipping, codes, size)
        seen = self._windows(codes, layer.window, size, layer.name)
        return self._scaled(self._planes(self._sums(layer, seen), size), layer.rescale)

    def _planes(self, sums: str, size: tuple[int, int]) -> str:
        return self.planes(self.cast(sums, np.int64), size)

    def _windows(self, codes: str, window: Window, size: tuple[int, int], name: str) -> str:
        outside = self.constant(np.array([window.pad], np.int32), f"{name}/outside")
        return windows_call(self, self.cast(codes, np.int32), outside, window, size, f"{name}/windows")

    def _sums(self, layer: Adder | Dot, seen: str, chosen: Any = slice(None)) -> str:
        """acc, int32 (N, G, f, P), of the `chosen` filters of each group, f of them; `seen` are their windows."""
        filters = filters_of(layer.weights, layer.window.groups)[:, chosen]
        adds = isinstance(layer, Adder)
        # A byte each in the file.
        stored = self.constant(filters.swapaxes(0, 1) if adds else filters, f"{layer.name}/filters")
        weights = self.cast(stored, np.int32)
        if adds:
            return distances_call(self, seen, weights, f"{layer.name}/distances")
        return self.node("MatMul", [weights, seen], f"{layer.name}/products")

    def _clipped(self, layer: Adder, clipping: Clipping, codes: str, size: tuple[int, int]) -> str:
        """Filters that see the source through the same tables, in each group of channels, are computed together."""
        window = layer.window
        pads, pad = self.numbers(*window.padding * 2), self.constant(np.array([window.pad], np.uint8))
        padded = self.node("Pad", [codes, pads, pad, self.numbers(2, 3)], f"{layer.name}/padded")
        window = replace(window, padding=(0, 0))
        tables_of = clipping.group.reshape(window.groups, -1)  # (G, F / G)
        sums, excesses, order = [], [], []
        for alike in np.unique(tables_of, axis=1).T:
            chosen = np.flatnonzero((tables_of == alike[:, None]).all(axis=0))
            rows = np.repeat(alike.astype(np.int32), layer.weights.shape[1])  # a channel's table
            seen = self._windows(self._through(clipping.tables, rows, padded), window, size, layer.name)
            sums.append(self._sums(layer, seen, chosen))
            above = self._windows(self._through(clipping.excess, rows, padded), window, size, layer.name)
            factors = clipping.excess_multiplier.reshape(window.groups, -1)[:, chosen, None].astype(np.int64)
            total = self.node("ReduceSum", [self.cast(above, np.int64), self.numbers(2)], keepdims=1)
            excesses.append(self.node("Mul", [total, self.constant(factors)], f"{layer.name}/lost"))
            order.append(chosen)
        total = self._scaled(self._planes(self._in_order(sums, order), size), layer.rescale)
        return self.node("Add", [total, self.planes(self._in_order(excesses, order), size)], f"{layer.name}/total")

    def _in_order(self, parts: list[str], order: list[Any]) -> str:
        """Joins the parts' filters, (N, G, f, P) each, and brings them from `order` into their own."""
        joined = parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=2)
        places = np.argsort(np.concatenate(order))
        if (places == np.arange(len(places))).all():
            return joined
        return self.node("Gather", [joined, self.constant(places)], "in_order", axis=2)

    def _through(self, tables: Any, rows: Any, codes: str) -> str:
        """Codes (N, C, H, W), each through one of `tables` (…, 256): that of its channel's row in `rows` (C,)."""
        codes = self.cast(codes, np.int32)
        if (rows == rows[0]).all():
            return self.node("Gather", [self.constant(tables[rows[0]], "table"), codes], "through_table")
        places = self.node("Add", [codes, self.channelwise(rows * np.int32(LEVELS))], "places")
        return self.node("Gather", [self.constant(tables.reshape(-1), "tables"), places], "through_tables")

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
