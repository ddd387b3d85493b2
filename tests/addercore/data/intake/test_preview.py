"""The contact sheet: eight training images of each class, as a network sees them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from addercore.config import IntakeOptions
from addercore.data.intake import take_in
from addercore.data.intake.preview import CLASSES
from tests.support.uploads import npz, written, zipped


def sheet(folder: Path, data: bytes, options: IntakeOptions = IntakeOptions()) -> np.ndarray:
    take_in(written(folder, data), folder / "canonical", "ds_mine", options, preview=folder / "sheet.png")
    with Image.open(folder / "sheet.png") as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def flat(colour: tuple[int, int, int], size: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(sink, "PNG")
    return sink.getvalue()


def test_rows_are_classes_and_show_what_the_network_sees(tmp_path: Path) -> None:
    colours = {"a": (200, 0, 0), "b": (0, 200, 0), "c": (0, 0, 200)}
    files = {f"{label}/{i}.png": flat(colour, 8) for label, colour in colours.items() for i in range(12)}
    seen = sheet(tmp_path, zipped(files))
    assert seen.shape == (3 * (16 + 32 + 8) + 4, 8 * 36 + 4, 3)
    for number, colour in enumerate(colours.values()):
        for column in range(8):
            middle = seen[number * 56 + 4 + 16 + 16, 4 + column * 36 + 16]
            assert tuple(middle) == colour
    grey = sheet(tmp_path, zipped(files), IntakeOptions(channels=1, size=(200, 100)))
    assert grey.shape == (3 * (16 + 96 + 8) + 4, 8 * (48 + 4) + 4, 3)
    assert len(set(grey[4 + 16 + 48, 4 + 24])) == 1


def test_it_stays_small_with_many_classes_and_few_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4), dtype=np.uint8)
    seen = sheet(tmp_path, npz(images=images, labels=np.arange(400) % 200))
    assert seen.shape[0] == CLASSES * (16 + 32 + 8) + 4
