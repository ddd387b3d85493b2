"""Every adder layer's operations by every backend, and as convolutions."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from addercore.ops import available, get
from benchmarks.kernels import peaks, raw
from benchmarks.kernels.operations import BASIC, CONV, OPERATIONS, Data, adder_call, conv_call, data
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
    """Median over the rounds of the share of the peak at the same moment, one thread only."""
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
    return list(dict.fromkeys([*raw.instruction_sets(), *(name for name in available() if name not in NOT_MEASURED)]))


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
                call = raw.call(name, operation, of, threads)
                if call is None and name not in available():
                    continue  # TODO: until the C backend is registered
                call = adder_call(get(name), operation, of) if call is None else call
                probe = peaks.reference(name, operation) if threads == 1 else None
                count = min(rounds, SLOW_ROUNDS) if slow else rounds
                found.append(Variant(operation, name, threads, call, count, probe))
        found += [Variant(operation, CONV, threads, conv_call(operation, of), rounds) for threads in both]
    return found


def _result(group: Group, layer: Layer, count: int, variant: Variant, all_: Sequence[Variant]) -> Result:
    def other(backend: str, threads: int) -> Variant | None:
        wanted = (variant.operation, backend, threads)
        return next((one for one in all_ if (one.operation, one.backend, one.threads) == wanted), None)

    conv, alone = other(CONV, variant.threads), other(variant.backend, 1)
    shares = [
        peaks.percent(layer.elements, seconds, peak)
        for seconds, peak in zip(variant.samples, variant.peaks, strict=False)
    ]
    return Result(
        group.title,
        layer,
        count,
        variant.operation,
        variant.backend,
        variant.threads,
        statistics.median(variant.samples),
        statistics.median(shares) if shares else None,
        None if conv is None or variant.backend == CONV else _ratio(variant.samples, conv.samples),
        None if alone is None or variant.threads == 1 else _ratio(alone.walls, variant.walls),
    )


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median of the rounds' ratios; where one had fewer rounds, of the first ones."""
    return statistics.median(a / b for a, b in zip(these, those, strict=False))


def _row(result: Result, variant: Variant, load: tuple[float, float, float]) -> Row:
    layer, probe = result.layer, variant.probe
    settings = {
        "network": result.group, "layers": result.count, "batch": layer.batch, "channels": layer.inputs,
        "size": layer.size, "filters": layer.filters, "kernel": layer.kernel, "stride": layer.geometry.stride,
        "padding": layer.geometry.padding, "operation": result.operation, "backend": result.backend,
        "threads": result.threads, "clock": "cpu" if result.threads == 1 else "wall", "calls_a_sample": variant.loops,
        "elements": layer.elements, "g_elements_s": round(result.rate, 3), "percent_of_peak": _two(result.percent),
        "peak": None if probe is None else f"{probe.isa} {probe.form}",
        "peak_g_elements_s": None if probe is None else _two(statistics.median(variant.peaks) / 1e9),
        "ratio_to_conv": _two(result.to_conv), "speedup": _two(result.speedup),
        "quartiles": peaks.quartiles([1e3 * seconds for seconds in variant.samples]),
        "compiler": peaks.compiler_version(),
    }  # fmt: skip
    name = f"{layer} {result.operation} {result.backend} {result.threads}t"
    return Row("kernel", name, "ms", [1e3 * seconds for seconds in variant.samples], load, settings)


def _two(value: float | None) -> float | None:
    return None if value is None else round(value, 2 if value >= 1 else 4)
