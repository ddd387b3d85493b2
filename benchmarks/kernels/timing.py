"""Samples of calls, taken in turn so that a drift of the machine meets all of them alike."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.kernels.operations import Repeated
from benchmarks.kernels.peaks import Probe, rate

SAMPLE_SECONDS = 1.5e-3
"""A sample is as many calls as fill this time."""
WARM_SECONDS = 10e-3
"""Calls shorter than this are made once before each sample: other variants have emptied the caches, threads sleep."""


@dataclass
class Variant:
    """A call to be timed. Samples are seconds a call: on one thread CPU time, as a preempted round should not count."""

    operation: str
    backend: str
    threads: int
    run: Repeated
    rounds: int
    probes: tuple[Probe, ...] = ()
    loops: int = 0
    """Calls a sample; 0: to be found out."""
    warm: bool = True
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    """CPU time of the calling thread: of all the work on one thread, of a part of it on several."""
    peaks: dict[Probe, list[float]] = field(default_factory=dict)
    """Elements/s of each of `probes` just before and after the sample, their mean."""

    @property
    def samples(self) -> list[float]:
        return self.cpus if self.threads == 1 else self.walls


def cores() -> int:
    return len(os.sched_getaffinity(0))


def take(variants: Sequence[Variant], rounds: int, sample_seconds: float = SAMPLE_SECONDS) -> None:
    """Rounds of all variants, every second one backwards; leaves torch's number of threads as it was."""
    threads = torch.get_num_threads()
    counts = sorted({variant.threads for variant in variants})
    try:
        for number in range(rounds):
            for count in counts:
                torch.set_num_threads(count)
                chosen = [variant for variant in variants if variant.threads == count and number < variant.rounds]
                for variant in chosen:
                    if variant.loops == 0:
                        _calibrate(variant, sample_seconds)
                for variant in chosen[:: -1 if number % 2 else 1]:
                    _sample(variant)
    finally:
        torch.set_num_threads(threads)


def _calibrate(variant: Variant, sample_seconds: float) -> None:
    """Sets `loops` after a call that is not counted: libraries choose kernels, threads start, pages are mapped."""
    variant.run(1)
    began = time.perf_counter()
    variant.run(1)
    seconds = time.perf_counter() - began
    variant.loops, variant.warm = max(1, math.ceil(sample_seconds / seconds)), seconds < WARM_SECONDS


def _sample(variant: Variant) -> None:
    before = {probe: rate(probe) for probe in variant.probes}
    if variant.warm:
        variant.run(1)
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    variant.run(variant.loops)
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    variant.walls.append(wall * 1e-9 / variant.loops)
    variant.cpus.append(cpu * 1e-9 / variant.loops)
    for probe in variant.probes:
        variant.peaks.setdefault(probe, []).append((before[probe] + rate(probe)) / 2)
