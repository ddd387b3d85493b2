"""One image of an upload: from an encoded file or an array to bytes of a wanted shape."""

import warnings
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from addercore.data.intake.limits import Limits

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""(h, w) grey or (h, w, 3) colour."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Pillow reads more, but some of those start other programs."""
_GREY: Final = ("1", "L", "LA", "La")
_NO_RANGE: Final = ("I", "F")


class BadImage(ValueError):
    """One image cannot be used. The message continues a sentence that begins with the image's name."""


def decode(data: bytes, limits: Limits) -> Pixels:
    """Decodes an image file. Transparency is dropped; of an animation, the first frame is taken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: what matters is an error here
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > limits.pixels:
                    raise BadImage(f"has {image.width}×{image.height} pixels; at most {limits.pixels:,} are read")
                image.load()
                return _bytes_of(image)
    except (BadImage, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImage(f"is no image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise BadImage(f"has far more pixels than the {limits.pixels:,} that are read") from None
    except Exception as error:  # noqa: BLE001  (Pillow's decoders raise what they like at damaged bytes)
        reason = str(error).rstrip(".") or type(error).__name__
        raise BadImage(f"cannot be decoded: {reason}") from None


def _bytes_of(image: Image.Image) -> Pixels:
    if image.mode in _NO_RANGE:
        raise BadImage(f"has pixels of mode {image.mode!r}, without a fixed range; convert it to 8 bits")
    if image.mode.startswith("I;16"):
        wide = np.asarray(image, dtype=np.float32) / 257  # 65,535 / 255
        return np.rint(wide).astype(np.uint8)
    return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"), dtype=np.uint8)


def from_array(values: np.ndarray[Any, Any]) -> Pixels:
    """Pixels from an array (h, w) or (h, w, 3) of integers 0…255 or floats 0…1."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    floats = np.issubdtype(values.dtype, np.floating)
    if floats and not np.isfinite(values).all():
        raise BadImage("has pixels that are NaN or infinite")
    low, high = values.min(), values.max()
    if floats and not (low >= 0 and high <= 1):
        raise BadImage(f"has values {low:g} … {high:g}; floats must lie in 0…1: divide by 255, or store uint8")
    if not floats and not (low >= 0 and high <= 255):
        raise BadImage(f"has values {low} … {high}; integers must lie in 0…255")
    return np.rint(values * 255.0).astype(np.uint8) if floats else values.astype(np.uint8)


def channels_of(pixels: Pixels) -> int:
    return 1 if pixels.ndim == 2 else 3


def fit(pixels: Pixels, channels: int, size: tuple[int, int]) -> Pixels:
    """The image as (channels, *size): grey by ITU-R 601 weights, resized with Pillow's antialiased bilinear filter."""
    if channels_of(pixels) != channels or pixels.shape[:2] != size:
        image = Image.fromarray(pixels)
        if channels_of(pixels) != channels:
            image = image.convert("L" if channels == 1 else "RGB")
        if pixels.shape[:2] != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
