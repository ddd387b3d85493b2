"""The runtime reads images as the service does, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from addercore.data.image_input import read_image
from addercore.quant.pixels import as_bytes
from addercore.runtime.images import pixels_of


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("size", [(8, 8), (32, 32), (70, 41), (20, 90)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_the_services(mode: str, size: tuple[int, int], channels: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(noise, "RGBA").convert(mode).save(path)
    known = as_bytes(torch.from_numpy(read_image(path, channels).pixels)[None], (32, 32))[0]
    found = pixels_of(path, (channels, 32, 32))
    differ = found != known
    assert differ.mean() < 0.03  # ties: an image that is enlarged fourfold has many, and float32 decides them otherwise
    assert np.abs(found.astype(int) - known).max() <= 1


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(pixels_of(tmp_path / "image.png", (1, 32, 32))[0], np.rot90(np.asarray(picture), -1))


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "image.png")
    with pytest.raises(ValueError, match="give a uint8 array"):
        pixels_of(tmp_path / "image.png", (1, 32, 32))
