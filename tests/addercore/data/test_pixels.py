"""Images kept at the network's size are those that are resized batch by batch, bit for bit."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from addercore.config import TrainConfig
from addercore.config.train import Augment
from addercore.data import Preprocess, pixels, source
from addercore.data.sources import Stored
from addercore.train.batches import Batches, Shard
from addercore.train.evaluation import EvaluationBatches

CPU = torch.device("cpu")


def stored(images: int, *shape: int) -> Stored:
    drawn = torch.randint(0, 256, (images, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Stored(drawn, torch.arange(images) % 10)


def to(size: tuple[int, int]) -> Preprocess:
    return Preprocess(size, (0.3,), (0.5,), 255, CPU)


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 40, 17), (3, 33, 64)], ids=str)
@pytest.mark.parametrize("size", [(32, 32), (29, 31)], ids=str)
def test_kept_images_are_those_of_batches(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    images, preprocess = stored(300, *shape), to(size)
    kept = preprocess.kept(images)
    assert kept is not None
    for chosen in (torch.tensor([251, 3, 124]), torch.tensor([7]), torch.arange(100, 228), torch.arange(300)):
        for _ in ("resized", "from memory"):
            assert same(preprocess(kept[chosen]), preprocess(images.pixels(chosen)))


def test_each_image_is_resized_once_and_none_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    resized: list[int] = []

    def counted(self: Stored, chosen: Tensor) -> Tensor:
        resized.extend(chosen.tolist())
        return self.images[chosen]

    monkeypatch.setattr(Stored, "pixels", counted)
    kept = to((32, 32)).kept(stored(20, 1, 28, 28))
    assert kept is not None
    assert resized == []
    for chosen in ([4, 2, 9], [2, 5], [9, 4], [19]):
        assert kept[torch.tensor(chosen)].shape == (len(chosen), 1, 32, 32)
    assert resized == [4, 2, 9, 5, 19]
    for _ in range(2):
        assert kept[torch.arange(20)].shape == (20, 1, 32, 32)
    assert sorted(resized) == list(range(20))


def test_what_gains_nothing_or_takes_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert to((28, 28)).kept(stored(10, 1, 28, 28)) is None
    images = stored(10, 1, 28, 28)
    monkeypatch.setattr(pixels, "KEPT", 4 * 10 * 32 * 32)
    assert to((32, 32)).kept(images) is not None
    monkeypatch.setattr(pixels, "KEPT", 4 * 10 * 32 * 32 - 1)
    assert to((32, 32)).kept(images) is None


@pytest.mark.parametrize("augment", get_args(Augment))
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)], ids=["alone", "second of two"])
def test_a_training_gets_the_same_batches(augment: str, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig.from_dict(
        {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "augment": augment, "batch_size": 50}
    )

    def batches() -> Batches:
        return Batches(source("digits", "train"), config, CPU, shard)

    found = batches()
    assert (found.kept is None) == (augment == "imagenet")
    monkeypatch.setattr(pixels, "KEPT", 0)
    expected = batches()
    assert expected.kept is None
    order = found.permutation(3)
    for index in (0, found.per_epoch - 1):
        for one, other in zip(found.part(3, order, index), expected.part(3, order, index), strict=True):
            assert torch.equal(one, other)


def test_a_validation_gets_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = to((32, 32))
    found = EvaluationBatches(source("digits", "validation"), preprocess, CPU)
    assert found.kept is not None
    whole = list(found.batches(100))
    monkeypatch.setattr(pixels, "KEPT", 0)
    plain = EvaluationBatches(source("digits", "validation"), preprocess, CPU)
    assert plain.kept is None
    for one, other in zip(whole, plain.batches(100), strict=True):
        assert same(one[0], other[0])
        assert torch.equal(one[1], other[1])
