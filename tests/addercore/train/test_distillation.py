"""Distillation: the loss by its definition, a run that records its teacher, and teachers that do not fit."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import BadModel, CheckpointError, build, fit
from addercore.arch import read_manifest
from addercore.config import DistillConfig, TrainConfig, dataset, unfit_teacher
from addercore.io import Model, encode, load, manifest_of
from addercore.train.distillation import Teacher

pytestmark = pytest.mark.bits

DIGITS = dataset("digits")
TEACHER = {"teacher": "model_1"}


@pytest.fixture
def twin(tmp_path: Path, config: Any) -> Callable[..., Path]:
    """Writes the file of an untrained convolutional twin, its manifest changed by `changes`."""

    def make(seed: int = 1, **changes: Any) -> Path:
        spec = config(model={"method": "conv"})
        weights = build(spec.network(), "conv", "conv", seed=seed).state_dict()
        path = tmp_path / f"twin-{seed}.safetensors"
        path.write_bytes(encode(weights, manifest_of(spec, {}) | changes))
        return path

    return make


def run(spec: TrainConfig, folder: Path, **options: Any) -> dict[str, torch.Tensor]:
    """The trained weights."""
    fit(spec, workdir=folder, device="cpu", threads=1, **options)
    return load(folder / "model.safetensors").module.state_dict()


def teacher(path: Path, **changes: Any) -> Teacher:
    changes = {"features": 0.0, **changes}
    return Teacher(DistillConfig(teacher="model_1", **changes), load(path), "", DIGITS, "fp32")


def softmax(scores: list[float], temperature: float) -> list[float]:
    powers = [exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def test_the_loss_is_its_definition(twin: Callable[..., Path]) -> None:
    images = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = 3 * torch.randn(5, 10, generator=torch.Generator().manual_seed(1))
    taught = teacher(twin(), temperature=2.5, weight=0.75)
    expected = 0.0
    for mine, its in zip(scores.tolist(), taught.scores(images).tolist(), strict=True):
        q, p = softmax(mine, 2.5), softmax(its, 2.5)
        expected += 2.5**2 * sum(a * (log(a) - log(b)) for a, b in zip(p, q, strict=True)) / 5
    found = taught.loss(images, scores)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert taught.objective(torch.tensor(2.0), found).item() == pytest.approx(0.25 * 2 + 0.75 * expected, rel=1e-5)
    assert taught.loss(images, taught.scores(images)).item() == pytest.approx(0, abs=1e-6)


def test_features_are_compared_by_their_kernels(twin: Callable[..., Path]) -> None:
    """Against the definition, in float64: which images of a batch are alike after each normalisation but the last."""
    images = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    taught, student = teacher(twin(), features=0.5), load(twin(seed=2)).module
    seen: dict[str, list[torch.Tensor]] = {}
    for network in (student, load(twin()).module):
        for name in ("bn1", "bn2", "bn3", "bn4"):
            keep = seen.setdefault(name, [])
            network.get_submodule(name).register_forward_hook(lambda *a, keep=keep: keep.append(a[2].double()))
        network(images)
    expected = 0.0
    for pair in seen.values():
        mine, its = (f.flatten(1).relu() @ f.flatten(1).relu().T for f in pair)
        rows = [k / k.pow(2).sum(1, keepdim=True).sqrt() for k in (mine, its)]
        expected += 0.5 * (rows[0] - rows[1]).pow(2).sum(1).mean().item()
    taught.watch(student)
    scores = student(images)
    alone = teacher(twin()).loss(images, scores)
    assert (taught.loss(images, scores) - alone).item() == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01


def test_a_teacher_sees_images_as_it_was_taught_to(twin: Callable[..., Path]) -> None:
    preprocessing = manifest_of(TrainConfig.default("lenet5_bn", "digits"), {})["preprocessing"]
    other = twin(preprocessing=preprocessing | {"mean": [0.5], "std": [0.25]})
    pixels = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    model: Model = load(other)
    expected = model.module((pixels - 0.5) / 0.25)
    found = teacher(other).scores((pixels - DIGITS.mean[0]) / DIGITS.std[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.long("trains four networks")
def test_a_run_records_its_teacher_and_repeats(
    tmp_path: Path, config: Any, recorder: Any, twin: Callable[..., Path]
) -> None:
    spec, path, seen = config(epochs=1, distill=TEACHER), twin(), recorder()
    first = run(spec, tmp_path / "a", teacher=path, callbacks=seen)
    run(spec, tmp_path / "b", teacher=path)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    manifest = read_manifest(tmp_path / "a/model.safetensors")
    expected = {"kind": "plain", "teacher": "model_1", "temperature": 2.0, "weight": 0.5, "features": 1.0}
    assert manifest["config"]["distill"] == expected
    assert manifest["teacher"] == json.loads((tmp_path / "a/summary.json").read_text())["teacher"]
    assert manifest["teacher"] == {
        "id": "model_1",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "arch": "lenet5_bn",
        "method": "conv",
    }
    steps = {p.step for p in seen.points if p.name == "train/loss"}
    assert {p.step for p in seen.points if p.name == "train/distill_loss"} == steps == {3, 6, 9, 12}
    assert all(p.value > 0 for p in seen.points if p.name == "train/distill_loss")
    alone = run(config(epochs=1), tmp_path / "c")
    assert "teacher" not in read_manifest(tmp_path / "c/model.safetensors")
    assert not all(torch.equal(first[name], alone[name]) for name in first)


def test_a_teacher_without_weight_changes_nothing(tmp_path: Path, config: Any, twin: Callable[..., Path]) -> None:
    """It draws no random numbers and leaves no state: only its part of the loss reaches the run."""
    unheard = config(epochs=1, distill={**TEACHER, "weight": 0.0, "features": 0.0})
    taught, alone = run(unheard, tmp_path / "a", teacher=twin()), run(config(epochs=1), tmp_path / "b")
    assert all(torch.equal(taught[name], alone[name]) for name in alone)


def test_a_run_goes_on_with_its_own_teacher_only(
    tmp_path: Path, config: Any, recorder: Any, twin: Callable[..., Path]
) -> None:
    spec = config(epochs=1, batch_size=512, distill=TEACHER)
    fit(spec, workdir=tmp_path / "a", device="cpu", threads=1, teacher=twin(), callbacks=recorder(stop_at=1))
    with pytest.raises(CheckpointError, match="a teacher with sha256"):
        fit(
            spec, workdir=tmp_path / "a", device="cpu", teacher=twin(seed=2), resume_from=tmp_path / "a/checkpoints"
        )  # fmt: skip


def test_a_teacher_that_is_missing_or_of_no_use_is_named(
    tmp_path: Path, config: Any, twin: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match="learns from model 'model_1': pass its file as teacher"):
        fit(config(distill=TEACHER), workdir=tmp_path, device="cpu")
    with pytest.raises(ValueError, match="the configuration has no distill"):
        fit(config(), workdir=tmp_path, device="cpu", teacher=twin())
    with pytest.raises(BadModel, match="cannot teach a training on digits: it calls class 0 'a', this training '0'"):
        fit(config(distill=TEACHER), workdir=tmp_path, device="cpu", teacher=twin(classes=list("abcdefghij")))


@pytest.mark.parametrize(
    ("arch", "features", "change", "says"),
    [
        ("lenet5_bn", 1.0, {}, None),
        ("resnet20", 0.0, {}, None),
        (
            "resnet20",
            1.0,
            {},
            "its layers are those of lenet5_bn, this training's of resnet20; "
            "set distill.features to 0 for scores alone",
        ),
        (
            "lenet5_bn",
            1.0,
            {"input_shape": (3, 32, 32)},
            "it takes images of (1, 32, 32), this training has (3, 32, 32)",
        ),
        ("lenet5_bn", 1.0, {"classes": tuple("012345678")}, "it knows 10 classes, this training has 9"),
        ("lenet5_bn", 1.0, {"classes": tuple("0123456798")}, "it calls class 8 '8', this training '9'"),
        ("lenet5_bn", 1.0, {"name": "other", "mean": (0.9,), "std": (0.1,)}, None),
    ],
)
def test_why_a_model_cannot_teach(arch: str, features: float, change: dict[str, Any], says: str | None) -> None:
    manifest = manifest_of(TrainConfig.default("lenet5_bn", "digits"), {})
    assert unfit_teacher(manifest, replace(DIGITS, **change), arch, features) == says
