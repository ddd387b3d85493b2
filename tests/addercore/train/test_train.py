"""Training: it learns, it repeats, it leaves nothing behind, and it says when it fails."""

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import addercore
from addercore import BadModel, Callbacks, Diverged, fit
from addercore.arch import read_manifest
from addercore.io import encode, manifest_of
from addercore.networks import build
from addercore.train import checkpoint

pytestmark = pytest.mark.bits

LAYERS = ("conv1", "conv2", "conv3", "fc1", "fc2")


@pytest.mark.parametrize(("method", "least"), [("adder", 0.88), ("conv", 0.88)])
def test_digits_are_learnt(tmp_path: Path, config: Any, recorder: Any, method: str, least: float) -> None:
    seen = recorder()
    result = fit(config(model={"method": method}, epochs=8), workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert result.metrics["val/accuracy"] > least
    assert not result.stopped
    assert (result.epoch, result.step) == (8, 96)
    assert {a.name for a in result.artifacts} == {
        "model.safetensors",
        "model.json",
        "metrics.csv",
        "summary.json",
        "curves.png",
    }
    assert all(artifact.path.stat().st_size > 0 for artifact in result.artifacts)
    model = addercore.load(tmp_path / "model.safetensors")
    evaluated = addercore.evaluate(model, "digits", device="cpu")
    assert evaluated.accuracy == result.metrics["val/accuracy"]
    assert evaluated.loss == pytest.approx(result.metrics["val/loss"], rel=1e-5)
    assert sum(map(sum, evaluated.confusion_matrix)) == evaluated.images == 360
    diagonal = sum(evaluated.confusion_matrix[i][i] for i in range(10))
    assert diagonal / 360 == evaluated.accuracy


def test_what_a_run_reports(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    fit(config(), workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert set(seen.environment) == {
        "device",
        "backend",
        "kernels",
        "torch",
        "addercore",
        "threads",
        "processes",
        "commit",
        "cpu_capability",
    }
    assert seen.environment["threads"] == 1
    by_step: dict[int, set[str]] = {}
    for point in seen.points:
        by_step.setdefault(point.step, set()).add(point.name)
    training = {"train/loss", "train/accuracy", "lr", "images_per_second"}
    training |= {f"{kind}/{layer}" for kind in ("grad_norm", "local_lr") for layer in LAYERS}
    validation = {"val/loss", "val/accuracy"}
    assert by_step == {step: training | (validation if step % 12 == 0 else set()) for step in range(3, 25, 3)}
    assert len({(p.name, p.step) for p in seen.points}) == len(seen.points)
    assert {p.epoch for p in seen.points if p.step <= 12} == {1}
    assert {p.epoch for p in seen.points if p.step > 12} == {2}
    rates = [p.value for p in seen.points if p.name == "lr"]
    assert rates == [0.1] * 4 + [pytest.approx(0.05)] * 4
    last = seen.progress[-1]
    assert (last.epoch, last.step, last.steps, last.fraction, last.eta_seconds) == (2, 24, 24, 1.0, 0.0)
    assert (seen.checkpoints[0][1] >= 12, seen.checkpoints[-1][1:3]) == (True, (24, 2))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], int(r["step"]), int(r["epoch"]), float(r["value"])) for r in rows] == [
        (p.name, p.step, p.epoch, p.value) for p in seen.points
    ]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["model"]["operations"]["add"] == 833_040
    assert summary["environment"] == seen.environment


def final_bytes(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path, config: Any) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(config(epochs=1, seed=seed), workdir=tmp_path / name, device="cpu", threads=1)
        torch.rand(3)  # a caller's random numbers do not reach into a run
    assert final_bytes(tmp_path / "a") == final_bytes(tmp_path / "b")
    assert final_bytes(tmp_path / "a") != final_bytes(tmp_path / "c")
    assert json.loads((tmp_path / "a/model.json").read_text()) == read_manifest(tmp_path / "a/model.safetensors")


def test_fit_leaves_the_process_as_it_was(tmp_path: Path, config: Any) -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    torch.set_num_threads(2)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # type: ignore[union-attr,index]
    fit(config(epochs=1, batch_size=512), workdir=tmp_path, device="cpu", threads=1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])  # type: ignore[index]
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_fit_says_what_it_does_just_now(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    fit(config(epochs=2, batch_size=512), workdir=tmp_path, device="cpu", threads=1, callbacks=seen, curves=False)
    assert seen.phases == ["reading_data", *["training", "validating"] * 2, "storing"]


def test_divergence_is_reported_after_its_last_metrics(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    bad = config(
        model={"method": "conv"}, optimizer={"lr": 1e30, "schedule": "constant"}, metrics_every_steps=1, epochs=3
    )
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) by step \d+.*optimizer\.lr"):
        fit(bad, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert any(p.name == "train/loss" for p in seen.points)
    assert all(math.isfinite(p.value) for p in seen.points)
    assert not (tmp_path / "model.safetensors").exists()
    assert {(a.name, a.kind) for a in seen.left} == {
        ("metrics.csv", "metrics"),
        ("summary.json", "summary"),
        ("curves.png", "curves"),
    }
    assert all(artifact.path.stat().st_size > 0 for artifact in seen.left)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [(r["name"], float(r["value"])) for r in csv.DictReader(file)] == [
            (p.name, p.value) for p in seen.points
        ]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failed"].startswith("the loss became")
    assert summary["steps"] == seen.points[-1].step


def test_a_run_that_diverges_before_its_first_loss_leaves_what_there_is(
    tmp_path: Path, config: Any, recorder: Any
) -> None:
    """Its panel of losses is empty, which is no reason to fail otherwise."""
    seen = recorder()
    start = config(model={"method": "conv"})
    state = addercore.build(start.network(), "conv").state_dict()
    weights = {name: torch.full_like(value, 1e38 if value.is_floating_point() else 0) for name, value in state.items()}
    (tmp_path / "start.safetensors").write_bytes(encode(weights, manifest_of(start, {})))
    with pytest.raises(Diverged, match="by step 1 "):
        fit(
            config(model={"method": "conv"}, init_from="model_1", metrics_every_steps=1),
            workdir=tmp_path, device="cpu", threads=1, callbacks=seen, init_from=tmp_path / "start.safetensors",
        )  # fmt: skip
    assert "train/loss" not in {p.name for p in seen.points}
    assert [a.path.exists() for a in seen.left] == [True] * 3


def test_early_stopping_and_the_best_epoch(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    spec = config(epochs=9, early_stop={"patience": 2, "min_delta": 1.0}, publish="best", batch_size=256)
    result = fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert result.epoch == 3  # no accuracy rises by more than 1
    assert [event[0] for event in seen.events] == ["early_stop"]
    accuracies = [p.value for p in seen.points if p.name == "val/accuracy"]
    assert result.metrics["val/accuracy"] == max(accuracies)
    model = addercore.load(tmp_path / "model.safetensors")
    assert addercore.evaluate(model, "digits", device="cpu").accuracy == max(accuracies)


def test_a_run_starts_from_a_stored_model(tmp_path: Path, config: Any, recorder: Any) -> None:
    first = fit(config(epochs=6), workdir=tmp_path / "a", device="cpu", threads=1)
    tuned = config(epochs=1, init_from="model_1", optimizer={"lr": 0.001})
    with pytest.raises(ValueError, match="model_1"):
        fit(tuned, workdir=tmp_path / "b", device="cpu")
    path = tmp_path / "a/model.safetensors"
    result = fit(tuned, workdir=tmp_path / "b", device="cpu", threads=1, init_from=path)
    assert result.metrics["val/accuracy"] > first.metrics["val/accuracy"] - 0.05
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadModel, match="cannot be read"):
        fit(tuned, workdir=tmp_path / "b", device="cpu", init_from=path)


def test_a_run_starts_from_a_model_of_other_classes(tmp_path: Path, config: Any, recorder: Any) -> None:
    first, head = config(), ("fc2.", "bn5.")
    weights = build(first.network(), seed=9).state_dict()
    two = {name: value[:2] if name.startswith(head) and value.dim() else value for name, value in weights.items()}
    path = tmp_path / "parity.safetensors"
    path.write_bytes(encode(two, manifest_of(first, {}) | {"classes": ["even", "odd"]}))
    tuned = config(init_from="model_1", optimizer={"lr": 1e-6, "weight_decay": 0.0})
    options: dict[str, Any] = {"workdir": tmp_path / "a", "device": "cpu", "threads": 1, "init_from": path}

    seen = recorder(stop_at=1)
    stopped = fit(tuned, callbacks=seen, **options)
    assert seen.events[0][1] == "8 layers start from the stored model, of other classes; fc2, bn5 anew"
    state = checkpoint.load(seen.checkpoints[0][0]).state["model"]
    for name, value in weights.items():
        near = value.dim() == 0 or "running" in name or torch.allclose(state[name], value, atol=1e-3)
        assert near != (name in ("fc2.weight",)), name

    done = fit(tuned, resume_from=tmp_path / "a/checkpoints", **options)
    assert stopped.initialised == done.initialised
    assert done.initialised is not None
    assert done.initialised.new == ("fc2", "bn5")
    assert json.loads((tmp_path / "a/summary.json").read_text())["initialised"] == done.initialised.to_dict()
    with pytest.raises(BadModel, match=r"it is of lenet5_bn, this training of lenet5_bn_2d"):
        fit(config(model={"arch": "lenet5_bn_2d"}, init_from="model_1"), **options)


@pytest.mark.long("trains two networks")
def test_bf16_and_the_mixed_network_train(tmp_path: Path, config: Any) -> None:
    spec = config(model={"first_last": "conv"}, precision="bf16", epochs=6)
    result = fit(spec, workdir=tmp_path, device="cpu", threads=1)
    assert result.metrics["val/accuracy"] > 0.8


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("threads", 0, "threads.*0"),
        ("device", "tpu", "'tpu'"),
        ("device", "cuda:99", "'cuda:99' is not there"),
        ("backend", "fast", "'fast'.*portable"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, config: Any, option: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit(config(), workdir=tmp_path, **{option: value})


def test_callbacks_do_nothing_unless_overridden(tmp_path: Path, config: Any) -> None:
    assert Callbacks().should_stop() is False
    fit(config(epochs=1, batch_size=700), workdir=tmp_path, device="cpu", threads=1, callbacks=Callbacks())
