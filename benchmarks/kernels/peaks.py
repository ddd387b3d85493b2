"""Peak rates of this processor for the kernels' instruction sequences (peaks.c), measured beside what they judge."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.rows import Row

SOURCE = Path(__file__).with_name("peaks.c")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
ISA = {"c-avx512": "avx512", "c-avx2": "avx2", "c-generic": "sse2"}
"""The instruction set that a backend is held against; generic C is compiled for what every x86-64 has."""
PROBE_SECONDS = 0.5e-3
"""Long enough for the clock (1 us a reading), short enough to stand between any two samples."""
BEST_OF = 5  # runs of each probe by which the fastest form of an operation is chosen
TIE = 0.03


class _Entry(ctypes.Structure):
    _fields_ = (
        ("isa", ctypes.c_char_p),
        ("operation", ctypes.c_char_p),
        ("form", ctypes.c_char_p),
        ("elements", ctypes.c_int64),
        ("seconds", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Probe:
    """One instruction sequence; `operation` is what it is the inner loop of."""

    index: int
    isa: str
    operation: str
    form: str
    elements: int
    """A step handles so many."""


def compiler() -> list[str]:
    """The C compiler's command: CC, else gcc or cc; `RuntimeError` where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    found = named or next(([name] for name in ("gcc", "cc") if shutil.which(name)), [])
    if not found or not shutil.which(found[0]):
        raise RuntimeError(f"the benchmark measures peak rates with a C program, and {' '.join(named) or 'gcc'} was "
                           "not found: install gcc, or name a C compiler in CC")  # fmt: skip
    return found


@cache
def compiler_version() -> str:
    """First line of what the compiler answers to --version."""
    done = subprocess.run([*compiler(), "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


@cache
def _library() -> ctypes.CDLL:
    """peaks.c, compiled once a process (half a second) into a folder that is gone when it is loaded."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise RuntimeError(f"peaks.c has probes for x86-64 only, not for {platform.machine()}: add them there")
    with tempfile.TemporaryDirectory(prefix="adder-peaks-") as folder:
        target = Path(folder) / "peaks.so"
        command = [*compiler(), *FLAGS, str(SOURCE), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"{SOURCE.name} does not compile: {done.stderr[-2000:]}")
        library = ctypes.CDLL(str(target))
    library.probe.restype = _Entry
    library.probe_seconds.restype = ctypes.c_double
    library.probe_seconds.argtypes = (ctypes.c_int, ctypes.c_int64)
    return library


@cache
def probes() -> tuple[Probe, ...]:
    """Those that this processor can run."""
    library = _library()
    found = []
    for index in range(library.probe_count()):
        if library.probe_runs(index):
            entry = library.probe(index)
            names = (entry.isa.decode(), entry.operation.decode(), entry.form.decode())
            found.append(Probe(index, *names, entry.elements))
    return tuple(found)


def rate(probe: Probe, seconds: float = PROBE_SECONDS) -> float:
    """Elements per second of CPU time of the calling thread, over about `seconds`."""
    steps = max(1000, int(seconds * _guess(probe) / probe.elements))
    return steps * probe.elements / float(_library().probe_seconds(probe.index, steps))


@cache
def _guess(probe: Probe) -> float:
    """A first rate, by which the probes' length is set."""
    steps = 20_000
    _library().probe_seconds(probe.index, steps)  # wakes the wide units up
    return steps * probe.elements / float(_library().probe_seconds(probe.index, steps))


@cache
def reference(backend: str, operation: str) -> Probe | None:
    """What `operation` of `backend` is held against: the fastest form of its instruction set; None where it has none.

    The fused forward operations are held against the forward's. Among forms that differ by less than `TIE`, the one
    that peaks.c lists first: processors on which forms are equally fast should not name another one in every run.
    """
    kind = "forward" if operation.startswith("forward") else operation
    forms = [probe for probe in probes() if (probe.isa, probe.operation) == (ISA.get(backend), kind)]
    rates = {probe: max(rate(probe) for _ in range(BEST_OF)) for probe in forms}
    return next((probe for probe in forms if rates[probe] >= (1 - TIE) * max(rates.values())), None)


def percent(elements: float, seconds: float, peak: float) -> float:
    """What `elements` in `seconds` are of a peak in elements per second."""
    return 100 * elements / seconds / peak


def measure(rounds: int) -> Iterator[Row]:
    """Every probe, all of them in turn in each round; G elements/s."""
    load = os.getloadavg()
    found: dict[Probe, list[float]] = {probe: [] for probe in probes()}
    for number in range(rounds):
        for probe in list(found)[:: -1 if number % 2 else 1]:
            found[probe].append(rate(probe, 10 * PROBE_SECONDS) / 1e9)
    for probe, values in found.items():
        settings = {
            "isa": probe.isa, "operation": probe.operation, "form": probe.form, "threads": 1,
            "compiler": compiler_version(), "quartiles": quartiles(values),
        }  # fmt: skip
        yield Row("peak", f"{probe.isa} {probe.operation}: {probe.form}", "G elements/s", values, load, settings)


def quartiles(values: list[float]) -> list[float]:
    """Lower and upper quartile; of fewer than 2 values, the value itself."""
    if len(values) < 2:
        return [values[0], values[0]]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [float(f"{low:.6g}"), float(f"{high:.6g}")]
