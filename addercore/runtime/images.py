"""Image files → pixels of the size that a model takes. Needs Pillow, the extra `runtime-image`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from addercore.errors import BadData

DEEP: Final = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of Pillow with more than 8 bits."""
GREY: Final = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""


def pixels_of(image: Any, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of an image.

    Args:
        image: a path or a PIL image.
        shape: (C, H, W) of the model; C is 1 for grey or 3 for RGB.

    Returns:
        uint8 (C, H, W): upright, on white where it is transparent, grey or RGB, resized bilinearly: the pixels that the
        service's predictions see.

    Raises:
        BadData: the file cannot be read as an image.
        ValueError: a model of other than 1 or 3 channels, something that is no image, or one of more than 8 bits.
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
    if found.mode in DEEP:
        raise ValueError(f"an image of mode {found.mode} has no stated black and white: give a uint8 array {shape}")
    colours = _on_white(ImageOps.exif_transpose(found))
    values = np.asarray(colours, np.float64).reshape(colours.height, colours.width, -1)
    if channels != values.shape[2]:
        values = values @ GREY if channels == 1 else np.repeat(values, channels, axis=2)
    values = values.reshape(colours.height, colours.width, channels).transpose(2, 0, 1)
    resized = _weights(colours.height, height) @ values @ _weights(colours.width, width).T
    return np.ascontiguousarray(resized.round().clip(0, 255).astype(np.uint8))


def _on_white(image: Any) -> Any:
    """Grey or RGB, transparent pixels laid on white."""
    from PIL import Image

    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _weights(source: int, target: int) -> NDArray[np.float64]:
    """(target, source): what each pixel adds to each of the resized image's; a triangle, wider where it shrinks."""
    scale = source / target
    distances = (np.arange(source) + 0.5)[None] - ((np.arange(target) + 0.5) * scale)[:, None]
    found = np.clip(1 - np.abs(distances) / max(scale, 1.0), 0, None)
    return np.asarray(found / found.sum(1, keepdims=True))
