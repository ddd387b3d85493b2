"""Accuracy, loss and confusion matrix of a model on a split."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.config import dataset as dataset_info
from addercore.data import Preprocess, Source, Split, source
from addercore.devices import resolve_device
from addercore.errors import Stopped
from addercore.train.callbacks import Callbacks
from addercore.train.loader import Loader
from addercore.train.reports import Progress

if TYPE_CHECKING:
    from addercore.io import Model

BATCH: Final = 256
TOP5_FROM: Final = 100
"""Classes from which on the right class among the five likeliest is counted too."""


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """confusion_matrix[i][j]: images of class i that were taken for class j."""

    accuracy: float
    loss: float  # mean cross-entropy
    confusion_matrix: list[list[int]]
    images: int
    top5: float | None = None  # share of images whose class is among the five likeliest, from 100 classes on

    def to_dict(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "confusion_matrix": self.confusion_matrix,
            "images": self.images,
            **({} if self.top5 is None else {"top5": self.top5}),
        }


AfterBatch = Callable[[int, int], None]
"""Called after each batch with the number of those done and of all; an exception ends the evaluation."""


class EvaluationBatches:
    """All images of a source in their stored order, in batches, as a network takes them on `preprocess`'s device.

    `loader_workers` processes make the batches of a source that does not live on the device.
    """

    def __init__(self, images: Source, preprocess: Preprocess, device: torch.device, loader_workers: int = 0) -> None:
        self.source = images.to(device)
        self.labels = images.labels.to(device)
        self.preprocess, self.device = preprocess, device
        self.loader_workers = 0 if images.resident else loader_workers

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, size: int = BATCH) -> Generator[tuple[Tensor, Tensor], None, None]:
        """(images, labels) of each batch."""
        parts = torch.split(torch.arange(len(self.source)), size)
        if not self.loader_workers:
            for chosen in parts:
                yield self._ready(self.source.pixels(chosen), chosen)
            return
        with closing(Loader.of_evaluation(self.source, self.loader_workers, size)) as loader:
            for chosen in parts:
                yield self._ready(loader.take(), chosen)

    def _ready(self, pixels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.preprocess(pixels.to(self.device, non_blocking=True)), self.labels[chosen.to(self.device)]


def scores_of(module: nn.Module, images: Tensor, precision: str = "fp32", batch_size: int = BATCH) -> Tensor:
    """Class scores (N, classes) in float32 for (N, c, h, w), in evaluation mode."""
    was_training = module.training
    module.eval()
    try:
        return torch.cat([_scores(module, part, precision) for part in torch.split(images, batch_size)])
    finally:
        module.train(was_training)


@torch.inference_mode()
def _scores(module: nn.Module, images: Tensor, precision: str) -> Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        scores: Tensor = module(images)
    return scores.float()


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
) -> Scored:
    """Goes over `examples` once, in evaluation mode; nothing larger than a batch is held."""
    device = examples.device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    within5 = torch.zeros((), dtype=torch.int64, device=device)
    pairs = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    count = -(-len(examples) // batch_size)
    was_training = module.training
    module.eval()
    try:
        with closing(examples.batches(batch_size)) as batches:
            for index, (images, labels) in enumerate(batches, 1):
                with torch.inference_mode():
                    scores = _scores(module, images, precision)
                    loss += nnf.cross_entropy(scores, labels, reduction="sum")
                    pairs += torch.bincount(labels * classes + scores.argmax(1), minlength=classes * classes)
                    if classes >= TOP5_FROM:
                        within5 += (scores.topk(5).indices == labels[:, None]).sum()
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


def evaluate(
    model: "Model",
    dataset: str,
    split: Split = "validation",
    data_dir: Path | None = None,
    batch_size: int = BATCH,
    device: str = "auto",
    callbacks: Callbacks | None = None,
    loader_workers: int = 0,
) -> EvaluateResult:
    """`model` (from `addercore.load`) on a split of `dataset`, whose images and classes must be the model's.

    The images pass through the model's own preprocessing, not the dataset's. Raises `Stopped` where the callbacks ask
    for it, between two batches.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be ≥ 1, got {batch_size}")
    info = dataset_info(dataset)
    if list(info.classes) != model.classes or info.input_shape != model.network.input_shape:
        raise ValueError(
            f"the model takes {model.network.input_shape} and knows {len(model.classes)} classes {model.classes}; "
            f"{dataset} has {info.input_shape} and {list(info.classes)}"
        )
    target = resolve_device(device)
    preprocess = Preprocess(model.network.input_shape[1:], model.mean, model.std, info.top, target)
    examples = EvaluationBatches(source(dataset, split, data_dir), preprocess, target, loader_workers)
    home = next(model.module.parameters()).device
    try:
        module = model.module.to(target)
        found = score(module, examples, len(info.classes), "fp32", _after_batch(callbacks), batch_size)
    finally:
        model.module.to(home)
    return EvaluateResult(
        accuracy=found.accuracy,
        loss=found.loss,
        confusion_matrix=found.confusion.tolist(),
        images=len(examples),
        top5=found.top5,
    )


def _after_batch(callbacks: Callbacks | None) -> AfterBatch | None:
    """Progress, and the question whether to stop."""
    if callbacks is None:
        return None

    def between(done: int, batches: int) -> None:
        callbacks.on_progress(Progress(1, 1, done, batches, done / batches, None, None))
        if done < batches and callbacks.should_stop():
            raise Stopped(f"stopped on request after {done} of {batches} batches")

    return between
