"""A contact sheet: the first images of each class, as a network sees them."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from addercore.data.intake.plan import Plan
from addercore.data.intake.ranges import Pixels
from addercore.data.intake.sources import Part

EACH: Final = 8  # images of a class
CLASSES: Final = 100  # the first ones are shown
LEAST: Final = 32  # pixels of an image's longer side on the sheet
MOST: Final = 96
_GAP: Final = 4
_LABEL: Final = 16
_NAME: Final = 60  # characters
_GROUND: Final = (238, 238, 238)
_INK: Final = (40, 40, 40)

Reader = Callable[[Part, int], Pixels]
"""Gives the image (c, h, w) of a part at a place."""


def contact_sheet(plan: Plan, read: Reader, path: Path) -> None:
    """Writes a PNG with a row for each class: its name, below it up to eight of its training images."""
    chosen = _chosen(plan)
    height, width = _size(plan.shape[1:])
    row = _LABEL + height + 2 * _GAP
    sheet = Image.new("RGB", (EACH * (width + _GAP) + _GAP, row * len(chosen) + _GAP), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, slots in enumerate(chosen):
        top = number * row + _GAP
        draw.text((_GAP, top), f"{number}  {plan.classes[number][:_NAME]}", fill=_INK, font=font)
        for column, slot in enumerate(slots):
            image = _shown(read("train", slot), (width, height))
            sheet.paste(image, (_GAP + column * (width + _GAP), top + _LABEL))
    sheet.save(path, "PNG")


def _chosen(plan: Plan) -> list[list[int]]:
    """Places in the training part of the first images of each class."""
    found: list[list[int]] = [[] for _ in plan.classes[:CLASSES]]
    order = sorted(range(len(plan.slots)), key=lambda index: plan.slots[index][1])
    for index in order:
        label, (part, slot) = plan.labels[index], plan.slots[index]
        if part == "train" and label < CLASSES and len(found[label]) < EACH:
            found[label].append(slot)
    return found


def _size(size: tuple[int, ...]) -> tuple[int, int]:
    """(h, w) on the sheet: small images are enlarged by a whole factor, so that their pixels stay squares."""
    longer = max(size)
    if longer < LEAST:
        factor = -(-LEAST // longer)
        return size[0] * factor, size[1] * factor
    shrink = min(1.0, MOST / longer)
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def _shown(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    """`pixels` (c, h, w) at (width, height)."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    enlarged = size[0] >= image.width
    return image.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR).convert("RGB")
