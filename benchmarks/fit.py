"""`python -m benchmarks.fit [--write]`: how much of a bare training step's rate `fit` reaches, and what takes the rest.

A bare step is forward, loss, backward and update on one batch that lies in memory. `fit` trains the same network by the
default recipe of checkpoints and validations. Both run on one thread and are measured in CPU time of that thread, in
turns, so that a busy machine counts little. What checkpoints cost on the thread that writes them is not in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import torch
import torch.nn.functional as nnf

from addercore import Callbacks, TrainConfig, fit
from addercore.config import dataset
from addercore.data import source
from addercore.errors import BadData
from addercore.networks import build_for
from addercore.optim import AdderSGD
from addercore.train import trainer
from addercore.train.batches import Batches
from addercore.train.state import RunningMetrics
from addercore.train.trainer import Trainer
from benchmarks.rows import RESULTS, Row, table, write

CPU: Final = torch.device("cpu")
NETWORKS: Final = {"lenet5_bn": 128, "resnet20": 64}
"""Images in a batch."""
DATASETS: Final = ("digits", "fashion_mnist")
VERSIONS: Final = ("python", "adderworks", "torch", "numpy")
AUGMENT: Final = "none"
PARTS: Final[dict[str, tuple[tuple[Any, str], ...]]] = {
    "data": ((Batches, "part"), (Batches, "permutation")),
    "metrics": ((RunningMetrics, "add"), (Trainer, "_emit_training"), (Trainer, "_tell_progress")),
    "checkpoints": ((Trainer, "save"),),
    "validation": ((trainer, "score"),),
}
"""What each share of `fit` is made of; none of these calls another."""


class Stop(Callbacks):
    """Ends the run after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def should_stop(self) -> bool:
        self.steps -= 1
        return self.steps < 0


@dataclass
class Spent:
    """CPU seconds of the training's thread."""

    seconds: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    def around(self, part: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return inner(*arguments, **named)
            finally:
                self.seconds[part] = self.seconds.get(part, 0.0) + time.thread_time() - began

        return timed

    def each_step(self, part: str) -> float:
        """In ms."""
        return 1e3 * self.seconds.get(part, 0.0) / self.steps


@contextmanager
def counted() -> Iterator[Spent]:
    """Counts what trainings in this block spend: in `run` as a whole, and in each of `PARTS`."""
    spent, run = Spent(), Trainer.run

    def whole(self: Trainer) -> None:
        spent.around("whole", run)(self)
        spent.steps += self.position.step

    with mock.patch.object(Trainer, "run", whole):
        patches = [
            mock.patch.object(owner, name, spent.around(part, getattr(owner, name)))
            for part, places in PARTS.items()
            for owner, name in places
        ]
        try:
            for patch in patches:
                patch.start()
            yield spent
        finally:
            for patch in reversed(patches):
                patch.stop()


def configuration(arch: str, name: str) -> TrainConfig:
    return TrainConfig.from_dict({
        "model": {"arch": arch}, "dataset": {"name": name}, "batch_size": NETWORKS[arch], "epochs": 1000,
        "augment": AUGMENT,
    })  # fmt: skip


def bare_step(config: TrainConfig, data_dir: Path | None) -> Callable[[], None]:
    """One step on the first batch, over and over."""
    batches = Batches(source(config.dataset.name, "train", data_dir), config, CPU)
    images, labels = batches.part(0, batches.permutation(0), 0)
    network, o = build_for(config, seed=0).train(), config.optimizer
    optimizer = AdderSGD(network, o.lr, o.momentum, o.nesterov, o.weight_decay, o.adaptive_lr, o.eta, o.clip_norm)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nnf.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def bare(step: Callable[[], None], steps: int) -> float:
    """ms a step."""
    began = time.thread_time()
    for _ in range(steps):
        step()
    return 1e3 * (time.thread_time() - began) / steps


def measured(arch: str, name: str, rounds: int, least: int, epochs: int, data_dir: Path | None) -> Iterator[Row]:
    """Trainings of `epochs`, but of `least` steps at least; the bare steps beside them are `least`."""
    load, config = os.getloadavg(), configuration(arch, name)
    per_epoch = Batches(source(name, "train", data_dir), config, CPU).per_epoch
    steps = max(least, epochs * per_epoch)
    step = bare_step(config, data_dir)
    bare(step, 3)
    pure: list[float] = []
    spent: list[Spent] = []
    for _ in range(rounds):
        pure.append(bare(step, least))
        with tempfile.TemporaryDirectory(prefix="fit-") as folder, counted() as found:
            fit(
                config, workdir=Path(folder), data_dir=data_dir, device="cpu", threads=1, callbacks=Stop(steps),
                curves=False,
            )  # fmt: skip
        spent.append(found)
        pure.append(bare(step, least))
    beside = [(pure[2 * number] + pure[2 * number + 1]) / 2 for number in range(rounds)]
    settings: dict[str, Any] = {
        "batch": config.batch_size, "threads": 1, "clock": "cpu of the thread", "augment": AUGMENT, "steps": steps,
        "steps_an_epoch": per_epoch, "validation_images": len(source(name, "validation", data_dir)),
    }  # fmt: skip
    title = f"{arch}, {name}"
    yield Row("bare step", title, "ms", pure, load, settings)
    yield Row("step of fit, all included", title, "ms", [one.each_step("whole") for one in spent], load, settings)
    shares = {part: [100 * one.each_step(part) / one.each_step("whole") for one in spent] for part in PARTS}
    for part, values in shares.items():
        yield Row(f"share of fit: {part}", title, "%", values, load, settings)
    for what, without in (("", ()), (" without validation", ("validation",))):
        rates = [
            alone / (one.each_step("whole") - sum(map(one.each_step, without)))
            for alone, one in zip(beside, spent, strict=True)
        ]
        yield Row(f"fit / bare step, rates{what}", title, "times", rates, load, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/fit.jsonl")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of bare LeNet-5-BN; a fifth of ResNet-20 (%(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=4, help="of LeNet-5-BN; ResNet-20 trains for its steps (%(default)s)"
    )
    parser.add_argument("--data-dir", type=Path, help="folder of datasets, as for fit; without it digits alone")
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in DATASETS if arguments.data_dir else DATASETS[:1]:
        for arch in NETWORKS:
            small = arch == "lenet5_bn"
            steps, epochs = (arguments.steps, arguments.epochs) if small else (max(1, arguments.steps // 5), 0)
            try:
                rows += measured(arch, name, arguments.rounds, steps, epochs, arguments.data_dir)
            except BadData as error:
                raise SystemExit(f"{dataset(name).name} is not in {arguments.data_dir}: {error}") from error
    torch.set_num_threads(threads)
    print(table(rows))
    print("\n".join(f"{row.benchmark}, {row.variant}: {statistics.median(row.values):.3g}" for row in rows))
    if arguments.write:
        write(rows, RESULTS / "fit.jsonl", VERSIONS)


if __name__ == "__main__":
    main()
