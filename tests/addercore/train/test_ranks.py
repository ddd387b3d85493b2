"""Several processes compute one training: the images, the bytes, and the ends of one of them."""

import os
import shutil
import signal
from collections.abc import Callable
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore import AdderSGD, fit
from addercore.config import TrainConfig
from addercore.data import source
from addercore.errors import Diverged, RankLost
from addercore.io import load_weights
from addercore.networks import build_for
from addercore.train.batches import Batches, Shard
from addercore.train.stepping import Stepper
from benchmarks.cpu import children
from tests.addercore.conftest import Recorder
from tests.support.ranks import Seat, Table

pytestmark = pytest.mark.bits

DIGITS = source("digits", "train")
CPU = torch.device("cpu")


def network(config: TrainConfig) -> torch.nn.Module:
    return build_for(config, seed=config.seed)


def plainly(config: TrainConfig, ranks: int) -> dict[str, Tensor]:
    """Each part of a batch by itself, one after the other in one process; the gradients are added in that order."""
    model = network(config)
    o = config.optimizer
    optimizer = AdderSGD(model, o.lr, o.momentum, o.nesterov, o.weight_decay, o.adaptive_lr, o.eta, o.clip_norm)
    batches = Batches(DIGITS, config, CPU)
    for epoch in range(config.epochs):
        order = batches.permutation(epoch)
        lr = o.lr * (1 + cos(pi * epoch / config.epochs)) / 2
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = lr
        for step in range(batches.steps_per_epoch):
            sums: list[Tensor] = []
            kept: dict[str, Tensor] = {}
            [index] = batches.indices(step)
            images, labels = batches.part(epoch, order, index)
            for rank in range(ranks):
                model.zero_grad()
                part = Shard(rank, ranks).part(len(labels))
                if part.stop > part.start:
                    loss = nnf.cross_entropy(model.train()(images[part]), labels[part])
                    (loss * ((part.stop - part.start) / len(labels))).backward()
                grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
                sums = [a + b for a, b in zip(sums, grads, strict=True)] if sums else grads
                if rank == 0:  # whose statistics the model gets
                    kept = {name: value.clone() for name, value in model.named_buffers()}
            model.load_state_dict(kept, strict=False)
            for parameter, grad in zip(model.parameters(), sums, strict=True):
                parameter.grad = grad
            optimizer.step()
    return model.state_dict()


def at_one_table(config: TrainConfig, ranks: int) -> dict[str, Tensor]:
    """Rank 0's model, of threads that lay their tensors on one table."""
    table = Table(ranks)
    models = [network(config) for _ in range(ranks)]  # drawing the weights is no work for threads

    def work(rank: int) -> dict[str, Tensor]:
        batches = Batches(DIGITS, config, CPU, Shard(rank, ranks))
        stepper = Stepper(config, models[rank], batches, CPU, None)
        stepper.join(Seat(table, rank))
        for epoch in range(config.epochs):
            for step in range(batches.steps_per_epoch):
                stepper.step(epoch, step, batches.permutation(epoch))
        return stepper.model.state_dict()

    first, *others = table.run(work)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first), "the ranks drifted apart"
    return first


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip", "affine", "imagenet"])
def test_the_parts_of_a_batch_are_the_batch(config: Any, augment: str) -> None:
    spec = config(augment=augment, batch_size=100)  # of 1,437: the last batch has 37
    whole = Batches(DIGITS, spec, CPU)
    order = whole.permutation(1)
    for processes in (2, 3, 7, 25):  # 37 images are too few for 25
        for index in (0, 14):
            images, labels = whole.part(1, order, index)
            parts = [Batches(DIGITS, spec, CPU, Shard(rank, processes)) for rank in range(processes)]
            found = [part.part(1, order, index) for part in parts if part.own(index)]
            assert torch.equal(torch.cat([some for some, _ in found]), images)
            assert torch.equal(torch.cat([some for _, some in found]), labels)
            sizes = [part.own(index) for part in parts]
            assert sum(sizes) == len(labels)
            assert max(sizes) - min(sizes) <= 1 or sizes[1:] == [0] * (processes - 1)


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.long("starts a process that loads torch")), 3])
@pytest.mark.parametrize(("method", "synced"), [("adder", True), ("conv", False)])
def test_processes_end_with_the_bytes_of_a_plain_loop(
    config: Any, tmp_path: Path, ranks: int, method: str, synced: bool
) -> None:
    changes = {"model": {"arch": "lenet5_bn", "method": method, "sync_batchnorm": synced}}
    spec = config(
        **changes, epochs=1, batch_size=130, augment="crop", metrics_every_steps=4
    )  # the last batch: 7 images
    expected = (at_one_table if synced else plainly)(spec, ranks)
    seen = Recorder()
    others = set(children(os.getpid()))
    result = fit(spec, workdir=tmp_path, device="cpu", threads=1, processes=ranks, callbacks=seen, curves=False)
    found = load_weights(tmp_path / "model.safetensors")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert set(children(os.getpid())) == others, "nothing is left of them"
    assert seen.environment["processes"] == ranks
    one = fit(spec, workdir=tmp_path / "one", device="cpu", threads=1, curves=False)
    assert result.step == one.step
    if synced:  # nothing but rounding tells them from one process, which the first epoch has not blown up yet
        first = {point.name: point.value for point in seen.points if point.step == 4}
        assert first["train/loss"] == pytest.approx(one_loss(spec, tmp_path), rel=1e-3)
    assert not torch.distributed.is_initialized(), "torch's own group is the caller's"


def one_loss(spec: TrainConfig, folder: Path) -> float:
    """train/loss at step 4, of one process."""
    rows = (folder / "one" / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    for row in rows[1:]:
        found = dict(zip(names, row.split(","), strict=True))
        if found["name"] == "train/loss" and found["step"] == "4":
            return float(found["value"])
    raise AssertionError(rows[:3])


class Striking(Recorder):
    """Does something to the processes once the training is under way."""

    def __init__(self, strike: Callable[[int], None], others: set[int]) -> None:
        super().__init__()
        self.strike, self.others = strike, others

    def on_progress(self, progress: Any) -> None:
        super().on_progress(progress)
        if len(self.progress) == 1:
            for pid in set(children(os.getpid())) - self.others:
                self.strike(pid)


@pytest.mark.parametrize(
    ("by", "error"),
    [
        (signal.SIGKILL, RankLost),
        pytest.param(signal.SIGSEGV, RuntimeError, marks=pytest.mark.long("starts a process that loads torch")),
    ],
)
def test_a_rank_that_ends_is_told(config: Any, tmp_path: Path, by: signal.Signals, error: type[Exception]) -> None:
    others = set(children(os.getpid()))
    seen = Striking(lambda pid: os.kill(pid, by), others)
    with pytest.raises(
        error, match=r"process \d+ \(rank 1\) of the training (was ended by signal 9|crashed with signal 11)"
    ):
        fit(config(epochs=500), workdir=tmp_path, threads=1, processes=2, callbacks=seen, curves=False)
    assert set(children(os.getpid())) == others


@pytest.mark.long("starts a process that loads torch")
def test_a_nan_of_one_rank_ends_all(config: Any, tmp_path: Path) -> None:
    others = set(children(os.getpid()))
    spec = config(model={"arch": "lenet5_bn", "method": "conv"}, optimizer={"lr": 1e30}, epochs=50)
    with pytest.raises(Diverged, match="the loss became"):
        fit(spec, workdir=tmp_path, threads=1, processes=2, curves=False)
    assert set(children(os.getpid())) == others
    assert (tmp_path / "summary.json").is_file()


@pytest.mark.long("starts processes that load torch, three times")
def test_it_resumes_to_the_same_bytes_and_says_where_it_cannot(config: Any, tmp_path: Path) -> None:
    spec = config(epochs=3, batch_size=128, augment="crop", optimizer={"accumulate": 2})
    untouched, stopped, resumed = Recorder(), Recorder(stop_at=9), Recorder()
    shared: dict[str, Any] = {"threads": 1, "processes": 2, "curves": False, "loader_workers": 1}
    fit(spec, workdir=tmp_path / "a", callbacks=untouched, **shared)
    assert fit(spec, workdir=tmp_path / "b", callbacks=stopped, **shared).stopped
    middle = Path(shutil.copy(stopped.checkpoints[-1][0], tmp_path))
    fit(spec, workdir=tmp_path / "b", callbacks=resumed, resume_from=tmp_path / "b" / "checkpoints", **shared)
    same = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert same[0] == same[1]
    assert [event for event, *_ in resumed.events] == ["resumed"]
    alone = Recorder()
    fit(
        spec, workdir=tmp_path / "c", callbacks=alone, resume_from=middle, threads=1, curves=False
    )  # fmt: skip
    assert [event for event, *_ in alone.events] == ["resumed", "resume_inexact"]
    assert alone.events[1][2] == {"processes": {"before": 2, "now": 1}}


def test_what_several_processes_cannot_do_is_said(config: Any, tmp_path: Path) -> None:
    for spec, processes, said in (
        (config(batch_size=5), 3, "batch_size must be at least 6 for 3 processes"),
        (config(distill={"teacher": "m", "features": 1.0}), 2, r"distill.features must be 0 for 2 processes, got 1"),
        (config(), 65, "processes must be 1 to 64, got 65"),
    ):
        with pytest.raises(ValueError, match=said):
            fit(spec, workdir=tmp_path, processes=processes)
    with pytest.raises(ValueError, match="relabel works in one process, got processes = 2"):
        fit(config(), workdir=tmp_path, processes=2, relabel=lambda labels: labels)


def test_clip_power_and_holdout_hold_in_every_process(config: Any, tmp_path: Path) -> None:
    """One process and two differ by rounding alone: 1e-4 is far below what another clip, power or image changes."""
    spec = config(
        epochs=1,
        batch_size=300,
        dataset={"name": "digits", "holdout": 0.2},
        model={"p_schedule": {"from": 1.5, "until": 0.6}},
        optimizer={"clip_input_gradient": "none", "adaptive_lr": "none", "lr": 0.01},
    )
    found = []
    for processes in (1, 2):
        result = fit(spec, workdir=tmp_path / str(processes), device="cpu", threads=1, processes=processes)
        assert result.validation["images"] == 287
        found.append(load_weights(tmp_path / str(processes) / "model.safetensors"))
    for name, values in found[0].items():
        assert torch.allclose(values.float(), found[1][name].float(), atol=1e-4), name
