"""Peak rates of this processor for the kernels' instruction sequences (peaks.c), measured beside what they judge."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from benchmarks.kernels.native import compiled, compiler_version
from benchmarks.rows import Row

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


@cache
def _library() -> ctypes.CDLL:
    if platform.machine() not in ("x86_64", "AMD64"):
        raise RuntimeError(f"peaks.c has probes for x86-64 only, not for {platform.machine()}: add them there")
    library = compiled("peaks.c")
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


@dataclass(frozen=True)
class Reference:
    """What an operation is held against."""

    fastest: Probe
    """Of all forms: no kernel of this instruction set that is known here could be faster."""
    named: Probe
    """The form that targets name: maximum and addition; for the input gradient the first one in peaks.c."""

    @property
    def probes(self) -> tuple[Probe, ...]:
        return (self.fastest,) if self.fastest == self.named else (self.fastest, self.named)


def reference(backend: str, operation: str) -> Reference | None:
    """For a backend's operation, by its instruction set; None where there is no probe of it.

    The fused forward operations are held against the forward's. Forms that differ by less than `TIE` count as equal,
    and the first is taken: where they are equally fast, another one would be named in every run.
    """
    return _reference(ISA.get(backend), "forward" if operation.startswith("forward") else operation)


@cache
def _reference(isa: str | None, kind: str) -> Reference | None:
    """Measured once, so that operations with the same probes have the same answer."""
    forms = [probe for probe in probes() if (probe.isa, probe.operation) == (isa, kind)]
    if not forms:
        return None
    rates = {probe: max(rate(probe) for _ in range(BEST_OF)) for probe in forms}
    fastest = next(probe for probe in forms if rates[probe] >= (1 - TIE) * max(rates.values()))
    return Reference(fastest, forms[0])


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
