"""The worst mistakes of an evaluation: images that a model took for another class, the surest ones first."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MOST: Final = 24
COLUMNS: Final = 8
_LEAST: Final = 64  # pixels of an image's longer side on the sheet
_MOST: Final = 112
_GAP: Final = 8
_LABEL: Final = 30
_NAME: Final = 14  # characters of a class
_GROUND: Final = (238, 238, 238)
_INK: Final = (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image that got another class than its own.

    Attributes:
        index: its place in the split, in stored order.
        label: its own class, a place in the model's list of classes.
        predicted: the class that it got.
        probability: of that class, 0…1, by the model.
    """

    index: int
    label: int
    predicted: int
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """The mistake as plain values, for JSON."""
        return asdict(self)


class Mistakes:
    """Collects the worst mistakes of batches that come in stored order."""

    def __init__(self) -> None:
        self._images = 0
        self._worst: list[Mistake] = []

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Looks at the next batch: class scores (N, classes) and labels (N,)."""
        sure, predicted = scores.float().softmax(1).max(1)
        wrong = torch.nonzero(predicted != labels).flatten()
        worst = wrong[sure[wrong].argsort(descending=True, stable=True)[:MOST]]
        columns = (worst + self._images, labels[worst], predicted[worst], sure[worst])
        self._worst += [Mistake(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]
        self._images += len(labels)

    def worst(self) -> list[Mistake]:
        """At most 24, the surest first; of equally sure ones that which is stored first."""
        return sorted(self._worst, key=lambda one: (-one.probability, one.index))[:MOST]


def sheet(mistakes: Sequence[Mistake], classes: Sequence[str], pixels: Callable[[int], Tensor], path: Path) -> None:
    """Writes a PNG of mistakes, eight in a row; below each its class and what it was taken for.

    Args:
        mistakes: at least one.
        classes: the names of all classes.
        pixels: gives the image at an index of the split, uint8 (c, h, w).
        path: the file.
    """
    images = [_picture(pixels(one.index)) for one in mistakes]
    width, height = max(image.width for image in images), max(image.height for image in images)
    columns = min(COLUMNS, len(images))
    cell = (max(width, _MOST) + _GAP, height + _LABEL + _GAP)
    size = (columns * cell[0] + _GAP, -(-len(images) // columns) * cell[1] + _GAP)
    made = Image.new("RGB", size, _GROUND)
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(size=11)
    for place, (one, image) in enumerate(zip(mistakes, images, strict=True)):
        left, top = _GAP + place % columns * cell[0], _GAP + place // columns * cell[1]
        made.paste(image, (left, top))
        text = f"is {classes[one.label][:_NAME]}\n→ {classes[one.predicted][:_NAME]}, {one.probability:.0%}"
        draw.multiline_text((left, top + height + 2), text, fill=_INK, font=font, spacing=2)
    made.save(path, "PNG")


def _picture(pixels: Tensor) -> Image.Image:
    """An image (c, h, w) as it is shown: a small one enlarged by a whole factor, so that its pixels stay squares."""
    array = pixels.cpu().numpy()
    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    longer = max(image.size)
    if longer < _LEAST:
        factor = -(-_LEAST // longer)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    elif longer > _MOST:
        image.thumbnail((_MOST, _MOST))
    return image.convert("RGB")
