"""Accuracy and loss of integer programs, and how far they agree with the float model; golden vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray

from addercore.io import Model
from addercore.quant import fast
from addercore.runtime.program import SCORES, Program

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
BATCH = 256


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well scores fit labels.

    Attributes:
        accuracy: part of the images that got their own class, 0…1.
        loss: mean cross-entropy of an image, in nats.
        images: how many there are.
        answers: int64 (N,), the class of the highest score of each image.
    """

    accuracy: float
    loss: float
    images: int
    answers: Labels


def accuracy_of(scores: NDArray[np.float32], labels: Labels) -> Accuracy:
    """Of scores (N, classes) for labels (N,); `ValueError` where their numbers differ or there are none."""
    if len(scores) != len(labels) or not len(labels):
        raise ValueError(f"there must be as many labels as images, and at least one; got {len(labels)}, {len(scores)}")
    found, wanted = torch.from_numpy(scores), torch.from_numpy(np.asarray(labels, np.int64))
    answers = found.argmax(1)
    loss = float(nnf.cross_entropy(found.double(), wanted))
    return Accuracy(float((answers == wanted).double().mean()), loss, len(labels), answers.numpy())


def evaluate(program: Program, images: Images, labels: Labels) -> Accuracy:
    """Accuracy and loss of an integer program on uint8 images (N, C, H, W)."""
    return accuracy_of(fast.run(program, images), labels)


@torch.inference_mode()
def float_scores(model: Model, images: Images) -> NDArray[np.float32]:
    """Scores (N, classes) of the float model on the same uint8 images (N, C, H, W)."""
    mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in (model.mean, model.std))
    parts = [
        model.scores(((torch.from_numpy(images[at : at + BATCH]).float() / 255) - mean) / std).cpu()
        for at in range(0, len(images), BATCH)
    ]
    return torch.cat(parts).numpy()


def agreement(first: Labels, second: Labels) -> float:
    """Part of the images to which two networks give the same class."""
    return float((np.asarray(first) == np.asarray(second)).mean())


def changes(before: Labels, after: Labels, labels: Labels) -> tuple[int, int]:
    """Images whose right answer was lost, and those that gained one, from answers `before` to answers `after`."""
    first, second = np.asarray(before) == labels, np.asarray(after) == labels
    return int((first & ~second).sum()), int((second & ~first).sum())


def golden(program: Program, images: Images, target: str | Path | IO[bytes]) -> None:
    """Writes golden vectors, to check hardware by: an .npz without pickles.

    It has `images` (N, C, H, W); `value_K`, the codes of value K (N, C, H, W) in uint8, for every K; `scores`
    (N, classes) in float32; and `names`, of each operation "value K: name".

    Args:
        program: the network.
        images: uint8 (N, C, H, W).
        target: a path, or a file that is open for writing bytes.
    """
    found = fast.values(program, images)
    arrays = {f"value_{number}": value.numpy() for number, value in found.items() if number != SCORES}
    names = [f"{'scores' if one.target == SCORES else f'value_{one.target}'}: {one.name}" for one in program.operations]
    np.savez_compressed(target, images=images, scores=found[SCORES].numpy(), names=np.array(names), **arrays)  # type: ignore[arg-type]
