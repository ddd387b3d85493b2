"""Images held out of the training part validate; the published test images are looked at by `split: test` alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import TrainConfig, evaluate, fit, load
from addercore.config import AnalyzeConfig, Holdout, InvalidConfig, QuantizeConfig, dataset
from addercore.data import fingerprint, held_out, opened, part, parts, source
from addercore.data.division import Subset
from addercore.quant import dataset_bytes
from addercore.quant.conversion import convert
from addercore.quant.running import RunningModel
from addercore.train import checkpoint

LABELS = torch.tensor([0] * 10 + [1] * 30 + [2] * 61)


def test_each_class_gives_its_share_and_the_total_is_exact() -> None:
    held = held_out(LABELS, Holdout(0.2, 5))
    assert held.tolist() == sorted(set(held.tolist()))
    assert torch.bincount(LABELS[held]).tolist() == [2, 6, 12]  # 2, 6 and 12.2: 20 of 101
    assert torch.equal(held, held_out(LABELS, Holdout(0.2, 5)))
    assert not torch.equal(held, held_out(LABELS, Holdout(0.2, 6)))


def test_the_parts_are_the_training_images_and_nothing_of_the_test_images() -> None:
    whole, held = source("digits", "train"), held_out(source("digits", "train").labels, Holdout(0.1, 3))
    found = parts("digits", None, Holdout(0.1, 3))
    assert (len(found.train), len(found.validation)) == (1293, 144)
    kept = [index for index in range(len(whole)) if index not in set(held.tolist())]
    assert torch.equal(found.validation.pixels(torch.arange(144)), whole.pixels(held))
    assert torch.equal(found.train.pixels(torch.arange(1293)), whole.pixels(torch.tensor(kept)))
    assert torch.equal(found.train.labels, whole.labels[kept])
    assert found.record == {
        "of": "train",
        "images": 144,
        "holdout": 0.1,
        "seed": 3,
        "indices_sha256": fingerprint(held),
    }
    assert torch.equal(part("digits", "test", None, Holdout(0.1, 3)).labels, source("digits", "validation").labels)
    assert parts("digits", None, None).record == {"of": "test", "images": 360}


def test_a_source_too_large_to_copy_is_shared_with_loader_processes() -> None:
    whole = source("digits", "train")
    one = Subset(whole, torch.tensor([5, 9, 700]), whole.labels[[5, 9, 700]])
    shared = one.share()
    other = opened(shared.description)
    shared.close()
    assert other.labels.tolist() == one.labels.tolist()
    chosen = torch.tensor([2, 0])
    assert torch.equal(other.pixels(chosen), whole.pixels(torch.tensor([700, 5])))
    assert other.shape == whole.shape
    assert one.relabelled(torch.tensor([1, 2, 3])).labels.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.0, "must be > 0"), (1.0, "< 1"), (1e-5, "takes 0 of the 1437"), (0.9999, "takes 1437 of the 1437")],
)
def test_a_share_that_leaves_nothing_is_refused(share: float, reason: str) -> None:
    with pytest.raises(InvalidConfig, match=r"dataset\.holdout") as caught:
        TrainConfig.from_dict({"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits", "holdout": share}})
    assert reason in str(caught.value)


def test_sizes_follow_the_holdout() -> None:
    spec = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits", "holdout": 0.5}}
    config, plain = TrainConfig.from_dict(spec), TrainConfig.from_dict(spec | {"dataset": {"name": "digits"}})
    assert config.operations() < plain.operations()
    with pytest.raises(InvalidConfig, match="exceeds the 719 training images"):
        TrainConfig.from_dict(spec | {"batch_size": 720})
    run = AnalyzeConfig.from_dict(
        {"recipe": "table4", "dataset": {"name": "digits", "holdout": 0.5}, "epochs": 1}
    ).runs()[0]
    assert run.steps == -(-719 // 128)
    assert run.config.dataset.holdout == 0.5


@pytest.mark.filterwarnings("ignore:the float model takes all calibration images")  # it is trained for one epoch
def test_a_training_says_what_validated_it_and_evaluations_know_its_parts(tmp_path: Path, config: Any) -> None:
    spec = config(epochs=1, batch_size=256, dataset={"name": "digits", "holdout": 0.25}, seed=4)
    result = fit(spec, workdir=tmp_path, device="cpu", threads=1)
    held = held_out(source("digits", "train").labels, Holdout(0.25, 4))
    assert result.validation == {
        "of": "train", "images": 359, "holdout": 0.25, "seed": 4, "indices_sha256": fingerprint(held),
    }  # fmt: skip
    assert json.loads((tmp_path / "summary.json").read_text())["validation"] == result.validation
    model = load(tmp_path / "model.safetensors")
    assert model.manifest["validation"] == result.validation
    again = evaluate(model, "digits")
    assert (again.images, again.split, again.unseen) == (359, "validation", False)
    assert again.accuracy == pytest.approx(result.metrics["val/accuracy"])
    assert evaluate(model, "digits", "train").images == 1078
    once = evaluate(model, "digits", "test")
    assert (once.images, once.unseen, once.to_dict()["split"]) == (360, True, "test")

    converted = convert(
        QuantizeConfig.from_dict({"model_id": "model_1", "dataset": {"name": "digits"}}),
        tmp_path / "model.safetensors", tmp_path, None,
    )  # fmt: skip
    assert converted.result["float"]["accuracy"] == pytest.approx(again.accuracy, abs=0.01)
    integer = RunningModel(str(tmp_path / "model.adder")).evaluate("digits", "test")
    assert (integer.images, integer.unseen) == (360, True)
    assert len(dataset_bytes("digits", "validation", None, Holdout(0.25, 4))[1]) == 359


def test_without_a_holdout_the_test_images_have_been_seen(tmp_path: Path, config: Any) -> None:
    fit(config(epochs=1, batch_size=256), workdir=tmp_path, device="cpu", threads=1)
    found = evaluate(load(tmp_path / "model.safetensors"), "digits", "test")
    assert (found.images, found.unseen) == (dataset("digits").validation_size, False)


def test_a_checkpoint_from_before_the_field_resumes(tmp_path: Path, config: Any, recorder: Any) -> None:
    spec = config(epochs=2, batch_size=256)
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=recorder(stop_at=4))
    found = checkpoint.load(tmp_path / "checkpoints")
    del found.state["config"]["dataset"]["holdout"]
    checkpoint.save(tmp_path / "old.adderck", found.state)
    done = fit(spec, workdir=tmp_path / "on", device="cpu", threads=1, resume_from=tmp_path / "old.adderck")
    assert done.epoch == 2
