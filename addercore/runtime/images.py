"""Image files → pixels of the size that a model takes. Needs Pillow, the extra `runtime-image`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from addercore.errors import BadData


def pixels_of(image: Any, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of an image.

    Args:
        image: a path or a PIL image.
        shape: (C, H, W) of the model; C is 1 for grey or 3 for RGB.

    Returns:
        uint8 (C, H, W): upright, grey or RGB, resized bilinearly where the size differs.

    Raises:
        BadData: the file cannot be read as an image.
        ValueError: a model of other than 1 or 3 channels, or something that is no image.
        ModuleNotFoundError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading an image needs Pillow: pip install 'adderworks[runtime-image]', or give a numpy array", name="PIL"
        ) from error
    channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"this model takes {channels} channels, which no image file has: give a uint8 array {shape}")
    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                opened.load()
                found: Image.Image = opened
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadData(f"{image}: cannot be read as an image ({error})") from error
    elif isinstance(image, Image.Image):
        found = image
    else:
        raise ValueError(f"an image is a path, a PIL image or a numpy array, not {type(image).__name__}")
    upright = ImageOps.exif_transpose(found).convert("L" if channels == 1 else "RGB")
    if upright.size != (width, height):
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(upright, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
