"""Training steps of whole networks: adder against convolution in turn, peak memory, and the authors' form."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.kernels import memory
from benchmarks.kernels.operations import repeated
from benchmarks.kernels.peaks import quartiles
from benchmarks.kernels.steps import LENET, RESNET20, Method, Task, step
from benchmarks.kernels.timing import Variant, cores, take
from benchmarks.rows import Row

ROUNDS, QUICK_ROUNDS = 15, 2
BROADCAST_BATCH = 64
BROADCAST_ROUNDS = 2  # steps of some 20 s
WARM_UP = 2  # images of the step before them, which is not counted
BROADCAST_SECONDS = 0.5  # ours is timed for so long beside each of them
MEMORY_ROUNDS = 3
ADDER: Method = "adder"
CONV: Method = "conv"


@dataclass(frozen=True)
class Found:
    """One comparison of whole steps: `figure` is what a target is about, `about` says how it came about."""

    key: str
    title: str
    figure: float
    about: str


Measured = Iterator[tuple[Found | None, Row]]


def measure(backend: str, quick: bool, said: Callable[[str], None]) -> Measured:
    """All comparisons, the adder network's layers by `backend`."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    most = min(2, cores())
    said(f"training step, {RESNET20}")
    yield from _against_conv("resnet20", RESNET20, (most,), backend, rounds)
    said(f"training step, {LENET}")
    yield from _against_conv("lenet", LENET, range(1, most + 1), backend, 2 * rounds)
    said(f"peak memory of a training step, {RESNET20}")
    yield from _memory(most, backend, 1 if quick else MEMORY_ROUNDS)
    task = replace(RESNET20, batch=2 if quick else BROADCAST_BATCH)
    said(f"training step in the broadcast form, {task}")
    yield from _against_broadcast(task, most, backend, 1 if quick else BROADCAST_ROUNDS)


def _against_conv(key: str, task: Task, counts: Sequence[int], backend: str, rounds: int) -> Measured:
    """Steps of both networks in turn, on each number of threads; a ratio is the median of the rounds' ratios."""
    load = os.getloadavg()
    pairs = [[_variant(task, method, backend, threads, rounds) for method in (ADDER, CONV)] for threads in counts]
    take([variant for pair in pairs for variant in pair], rounds, sample_seconds=0)
    for adder, conv in pairs:
        threads, found = adder.threads, _ratios(adder.samples, conv.samples)
        title = f"{task}, {threads} threads, {backend}: step / convolution's"
        about = f"{_ms(adder.samples)} ms against {_ms(conv.samples)} ms, {found.quartiles}"
        speedup = _speedup(f"{key}_threads", f"{task}, {backend}", pairs[0], [adder, conv])
        more = {"ratio_to_conv": round(found.median, 4)}
        if speedup is not None:
            more["speedup"] = round(speedup.figure, 3)
        yield Found(key, title, found.median, about), _row(task, backend, adder, load, more)
        yield speedup, _row(task, CONV, conv, load, {})


def _speedup(key: str, title: str, alone: Sequence[Variant], pair: Sequence[Variant]) -> Found | None:
    """Of several threads against one, by wall time; None where one is not among them, or is this pair."""
    threads = pair[0].threads
    if alone[0].threads != 1 or threads == 1:
        return None
    ours, theirs = (_ratios(one.walls, more.walls) for one, more in zip(alone, pair, strict=True))
    about = f"{ours.quartiles}; the convolution's: {theirs.median:.3f}"
    return Found(key, f"{title}: {threads} threads, times one's speed", ours.median, about)


@dataclass(frozen=True)
class _Ratio:
    median: float
    quartiles: str


def _ratios(these: Sequence[float], those: Sequence[float]) -> _Ratio:
    """Of the rounds."""
    found = [a / b for a, b in zip(these, those, strict=True)]
    low, high = quartiles(found)
    return _Ratio(statistics.median(found), f"quartiles {low:.3f} to {high:.3f}")


def _against_broadcast(task: Task, threads: int, backend: str, rounds: int) -> Measured:
    """The authors' form: a small step, then `rounds` whole ones; beside each of them ours at the same batch."""
    load = os.getloadavg()
    theirs = step(task, "broadcast")
    theirs(WARM_UP)
    slow = Variant("step", "broadcast", threads, repeated(partial(theirs, task.batch)), rounds, loops=1, warm=False)
    ours = _variant(task, ADDER, backend, threads, rounds)
    take([slow, ours], rounds, sample_seconds=BROADCAST_SECONDS)
    ratio = statistics.median(b / a for a, b in zip(ours.samples, slow.samples, strict=True))
    title = f"{task}, {threads} threads, {backend}: times faster than the broadcast form"
    about = f"{_ms(slow.samples)} ms against {_ms(ours.samples)} ms, {rounds} steps in the broadcast form"
    yield (
        Found("broadcast", title, ratio, about),
        _row(task, backend, ours, load, {"times_faster_than_broadcast": round(ratio, 1)}),
    )
    yield None, _row(task, "broadcast", slow, load, {})


def _memory(threads: int, backend: str, rounds: int) -> Measured:
    """Growth over the resident memory before the first whole step, each round in processes of its own."""
    load = os.getloadavg()
    found: dict[Method, list[memory.Peak]] = {ADDER: [], CONV: []}
    for _ in range(rounds):
        for method in (ADDER, CONV):
            found[method].append(memory.measure(method, backend, threads))
    grown = {method: statistics.median(peak.grown for peak in peaks) for method, peaks in found.items()}
    ratio = grown[ADDER] / grown[CONV]
    whole = {method: statistics.median(peak.peak for peak in peaks) for method, peaks in found.items()}
    about = (
        f"growth {grown[ADDER]:.1f} against {grown[CONV]:.1f} MiB; "
        f"whole process {whole[ADDER]:.1f} against {whole[CONV]:.1f}"
    )
    for method, peaks in found.items():
        settings = {
            "network": str(RESNET20), "backend": backend if method == ADDER else CONV, "threads": threads,
            "baseline_mib": [round(peak.baseline, 2) for peak in peaks], "peak_mib": [round(p.peak, 2) for p in peaks],
        } | ({"ratio_to_conv": round(ratio, 4)} if method == ADDER else {})  # fmt: skip
        variant = f"{RESNET20}, {settings['backend']}, {threads} threads"
        judged = Found("memory", f"{RESNET20}, {backend}: peak memory of a step / convolution's", ratio, about)
        row = Row("peak memory of a step, over the baseline", variant, "MiB", [p.grown for p in peaks], load, settings)
        yield judged if method == ADDER else None, row


def _variant(task: Task, method: Method, backend: str, threads: int, rounds: int) -> Variant:
    return Variant("step", method, threads, repeated(partial(step(task, method, backend), task.batch)), rounds)


def _row(task: Task, name: str, variant: Variant, load: tuple[float, float, float], more: dict[str, float]) -> Row:
    values, threads = [1e3 * one for one in variant.samples], variant.threads
    settings = {
        "network": task.arch, "batch": task.batch, "backend": name, "threads": threads,
        "clock": "cpu" if threads == 1 else "wall", "first_last": task.first_last if name != CONV else CONV,
        "quartiles": quartiles(values), **more,
    }  # fmt: skip
    return Row("training step", f"{task}, {name}, {threads} threads", "ms", values, load, settings)


def _ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.4g}"
