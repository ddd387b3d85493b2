"""One image file of an upload: decoded, upright, laid on a ground where it is transparent."""

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from addercore.config.foreign import foreign
from addercore.data.intake.limits import Limits
from addercore.data.intake.ranges import Pixels, Values

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF")
"""Pillow reads more, but some of those start other programs."""
HEAD: Final = 1024  # bytes that tell what another file is
_GREY: Final = ("1", "L", "LA", "La")
_ALPHA: Final = ("LA", "La", "PA", "RGBA", "RGBa")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
_ORIENTATION: Final = 0x0112  # EXIF 2.3, section 4.6.4 A
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Remark(StrEnum):
    """What was decided about an image; their number follows."""

    TURNED = "Images with an EXIF orientation were turned upright"
    TRANSPARENT = "Images with transparent pixels were laid on {ground} (transparent_on sets another ground)"
    SEVERAL = "Of files with several pictures the first was taken"
    PRINT_COLOURS = "Images in colours for print (CMYK) became RGB"
    DEEP_COLOUR = "Of colours of 16 bits the upper 8 were taken"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of an upload."""

    values: Values
    remarks: tuple[Remark, ...] = ()
    either: bool = False
    """Whether it is a palette of greys, which says neither grey nor colour."""


class BadImage(ValueError):
    """Why one image cannot be used; continues a sentence that begins with its name."""


def decode(data: bytes, limits: Limits, transparent_on: str = "white") -> Picture:
    """An encoded image file, as a person sees it.

    EXIF orientation is applied. Transparent pixels are laid on `transparent_on` (`white`, `black`, or `refuse`). Of
    several pictures in a file the first is taken. Colours for print become RGB. Text in the file is not looked at.

    Raises:
        BadImage: it is none, damaged or too large.
    """
    remarks: list[Remark] = []
    if data.startswith(_PNG):
        data = _without_text(data, remarks)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: what matters is an error here
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _check_size(image, limits)
                if getattr(image, "is_animated", False):
                    remarks.append(Remark.SEVERAL)
                return _picture(_upright(image, remarks), transparent_on, remarks)
    except (BadImage, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImage(_foreign(data)) from None
    except Image.DecompressionBombError:
        raise BadImage(f"has far more pixels than the {limits.pixels:,} that are read") from None
    except Exception as error:  # noqa: BLE001  (Pillow's decoders raise what they like at damaged bytes)
        reason = str(error).rstrip(".") or type(error).__name__
        raise BadImage(f"cannot be decoded: {reason}") from None


def decoded(image: Image.Image, limits: Limits, transparent_on: str = "white") -> Picture:
    """An image that Pillow has opened, as `decode` gives it. Raises `BadImage`."""
    remarks: list[Remark] = []
    _check_size(image, limits)
    try:
        return _picture(_upright(image, remarks), transparent_on, remarks)
    except (OSError, SyntaxError) as error:  # a file that was opened and is decoded only now
        raise BadImage(f"cannot be decoded: {error}") from None


def _check_size(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.pixels:
        raise BadImage(f"has {image.width}×{image.height} pixels; at most {limits.pixels:,} are read")


def _foreign(data: bytes) -> str:
    """What a file is that Pillow does not know."""
    found = foreign(data[:HEAD])
    if found is None or not found.inside:
        return f"is no image of a known format ({', '.join(FORMATS)})"
    return f"is {found.what}; {found.inside}"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk of a PNG; what is cut off comes last as it is."""
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        yield kind, data[at:end]
        at = end
    if at < len(data):
        yield b"IDAT", data[at:]


def _without_text(data: bytes, remarks: list[Remark]) -> bytes:
    """A PNG's own picture: no text and no profiles, which Pillow unpacks first, and no further frames."""
    kept = [_PNG]
    for kind, chunk in _chunks(data):
        if kind == b"acTL" and Remark.SEVERAL not in remarks:
            remarks.append(Remark.SEVERAL)
        if kind == b"IHDR" and chunk[16:17] == b"\x10" and chunk[17:18] != b"\x00":
            remarks.append(Remark.DEEP_COLOUR)
        if kind in _PNG_CHUNKS:
            kept.append(chunk)
    return b"".join(kept)


def _upright(image: Image.Image, remarks: list[Remark]) -> Image.Image:
    """Loads the image and turns it as its EXIF data say, which Pillow itself does with TIFF alone."""
    before = _orientation(image) if image.format == "TIFF" else None
    image.load()
    turn = before or _orientation(image)
    if turn not in _TURNS:
        return image
    remarks.append(Remark.TURNED)
    return image if before else image.transpose(_TURNS[turn])


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  (damaged EXIF data raise anything, and the image is good without)
        return None


def _picture(image: Image.Image, transparent_on: str, remarks: list[Remark]) -> Picture:
    palette, grey = image.mode in ("P", "PA"), image.mode in _GREY
    if image.mode.startswith("I") or image.mode == "F":
        if "transparency" in image.info:
            raise BadImage("has 16 bits and a transparent value; convert it to 8 bits")
        return Picture(_wide(image), tuple(remarks))
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _on_ground(image.convert("RGBA"), transparent_on, remarks)
    if image.mode == "CMYK":
        remarks.append(Remark.PRINT_COLOURS)
    values = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    if palette and (values == values[:, :, :1]).all():
        return Picture(np.ascontiguousarray(values[:, :, 0]), tuple(remarks), either=True)
    return Picture(values, tuple(remarks))


def _wide(image: Image.Image) -> Values:
    """Grey values of more than 8 bits."""
    values = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadImage("has pixels that are NaN or infinite")
    return values.astype(values.dtype.newbyteorder("="))


def _on_ground(image: Image.Image, transparent_on: str, remarks: list[Remark]) -> Image.Image:
    """RGBA → RGB, by alpha·colour + (1 − alpha)·ground."""
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    if transparent_on == "refuse":
        raise BadImage("has transparent pixels; lay it on a ground, or say one with transparent_on (white, black)")
    remarks.append(Remark.TRANSPARENT)
    ground = Image.new("RGB", image.size, transparent_on)
    ground.paste(image.convert("RGB"), mask=alpha)
    return ground


def on_ground(values: Values, transparent_on: str) -> Picture:
    """An image (h, w, 4) of bytes whose last channel is alpha, as `decode` gives it."""
    remarks: list[Remark] = []
    image = _on_ground(Image.fromarray(values, "RGBA"), transparent_on, remarks)
    return Picture(np.asarray(image, dtype=np.uint8), tuple(remarks))


def channels_of(values: Values) -> int:
    return 1 if values.ndim == 2 else 3


def fit(pixels: Pixels, channels: int, size: tuple[int, int]) -> Pixels:
    """(channels, *size): grey by ITU-R 601 weights, resized by Pillow's bilinear filter, which does not alias."""
    if channels_of(pixels) != channels or pixels.shape[:2] != size:
        image = Image.fromarray(pixels)
        if channels_of(pixels) != channels:
            image = image.convert("L" if channels == 1 else "RGB")
        if pixels.shape[:2] != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
