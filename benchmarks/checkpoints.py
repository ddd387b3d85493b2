"""`python -m benchmarks.checkpoints [--write]`: what saving costs a training, and a long history a checkpoint.

Each network trains on the digits without checkpoints, with checkpoints that it waits for, and with checkpoints that
another thread writes; the variants take turns. Checkpoints come far more often than by default (300 s), to be seen at
all. A stall is the time the training's thread spends in a save.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from addercore import Callbacks, MetricPoint, TrainConfig, build
from addercore.data import Stored, source
from addercore.ops import select
from addercore.train import checkpoint
from addercore.train.environment import describe
from addercore.train.history import History
from addercore.train.isolation import isolated
from addercore.train.trainer import Trainer
from benchmarks.rows import RESULTS, Row, filesystem, table, write

CPU: Final = torch.device("cpu")
NETWORKS: Final = {"lenet5_bn": (128, 0.5), "resnet20": (64, 2.0), "resnet18": (4, 3.0)}
"""Images in a batch, seconds between checkpoints."""
VARIANTS: Final = ("no checkpoints", "waited for", "written beside")
POINTS: Final = 1_000_000
VERSIONS: Final = ("python", "adderworks", "torch", "numpy")


class Clock(Callbacks):
    """Counts steps, from the end of the first one on, and ends the run after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps, self.began, self.last = seconds, -1, 0.0, 0.0
        self.files: list[int] = []  # bytes

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        self.files.append(path.stat().st_size)

    def should_stop(self) -> bool:
        self.last = time.perf_counter()
        self.began = self.began or self.last
        self.steps += 1
        return self.over

    @property
    def over(self) -> bool:
        return self.last - self.began > self.seconds

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / (self.last - self.began)


class Timed(Trainer):
    """Keeps how long each save held the training up; `waits`: until the file is safe, as a synchronous save does."""

    waits = False

    def save(self) -> None:
        began = time.perf_counter()
        super().save()
        if self.waits:
            self._writer.wait()
        self.stalls: list[float] = [*getattr(self, "stalls", []), 1e3 * (time.perf_counter() - began)]


@dataclass
class Measured:
    rates: list[float] = field(default_factory=list)  # steps a second
    stalls: list[float] = field(default_factory=list)  # ms
    megabytes: float = 0.0


def train(arch: str, variant: str, seconds: float, threads: int, folder: Path, into: Measured) -> None:
    batch, every = NETWORKS[arch]
    config = TrainConfig.from_dict(
        {
            "model": {"arch": arch},
            "dataset": {"name": "digits"},
            "batch_size": batch,
            "epochs": 100_000,
            "checkpoint": {"every_epochs": None, "every_seconds": None if variant == VARIANTS[0] else every, "keep": 2},
        }
    )
    clock, backend = Clock(seconds), select(CPU, torch.float32).backend
    with isolated(0, CPU, threads):
        digits = source("digits", "train")
        few = Stored(digits.pixels(torch.arange(64)), digits.labels[:64])  # validations are not what is measured
        trainer = Timed(config, build(config.network()), digits, few, CPU, folder, clock, describe(CPU, backend))
        trainer.waits = variant == VARIANTS[1]
        trainer.run()
    into.rates.append(clock.rate)
    if variant != VARIANTS[0]:
        into.stalls += trainer.stalls[:-1]  # the last one is the stop's, which waits for what is being written
        into.megabytes = clock.files[-1] / 1e6


def networks(rounds: int, seconds: float, threads: int) -> Iterator[Row]:
    for arch, (batch, every) in NETWORKS.items():
        load_before = os.getloadavg()
        found = {variant: Measured() for variant in VARIANTS}
        for number in range(rounds):
            for variant in VARIANTS[number % 3 :] + VARIANTS[: number % 3]:
                with tempfile.TemporaryDirectory(prefix="checkpoints-") as name:
                    folder = Path(name)
                    train(arch, variant, seconds, threads, folder, found[variant])
                    where = filesystem(folder)
        for variant, measured in found.items():
            settings: dict[str, Any] = {"batch": batch, "threads": threads, "filesystem": where}
            if variant != VARIANTS[0]:
                if not measured.stalls:
                    raise SystemExit(f"{arch}: no checkpoint fell due in {seconds:g} s, give more --seconds")
                settings |= {"every_seconds": every, "megabytes": round(measured.megabytes, 3)}
                yield Row("checkpoint stall", f"{arch}, {variant}", "ms", measured.stalls, load_before, settings)
            yield Row("training", f"{arch}, {variant}", "steps/s", measured.rates, load_before, settings)


def long_history(rounds: int) -> Iterator[Row]:
    """What a million metric points add to a checkpoint: on the training's thread, and beside it."""
    load_before = os.getloadavg()
    history = History()
    for step in range(POINTS // 20):
        history.add([MetricPoint(f"series {n}", step, 1, step + n / 7, step) for n in range(20)])
    frozen, written = [], []
    with tempfile.TemporaryDirectory(prefix="checkpoints-") as name:
        folder = Path(name)
        for _ in range(rounds):
            began = time.perf_counter()
            copy = history.snapshot()
            frozen.append(1e3 * (time.perf_counter() - began))
            checkpoint.save(checkpoint.path_for(folder, 1), {"history": copy.state_dict()})
            written.append(1e3 * (time.perf_counter() - began))
        size = round(checkpoint.path_for(folder, 1).stat().st_size / 1e6, 1)
        settings = {"points": POINTS, "megabytes": size, "filesystem": filesystem(folder)}
    yield Row("checkpoint stall", "history of 1,000,000 points", "ms", frozen, load_before, settings)
    yield Row("checkpoint write", "history of 1,000,000 points", "ms", written, load_before, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/checkpoints.jsonl")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each training")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    rows = [*networks(arguments.rounds, arguments.seconds, arguments.threads), *long_history(arguments.rounds)]
    print(table(rows))
    if arguments.write:
        write(rows, RESULTS / "checkpoints.jsonl", VERSIONS)


if __name__ == "__main__":
    main()
