"""Image folders, uploaded sets and sets too large for the device: the same batches whoever makes them, faults named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import addercore
from addercore import BadData, TrainConfig, fit
from addercore.config import DatasetInfo, register
from addercore.config import datasets as known
from addercore.data import Preprocess, division, folder, load, opened, raw, source, sources
from addercore.data.augment import Draws, attempts, random_box
from addercore.data.folder import ImageFolder, scan
from addercore.train import evaluation
from addercore.train.batches import Batches
from addercore.train.evaluation import EvaluationBatches, score
from addercore.train.loader import Loader

pytestmark = pytest.mark.bits

CPU = torch.device("cpu")
SHAPE = (3, 16, 12)


@pytest.fixture
def photographs(tmp_path: Path) -> ImageFolder:
    """Nine images of two classes, of sizes and formats of their own."""
    rng = np.random.default_rng(0)
    for number in range(9):
        path = (
            tmp_path / "photographs" / ("n1" if number < 5 else "n2") / f"{number}.{'png' if number == 3 else 'JPEG'}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "L" if number == 4 else "RGB"
        small = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)).convert(mode)
        small.resize((30 + number, 50 - number), Image.Resampling.BICUBIC).save(path)
    (tmp_path / "photographs" / "n1" / "notes.txt").write_text("not an image")
    return scan(tmp_path / "photographs", ["n1", "n2"], SHAPE)


def test_a_folder_gives_centres_or_random_parts(photographs: ImageFolder) -> None:
    assert photographs.labels.tolist() == [0] * 5 + [1] * 4
    assert photographs.path(3).name == "3.png"
    chosen = torch.tensor([8, 3, 4])
    found = photographs.pixels(chosen)
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (3, *SHAPE))
    with Image.open(photographs.path(8)) as image:
        height, width = image.height, image.width  # 42 × 38: the middle 33.25 of it
        side = 7 / 8 * width
        left, top = (width - side) / 2, (height - side) / 2
        expected = image.resize((12, 16), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        assert np.array_equal(found[0].numpy(), np.asarray(expected).transpose(2, 0, 1))
    assert torch.equal(found[2, 0], found[2, 1])  # grey became colour
    part = photographs.pixels(chosen, Draws(torch.Generator().manual_seed(5)))
    drawn = attempts(3, Draws(torch.Generator().manual_seed(5)))
    with Image.open(photographs.path(3)) as image:
        top, left, rows, columns = random_box(drawn[1], image.height, image.width)
        expected = image.resize((12, 16), Image.Resampling.BILINEAR, box=(left, top, left + columns, top + rows))
        assert np.array_equal(part[1].numpy(), np.asarray(expected).transpose(2, 0, 1))


def test_another_process_opens_the_same_folder(photographs: ImageFolder) -> None:
    shared = photographs.share()
    other = opened(json.loads(json.dumps(shared.description)))
    shared.close()
    everything = torch.arange(9)
    assert torch.equal(other.pixels(everything), photographs.pixels(everything))
    assert torch.equal(other.labels, photographs.labels)


def imagenet_config(**changes: Any) -> TrainConfig:
    spec = {"model": {"arch": "resnet18", "method": "conv"}, "dataset": {"name": "imagenet"}, "batch_size": 4}
    return TrainConfig.from_dict({**spec, "epochs": 2, **changes})


@pytest.mark.long("processes that import torch")
def test_loader_processes_decode_the_same_batches(photographs: ImageFolder) -> None:
    config = imagenet_config()
    assert config.augment == "imagenet"
    batches = Batches(photographs, config, CPU)
    loader = Loader.of_training(batches, workers=2, epoch=0, index=1)
    try:
        made = []
        for epoch, index in batches.from_position(0, 1):
            expected = batches.pixels(epoch, batches.permutation(epoch), index)
            assert torch.equal(loader.take(), expected)
            made.append(expected)
        assert len(made) == 3  # 9 images, 4 in a batch; the last one alone sits the epoch out
        assert not any(torch.equal(made[0], other) for other in made[1:])
    finally:
        loader.close()
    ordered = Loader.of_evaluation(photographs, workers=1, size=4)
    try:
        taken = torch.cat([ordered.take() for _ in range(3)])
        assert torch.equal(taken, photographs.pixels(torch.arange(9)))
    finally:
        ordered.close()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long("processes that import torch"))])
def test_a_damaged_image_in_the_middle_of_a_training_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: ImageFolder, workers: int
) -> None:
    photographs = dataclasses.replace(photographs, shape=(3, 224, 224))
    monkeypatch.setattr(division, "source", lambda *_: photographs)
    bad = photographs.path(6)
    bad.write_bytes(bad.read_bytes()[:200])
    config = imagenet_config(model={"arch": "resnet20", "method": "conv"}, batch_size=3)
    with pytest.raises(BadData, match=rf"{bad} cannot be read as an image \(.*\); replace it"):
        fit(config, workdir=tmp_path, device="cpu", threads=1, loader_workers=workers)
    bad.unlink()
    with pytest.raises(BadData, match=rf"{bad} is gone"):
        photographs.pixels(torch.tensor([6]))


def test_disk_trouble_is_not_the_images_fault(photographs: ImageFolder) -> None:
    path = photographs.path(0)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        photographs.pixels(torch.tensor([0]))
    loader = Loader.of_evaluation(photographs, workers=1, size=2)
    try:
        with pytest.raises(IsADirectoryError, match=str(path)):
            loader.take()
    finally:
        loader.close()


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, photographs: ImageFolder) -> None:
    with pytest.raises(BadData, match="no images of n3, n4"):
        scan(photographs.root, ["n1", "n3", "n4"], SHAPE)
    info = dataclasses.replace(known.DATASETS["imagenet"], classes=("n1 a", "n2 b"), train_size=10)
    with pytest.raises(BadData, match=r"imagenet/train is missing. Unpack train/ and val/"):
        folder.imagenet(info, tmp_path, "train")
    (tmp_path / "imagenet").mkdir()
    photographs.root.rename(tmp_path / "imagenet" / "train")
    with pytest.raises(BadData, match="has 9 images where imagenet has 10"):
        folder.imagenet(info, tmp_path, "train")
    assert len(folder.imagenet(dataclasses.replace(info, train_size=9), tmp_path, "train")) == 9


@pytest.fixture
def uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetInfo:
    """A user's set of 40 and 20 grey images, 9×7, whose class is the brighter half."""
    monkeypatch.setattr(known, "_UPLOADED", {})
    info = DatasetInfo(
        name="ds_halves",
        description="halves",
        source="a user",
        input_shape=(1, 32, 32),
        stored_shape=(9, 7),
        classes=("left", "right"),
        train_size=40,
        validation_size=20,
        mean=(0.4,),
        std=(0.3,),
    )
    register(info)
    rng = np.random.default_rng(3)
    tensors = {}
    for split, size in (("train", 40), ("validation", 20)):
        labels = np.arange(size) % 2
        images = rng.integers(0, 60, (size, 1, 9, 7))
        for image, label in zip(images, labels, strict=True):
            image[:, :, 4 * label : 4 * label + 3] += 150
        tensors[f"{split}_images"] = torch.tensor(images, dtype=torch.uint8)
        tensors[f"{split}_labels"] = torch.tensor(labels, dtype=torch.int64)
    save_file(tensors, tmp_path / "ds_halves.safetensors")
    return info


def halves_config(**changes: Any) -> TrainConfig:
    model = {"arch": "lenet5_bn", "method": "conv"}
    base = {"model": model, "dataset": {"name": "ds_halves"}, "batch_size": 8, "epochs": 1, "augment": "affine"}
    return TrainConfig.from_dict(base | changes)


@pytest.mark.long("three trainings, loader processes")
def test_an_upload_trains_to_the_same_bytes_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uploaded: DatasetInfo
) -> None:
    results = {}
    for bound, workers in ((sources.RESIDENT, 0), (0, 0), (0, 1), (sources.RESIDENT, 1)):
        monkeypatch.setattr(sources, "RESIDENT", bound)
        assert source("ds_halves", "train", tmp_path).resident == (bound > 0)
        workdir = tmp_path / f"{bound} {workers}"
        done = fit(halves_config(), workdir=workdir, data_dir=tmp_path, device="cpu", threads=1, loader_workers=workers)
        results[bound, workers] = (workdir / "model.safetensors").read_bytes(), done.metrics
    first, *others = results.values()
    assert all(other == first for other in others)
    model = addercore.load(workdir / "model.safetensors")
    monkeypatch.setattr(sources, "RESIDENT", 0)
    judged = addercore.evaluate(model, "ds_halves", data_dir=tmp_path, device="cpu", batch_size=7, loader_workers=1)
    assert judged.accuracy == first[1]["val/accuracy"]
    assert judged.images == sum(map(sum, judged.confusion_matrix)) == 20
    with pytest.raises(ValueError, match="ds_halves is too large to be held in memory"):
        load("ds_halves", tmp_path, "train")


def test_an_upload_that_is_not_what_was_described_is_refused(tmp_path: Path, uploaded: DatasetInfo) -> None:
    path = tmp_path / "ds_halves.safetensors"
    stored = load_file(path)
    pixels, labels = raw("ds_halves", "validation", tmp_path)
    assert torch.equal(pixels, stored["validation_images"] / 255)
    assert torch.equal(labels, stored["validation_labels"])

    def refused(tensors: dict[str, torch.Tensor], says: str) -> None:
        save_file(tensors, path)
        with pytest.raises(BadData, match=says) as caught:
            source("ds_halves", "validation", tmp_path)
        assert "ds_halves" in str(caught.value)

    whole = {"validation_images": (pixels * 255).to(torch.uint8), "validation_labels": labels}
    refused({**whole, "validation_labels": labels + 1}, "have a 2, but its 2 classes are 0 to 1")
    refused({**whole, "validation_labels": labels - 1}, "have a -1")
    refused({**whole, "validation_images": pixels}, "holds F32")
    refused({**whole, "validation_images": whole["validation_images"][:19].contiguous()}, r"\(19, 1, 9, 7\).*expected")
    refused({"validation_labels": labels}, "cannot be read")
    path.write_bytes(b"no tensors")
    with pytest.raises(BadData, match="cannot be read"):
        source("ds_halves", "validation", tmp_path)
    path.unlink()
    with pytest.raises(BadData, match="is missing; upload the dataset again"):
        source("ds_halves", "train", tmp_path)
    with pytest.raises(BadData, match="needs a data folder"):
        source("ds_halves", "train")


def test_the_likeliest_five_count_from_a_hundred_classes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    images = sources.Stored(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50) % 8)

    class Ranks(torch.nn.Module):
        """Ranks the classes 0, 1, 2, … for every image."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -torch.arange(100.0).expand(len(x), 100)

    examples = EvaluationBatches(images, Preprocess((1, 1), (0.0,), (1.0,), 255, CPU), CPU)
    found = score(Ranks(), examples, 100, batch_size=7)
    assert found.accuracy == 7 / 50
    assert found.top5 == 32 / 50  # labels 0 to 4
    assert score(Ranks(), examples, 100, batch_size=50).loss == pytest.approx(found.loss)
    monkeypatch.setattr(evaluation, "TOP5_FROM", 101)
    assert score(Ranks(), examples, 100).top5 is None
