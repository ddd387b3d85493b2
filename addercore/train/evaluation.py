"""Accuracy, loss and confusion matrix of a model on a split."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.config import DatasetInfo, Holdout, Part
from addercore.config import dataset as dataset_info
from addercore.data import Preprocess, Source, part
from addercore.data.pixels import Resized
from addercore.devices import resolve_device
from addercore.errors import Stopped, expect
from addercore.io import Model
from addercore.nn.plan import Planned
from addercore.train.callbacks import Callbacks
from addercore.train.loader import Loader
from addercore.train.mistakes import Mistake, Mistakes, sheet
from addercore.train.reports import Progress

BATCH: Final = 256
TOP5_FROM: Final = 100
"""Classes from which on top-5 accuracy is counted, too."""


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """How well a model does on a split.

    Attributes:
        accuracy: fraction of images that got their own class, 0…1.
        loss: mean cross-entropy of an image, in nats.
        confusion_matrix: at [i][j], the images of class i that were taken for class j.
        images: how many there are.
        top5: fraction of images whose class is among the five most probable; None below 100 classes.
        split: which images they are.
        unseen: whether the model's training neither learnt from them nor was validated by them; None where that is not
            known, as the model was trained on another dataset.
        mistakes: the worst of them, at most 24: images that got another class with the highest probability.
    """

    accuracy: float
    loss: float
    confusion_matrix: list[list[int]]
    images: int
    top5: float | None = None
    split: Part = "validation"
    unseen: bool | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON; without `top5` where that is None."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "confusion_matrix": self.confusion_matrix,
            "images": self.images,
            "split": self.split,
            "unseen": self.unseen,
            "mistakes": [mistake.to_dict() for mistake in self.mistakes],
            **({} if self.top5 is None else {"top5": self.top5}),
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model's training had to do with the images of an evaluation."""

    split: Part
    holdout: Holdout | None  # what its training held out of the same dataset
    unseen: bool | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any], dataset: str, split: Part) -> Self:
        """`manifest` is the model's; it is an imported model's own word."""
        holdout = Holdout.of_model(manifest, dataset)
        known = manifest.get("dataset") == dataset
        return cls(split, holdout, (split == "test" and holdout is not None) if known else None)


AfterBatch = Callable[[int, int], None]
"""Called after each batch with the number of finished batches and of all. An exception ends the evaluation."""


class EvaluationBatches:
    """All images of a source in stored order, in preprocessed batches on the device.

    `loader_workers` processes make the batches if the source does not fit into the device's memory.
    """

    def __init__(self, images: Source, preprocess: Preprocess, device: torch.device, loader_workers: int = 0) -> None:
        self.source = images.to(device)
        self.labels = images.labels.to(device)
        self.preprocess, self.device = preprocess, device
        self.loader_workers = 0 if images.resident else loader_workers

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, size: int = BATCH) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Yields (images, labels) of each batch."""
        parts = torch.split(torch.arange(len(self.source)), size)
        if not self.loader_workers:
            for chosen in parts:
                pixels = self.source.pixels(chosen) if self.kept is None else self.kept[chosen]
                yield self._ready(pixels, chosen)
            return
        with closing(Loader.of_evaluation(self.source, self.loader_workers, size)) as loader:
            for chosen in parts:
                yield self._ready(loader.take(), chosen)

    @cached_property
    def kept(self) -> Resized | None:
        """The images at the network's size, for the validations to come; None where batches are resized one by one."""
        return self.preprocess.kept(self.source)

    def _ready(self, pixels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.preprocess(pixels.to(self.device, non_blocking=True)), self.labels[chosen.to(self.device)]


def scores_of(module: nn.Module, images: Tensor, precision: str = "fp32", batch_size: int = BATCH) -> Tensor:
    """Class scores (N, classes) in float32 for (N, c, h, w), in evaluation mode."""
    was_training = module.training
    module.eval()
    try:
        planned = Planned(module)
        return torch.cat([_scores(planned, part, precision) for part in torch.split(images, batch_size)])
    finally:
        module.train(was_training)


@torch.inference_mode()
def _scores(planned: Planned, images: Tensor, precision: str) -> Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return planned(images).float()


@dataclass(frozen=True, slots=True)
class Scored:
    loss: float  # mean cross-entropy
    accuracy: float
    top5: float | None  # from TOP5_FROM classes on
    confusion: Tensor  # (classes, classes) int64, on the processor


def score(
    module: nn.Module,
    examples: EvaluationBatches,
    classes: int,
    precision: str = "fp32",
    between: AfterBatch | None = None,
    batch_size: int = BATCH,
    mistakes: Mistakes | None = None,
) -> Scored:
    """Evaluates `module` on `examples`, in evaluation mode, a batch at a time; `mistakes` collects the worst."""
    device = examples.device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    within5 = torch.zeros((), dtype=torch.int64, device=device)
    pairs = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    count = -(-len(examples) // batch_size)
    was_training, planned = module.training, Planned(module)
    module.eval()
    try:
        with closing(examples.batches(batch_size)) as batches:
            for index, (images, labels) in enumerate(batches, 1):
                with torch.inference_mode():
                    scores = _scores(planned, images, precision)
                    loss += nnf.cross_entropy(scores, labels, reduction="sum")
                    pairs += torch.bincount(labels * classes + scores.argmax(1), minlength=classes * classes)
                    if classes >= TOP5_FROM:
                        within5 += (scores.topk(5).indices == labels[:, None]).sum()
                    if mistakes is not None:
                        mistakes.add(scores, labels)
                if between is not None:
                    between(index, count)
    finally:
        module.train(was_training)
    confusion = pairs.view(classes, classes).cpu()
    return Scored(
        loss=loss.item() / len(examples),
        accuracy=confusion.diagonal().sum().item() / len(examples),
        top5=within5.item() / len(examples) if classes >= TOP5_FROM else None,
        confusion=confusion,
    )


def fitting(dataset: str, input_shape: tuple[int, ...], classes: list[str]) -> DatasetInfo:
    """What is known of a dataset; `ValueError` where a model takes other images or knows other classes."""
    info = dataset_info(dataset)
    if list(info.classes) != classes or info.input_shape != input_shape:
        raise ValueError(
            f"the model takes {input_shape} and knows {len(classes)} classes {classes}; "
            f"{dataset} has {info.input_shape} and {list(info.classes)}"
        )
    return info


def evaluate(
    model: Model,
    dataset: str,
    split: Part = "validation",
    data_dir: Path | None = None,
    batch_size: int = BATCH,
    device: str = "auto",
    callbacks: Callbacks | None = None,
    loader_workers: int = 0,
    picture: Path | None = None,
) -> EvaluateResult:
    """Evaluates a model on a split of a dataset. Images get the model's own preprocessing, not the dataset's.

    Args:
        model: from `addercore.load`.
        dataset: name of a dataset with the model's image size and classes.
        split: "train", "validation" or "test". Of a model whose training held images of this dataset out, "train" are
            those it learnt from, "validation" those held out, "test" the published test images; of others the last two
            are the same.
        data_dir: folder with the dataset's files; digits need none.
        batch_size: images in a batch; changes the loss in its last bits only.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        callbacks: get the progress, and may stop the evaluation between two batches.
        loader_workers: processes that read and decode images of a dataset that does not fit into memory.
        picture: where a picture of the worst mistakes goes (PNG), if at all; a model without mistakes leaves none.

    Returns:
        Accuracy, loss, confusion matrix and the worst mistakes.

    Raises:
        ValueError: an unknown dataset or split, one with other images or classes, or an argument out of range.
        BadData: files of the dataset are missing or damaged.
        Stopped: the callbacks asked to stop.
        LoaderLost: a loader process was ended from outside.
    """
    expect("model", model, Model, "addercore.load gives one")
    if batch_size < 1:
        raise ValueError(f"batch_size must be ≥ 1, got {batch_size}")
    info = fitting(dataset, model.network.input_shape, model.classes)
    target = resolve_device(device)
    preprocess = Preprocess(model.network.input_shape[1:], model.mean, model.std, info.top, target)
    callbacks = callbacks or Callbacks()
    callbacks.on_phase("reading_data")
    seen = Seen.of(model.manifest, dataset, split)
    images = part(dataset, split, data_dir, seen.holdout)
    examples = EvaluationBatches(images, preprocess, target, loader_workers)
    home = next(model.module.parameters()).device
    try:
        module = model.module.to(target)
        callbacks.on_phase("validating")
        made = Mistakes()
        found = score(module, examples, len(info.classes), "fp32", _after_batch(callbacks), batch_size, made)
    finally:
        model.module.to(home)
    worst = made.worst()
    if picture is not None and worst:
        sheet(worst, info.classes, lambda index: images.pixels(torch.tensor([index]))[0], picture)
    return EvaluateResult(
        accuracy=found.accuracy,
        loss=found.loss,
        confusion_matrix=found.confusion.tolist(),
        images=len(examples),
        top5=found.top5,
        split=split,
        unseen=seen.unseen,
        mistakes=worst,
    )


def _after_batch(callbacks: Callbacks) -> AfterBatch:
    """Reports the progress and asks whether to stop, after each batch."""

    def between(done: int, batches: int) -> None:
        callbacks.on_progress(Progress(1, 1, done, batches, done / batches, None, None))
        if done < batches and callbacks.should_stop():
            raise Stopped(f"stopped on request after {done} of {batches} batches")

    return between
