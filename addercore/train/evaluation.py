"""Accuracy, loss and confusion matrix of a model on a split."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.data import Examples, Split, prepare, raw
from addercore.errors import Stopped
from addercore.spec import dataset as dataset_info
from addercore.train.callbacks import Callbacks, Progress
from addercore.train.isolation import resolve_device

if TYPE_CHECKING:
    from addercore.io import Model

BATCH = 256


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """confusion_matrix[i][j]: images of class i that were taken for class j."""

    accuracy: float
    loss: float  # mean cross-entropy
    confusion_matrix: list[list[int]]
    images: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "confusion_matrix": self.confusion_matrix,
            "images": self.images,
        }


Between = Callable[[int, int], None]
"""Called after each batch with the number of those done and of all; an exception ends the evaluation."""


def scores_of(
    module: nn.Module,
    images: Tensor,
    precision: str = "fp32",
    batch_size: int = BATCH,
    between: Between | None = None,
) -> Tensor:
    """Class scores (N, classes) in float32 for (N, c, h, w), in evaluation mode."""
    was_training = module.training
    module.eval()
    device = images.device.type
    parts = []
    batches = torch.split(images, batch_size)
    try:
        for index, part in enumerate(batches, 1):
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                parts.append(module(part).float())
            if between is not None:
                between(index, len(batches))
    finally:
        module.train(was_training)
    return torch.cat(parts)


def score(
    module: nn.Module, examples: Examples, precision: str = "fp32", between: Between | None = None
) -> tuple[float, float]:
    """(mean cross-entropy, accuracy)"""
    scores = scores_of(module, examples.images, precision, between=between)
    loss = nnf.cross_entropy(scores, examples.labels).item()
    return loss, (scores.argmax(1) == examples.labels).sum().item() / len(examples)


def evaluate(
    model: "Model",
    dataset: str,
    split: Split = "validation",
    data_dir: Path | None = None,
    batch_size: int = BATCH,
    device: str = "auto",
    callbacks: Callbacks | None = None,
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
    pixels, labels = raw(dataset, split, data_dir)
    target = resolve_device(device)
    examples = Examples(prepare(pixels, info.input_shape[1:], model.mean, model.std), labels).to(target)
    home = next(model.module.parameters()).device
    try:
        scores = scores_of(model.module.to(target), examples.images, "fp32", batch_size, _steered(callbacks))
    finally:
        model.module.to(home)
    size = len(info.classes)
    predicted = scores.argmax(1)
    confusion = torch.bincount((examples.labels * size + predicted).cpu(), minlength=size * size).view(size, size)
    return EvaluateResult(
        accuracy=confusion.diagonal().sum().item() / len(examples),
        loss=nnf.cross_entropy(scores, examples.labels).item(),
        confusion_matrix=confusion.tolist(),
        images=len(examples),
    )


def _steered(callbacks: Callbacks | None) -> Between | None:
    """Progress, and the question whether to stop."""
    if callbacks is None:
        return None

    def between(done: int, batches: int) -> None:
        callbacks.on_progress(Progress(1, 1, done, batches, done / batches, None, None))
        if done < batches and callbacks.should_stop():
            raise Stopped(f"stopped on request after {done} of {batches} batches")

    return between
