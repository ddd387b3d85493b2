"""Measured latency for people: of a benchmark's result, and of a model's document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adderclient.command.output import table
from adderclient.command.terminal import console
from adderclient.formats import milliseconds, number, size


def measured(row: Any) -> str | None:
    """``0.0123 ms by integer, int8`` of a row of a benchmark; None where there is none."""
    if not isinstance(row, Mapping):
        return None
    batch = row.get("batch")
    images = "" if batch in (None, 1) else f" for {number(batch)} images"
    return f"{milliseconds(row.get('p50_ms'))}{images} by {row.get('engine')}, {row.get('precision')}"


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a benchmark found, without its rows."""
    chip = result.get("processor")
    found = {
        "model": measured(result.get("model")),
        "twin": measured(result.get("twin")),
        "processor": chip.get("name") if isinstance(chip, Mapping) else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def print_rows(result: Mapping[str, Any]) -> None:
    """The rows of a benchmark as a table."""
    rows = [row for row in result.get("rows") or () if isinstance(row, Mapping)]
    cells = [
        [
            row.get("what"),
            row.get("engine"),
            row.get("precision"),
            row.get("batch"),
            row.get("threads"),
            milliseconds(row.get("p50_ms")),
            milliseconds(row.get("p99_ms")),
            size(row.get("bytes")),
        ]
        for row in rows
    ]
    table(["WHAT", "ENGINE", "NUMBERS", "BATCH>", "THREADS>", "P50>", "P99>", "SIZE>"], cells)
    left = [one for one in result.get("left_out") or () if isinstance(one, Mapping)]
    if left:
        console().print()
        table(["NOT MEASURED"], [[f"{one.get('what')}, {one.get('engine')}: {one.get('reason')}"] for one in left])
