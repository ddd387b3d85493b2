"""Every adder layer's operations by every backend, and as convolutions."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from addercore.ops import available, get
from benchmarks.kernels import peaks, raw
from benchmarks.kernels.native import compiler_version
from benchmarks.kernels.operations import BASIC, CONV, OPERATIONS, Data, adder_call, conv_call, data, repeated
from benchmarks.kernels.peaks import Probe
from benchmarks.kernels.shapes import Group, Layer
from benchmarks.kernels.timing import Variant, cores, take
from benchmarks.rows import Row

NOT_MEASURED = ("reference", "triton")
"""Backends that are no candidates on a CPU: whole in memory, or interpreted."""
SLOW = ("c-generic", "portable")
"""Only the three plain operations, on one thread, in few rounds."""
SLOW_ROUNDS = 3


@dataclass(frozen=True)
class Result:
    """What was found of a layer's operation by one backend on so many threads; `seconds` is a call's median."""

    group: str
    layer: Layer
    count: int
    operation: str
    backend: str
    threads: int
    seconds: float
    percent: float | None
    """Median over the rounds of the share of the fastest form's peak at the same moment, one thread only."""
    percent_named: float | None
    """Same, of the peak of the form that targets name."""
    to_conv: float | None
    """Median over the rounds of time / the convolution's time, same threads."""
    speedup: float | None
    """Median over the rounds of one thread's time on the clock / this one's; several threads only."""

    @property
    def rate(self) -> float:
        """G elements/s."""
        return self.layer.elements / self.seconds / 1e9


def backends() -> list[str]:
    """Names of this machine's CPU backends, the best instruction set first."""
    return [name for name in available() if name not in NOT_MEASURED]


def measure(
    groups: Sequence[Group], chosen: Sequence[str], rounds: int, said: Callable[[str], None]
) -> Iterator[tuple[Result, Row]]:
    """Each layer in its own rounds; `said` gets a line of progress."""
    for group in groups:
        for layer, count in group.layers.items():
            said(f"{group.title}: {layer}")
            load = os.getloadavg()
            variants = _variants(data(layer), chosen, rounds)
            with torch.no_grad():
                take(variants, rounds)
            for variant in variants:
                result = _result(group, layer, count, variant, variants)
                yield result, _row(result, variant, load)


def _variants(of: Data, chosen: Sequence[str], rounds: int) -> list[Variant]:
    found = []
    for operation in OPERATIONS:
        both = (1, 2) if operation in BASIC and cores() > 1 else (1,)
        for name in chosen:
            slow = name in SLOW
            if slow and operation not in BASIC:
                continue
            for threads in (1,) if slow else both:
                run = raw.repeated(name, operation, of, threads)
                run = repeated(adder_call(get(name), operation, of)) if run is None else run
                reference = peaks.reference(name, operation) if threads == 1 else None
                probes = () if reference is None else reference.probes
                count = min(rounds, SLOW_ROUNDS) if slow else rounds
                found.append(Variant(operation, name, threads, run, count, probes))
        found += [Variant(operation, CONV, threads, repeated(conv_call(operation, of)), rounds) for threads in both]
    return found


def _result(group: Group, layer: Layer, count: int, variant: Variant, all_: Sequence[Variant]) -> Result:
    def other(backend: str, threads: int) -> Variant | None:
        wanted = (variant.operation, backend, threads)
        return next((one for one in all_ if (one.operation, one.backend, one.threads) == wanted), None)

    conv, alone = other(CONV, variant.threads), other(variant.backend, 1)
    return Result(
        group.title,
        layer,
        count,
        variant.operation,
        variant.backend,
        variant.threads,
        statistics.median(variant.samples),
        _share(layer, variant, variant.probes[:1]),
        _share(layer, variant, variant.probes[-1:]),
        None if conv is None or variant.backend == CONV else _ratio(variant.samples, conv.samples),
        None if alone is None or variant.threads == 1 else _ratio(alone.walls, variant.walls),
    )


def _share(layer: Layer, variant: Variant, probes: Sequence[Probe]) -> float | None:
    """Percent of that probe's rate at the same moment, median over the rounds."""
    shares = [
        peaks.percent(layer.elements, seconds, peak)
        for probe in probes
        for seconds, peak in zip(variant.samples, variant.peaks[probe], strict=True)
    ]
    return statistics.median(shares) if shares else None


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median of the rounds' ratios; where one had fewer rounds, of the first ones."""
    return statistics.median(a / b for a, b in zip(these, those, strict=False))


def _row(result: Result, variant: Variant, load: tuple[float, float, float]) -> Row:
    layer = result.layer
    forms = {
        f"{probe.isa} {probe.form}": _two(statistics.median(found) / 1e9) for probe, found in variant.peaks.items()
    }
    settings = {
        "network": result.group, "layers": result.count, "batch": layer.batch, "channels": layer.inputs,
        "size": layer.size, "filters": layer.filters, "kernel": layer.kernel, "stride": layer.geometry.stride,
        "padding": layer.geometry.padding, "groups": layer.geometry.groups,
        "operation": result.operation, "backend": result.backend, "threads": result.threads,
        "clock": "cpu" if result.threads == 1 else "wall", "calls_a_sample": variant.loops,
        "elements": layer.elements, "g_elements_s": round(result.rate, 3), "percent_of_peak": _two(result.percent),
        "percent_of_named_form": _two(result.percent_named), "peaks_g_elements_s": forms,
        "ratio_to_conv": _two(result.to_conv), "speedup": _two(result.speedup),
        "quartiles": peaks.quartiles([1e3 * seconds for seconds in variant.samples]),
        "compiler": compiler_version(),
    }  # fmt: skip
    name = f"{layer} {result.operation} {result.backend} {result.threads}t"
    return Row("kernel", name, "ms", [1e3 * seconds for seconds in variant.samples], load, settings)


def _two(value: float | None) -> float | None:
    return None if value is None else round(value, 2 if value >= 1 else 4)
