"""Training steps of whole networks: adder against convolution in turn, peak memory, and the authors' form."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
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
    yield from _against_conv("resnet20", RESNET20, most, backend, rounds)
    for threads in range(1, most + 1):
        said(f"training step, {LENET}, {threads} threads")
        yield from _against_conv("lenet", LENET, threads, backend, 2 * rounds)
    said(f"peak memory of a training step, {RESNET20}")
    yield from _memory(most, backend, 1 if quick else MEMORY_ROUNDS)
    task = replace(RESNET20, batch=2 if quick else BROADCAST_BATCH)
    said(f"training step in the broadcast form, {task}")
    yield from _against_broadcast(task, most, backend, 1 if quick else BROADCAST_ROUNDS)


def _against_conv(key: str, task: Task, threads: int, backend: str, rounds: int) -> Measured:
    """Steps of both networks in turn; the ratio is the median of the rounds' ratios."""
    load = os.getloadavg()
    adder, conv = (_variant(task, method, backend, threads, rounds) for method in (ADDER, CONV))
    take([adder, conv], rounds, sample_seconds=0)
    ratios = [a / c for a, c in zip(adder.walls, conv.walls, strict=True)]
    ratio = statistics.median(ratios)
    low, high = quartiles(ratios)
    about = f"{_ms(adder.walls)} ms against {_ms(conv.walls)} ms, quartiles {low:.3f} to {high:.3f}"
    title = f"{task}, {threads} threads, {backend}: step / convolution's"
    yield (
        Found(key, title, ratio, about),
        _row(task, backend, threads, adder.walls, load, {"ratio_to_conv": round(ratio, 4)}),
    )
    yield None, _row(task, CONV, threads, conv.walls, load, {})


def _against_broadcast(task: Task, threads: int, backend: str, rounds: int) -> Measured:
    """The authors' form: a small step, then `rounds` whole ones; beside each of them ours at the same batch."""
    load = os.getloadavg()
    theirs = step(task, "broadcast")
    theirs(WARM_UP)
    slow = Variant("step", "broadcast", threads, repeated(partial(theirs, task.batch)), rounds, loops=1, warm=False)
    ours = _variant(task, ADDER, backend, threads, rounds)
    take([slow, ours], rounds, sample_seconds=BROADCAST_SECONDS)
    ratio = statistics.median(b / a for a, b in zip(ours.walls, slow.walls, strict=True))
    title = f"{task}, {threads} threads, {backend}: times faster than the broadcast form"
    about = f"{_ms(slow.walls)} ms against {_ms(ours.walls)} ms, {rounds} steps in the broadcast form"
    yield (
        Found("broadcast", title, ratio, about),
        _row(task, backend, threads, ours.walls, load, {"times_faster_than_broadcast": round(ratio, 1)}),
    )
    yield None, _row(task, "broadcast", threads, slow.walls, load, {})


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


def _row(
    task: Task, name: str, threads: int, seconds: list[float], load: tuple[float, float, float], more: dict[str, float]
) -> Row:
    values = [1e3 * one for one in seconds]
    settings = {
        "network": task.arch, "batch": task.batch, "backend": name, "threads": threads, "clock": "wall",
        "first_last": task.first_last if name != CONV else CONV, "quartiles": quartiles(values), **more,
    }  # fmt: skip
    return Row("training step", f"{task}, {name}, {threads} threads", "ms", values, load, settings)


def _ms(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.4g}"
