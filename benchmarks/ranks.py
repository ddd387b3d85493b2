"""`python -m benchmarks.ranks [--write]`: two processes of one thread against one process of two threads.

Each network trains on the digits, in turns; a second measurement counts what the exchange of gradients and of batch
statistics costs by itself. A third compares depthwise adder layers with convolutions.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore import TrainConfig, fit
from addercore.ops import adder_conv2d
from addercore.train import exchange
from benchmarks.checkpoints import VERSIONS, Clock
from benchmarks.rows import RESULTS, Row, table, write

NETWORKS: Final = {"lenet5_bn": 128, "resnet20": 64}
"""Images in a batch of all processes together."""
VARIANTS: Final = {
    "1 process × 2 threads": (1, 2, True),
    "2 processes × 1 thread": (2, 1, True),
    "2 processes × 1 thread, own statistics": (2, 1, False),
}
DEPTHWISE: Final = ((96, 32, 1), (144, 32, 2), (192, 16, 1), (384, 8, 1))
"""Channels, height and width, stride: layers of MobileNetV2 on 32×32 images, 3×3 windows, batch 32."""


class Waited:
    """Adds up the seconds that rank 0 spends in exchanges, by name of the method."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, name: str) -> Callable[..., Any]:
        inner = getattr(exchange.Exchange, name)

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*arguments)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

        return timed


def train(arch: str, batch: int, processes: int, threads: int, synced: bool, seconds: float) -> tuple[float, Waited]:
    """Steps a second, and what rank 0 waited in a step, in ms."""
    config = TrainConfig.from_dict(
        {
            "model": {"arch": arch, "sync_batchnorm": synced},
            "dataset": {"name": "digits"},
            "batch_size": batch,
            "epochs": 100_000,
            "metrics_every_steps": 1_000,
            "checkpoint": {"every_epochs": None, "every_seconds": None},
        }
    )
    clock, waited = Clock(seconds), Waited()
    kept = {name: getattr(exchange.Exchange, name) for name in ("gather", "add_up")}
    for name in kept:
        setattr(exchange.Exchange, name, waited.around(name))
    try:
        with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
            fit(
                config, workdir=Path(folder), device="cpu", threads=threads, processes=processes, callbacks=clock,
                curves=False,
            )  # fmt: skip
    finally:
        for name, method in kept.items():
            setattr(exchange.Exchange, name, method)
    waited.seconds = {name: 1e3 * value / max(1, clock.steps) for name, value in waited.seconds.items()}
    return clock.rate, waited


def trainings(rounds: int, seconds: float) -> Iterator[Row]:
    for arch, batch in NETWORKS.items():
        load_before = os.getloadavg()
        rates: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        waits: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for variant, (processes, threads, synced) in VARIANTS.items():
                rate, waited = train(arch, batch, processes, threads, synced, seconds)
                rates[variant].append(rate)
                for name, ms in waited.seconds.items():
                    waits.setdefault((variant, name), []).append(ms)
        settings: dict[str, Any] = {"batch": batch}
        for variant, found in rates.items():
            yield Row("training", f"{arch}, {variant}", "steps/s", found, load_before, settings)
        for (variant, name), found in waits.items():
            what = "gradients" if name == "add_up" else "statistics"
            yield Row(f"exchange of {what}", f"{arch}, {variant}", "ms/step", found, load_before, settings)


def depthwise(rounds: int) -> Iterator[Row]:
    """Forward and backward of one layer on one thread."""
    torch.set_num_threads(1)
    for channels, size, stride in DEPTHWISE:
        load_before = os.getloadavg()
        x = torch.randn(32, channels, size, size, requires_grad=True)
        weight = torch.randn(channels, 1, 3, 3, requires_grad=True)
        forms: dict[str, Callable[[], Tensor]] = {
            "adder": lambda x=x, w=weight, s=stride, c=channels: adder_conv2d(x, w, s, 1, 1, c),  # type: ignore[misc]
            "conv": lambda x=x, w=weight, s=stride, c=channels: nnf.conv2d(x, w, None, s, 1, 1, c),  # type: ignore[misc]
        }
        taken: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds + 2):
            for form, call in forms.items():
                began = time.perf_counter()
                y = call()
                middle = time.perf_counter()
                y.sum().backward()  # type: ignore[no-untyped-call]
                taken.setdefault((form, "forward"), []).append(1e3 * (middle - began))
                taken.setdefault((form, "backward"), []).append(1e3 * (time.perf_counter() - middle))
        for (form, what), values in taken.items():
            variant = f"{form}, {channels} channels of {size}×{size}, stride {stride}"
            yield Row(f"depthwise {what}", variant, "ms", values[2:], load_before, {"batch": 32, "threads": 1})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/ranks.jsonl")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each training")
    arguments = parser.parse_args()
    rows = [*trainings(arguments.rounds, arguments.seconds), *depthwise(10 * arguments.rounds)]
    print(table(rows))
    if arguments.write:
        write(rows, RESULTS / "ranks.jsonl", VERSIONS)


if __name__ == "__main__":
    main()
