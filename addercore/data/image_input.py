"""One image in any form, as a prediction reads it: by the reader of uploads, so that both see the same pixels."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Union, cast

import numpy as np
from numpy.typing import ArrayLike

from addercore.config import ImageOptions, image_bytes, is_data_uri
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import BadDataset
from addercore.data.intake.ranges import DARK, Extents, Scale, Values, group_of, scales
from addercore.errors import BadData

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike = Union[str, Path, bytes, "Image", ArrayLike]
LIMITS: Final = Limits(pixels=4096 * 4096)
_GREY: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue (ITU-R BT.601), as Pillow has them."""
_NOTES: Final = {
    "TURNED": "The image was turned upright, as its EXIF orientation says.",
    "TRANSPARENT": "Transparent pixels were laid on {ground} (transparent_on sets another ground).",
    "SEVERAL": "Of several pictures in the file the first was taken.",
    "PRINT_COLOURS": "Colours for print (CMYK) became RGB.",
    "DEEP_COLOUR": "Of colours of 16 bits the upper 8 were taken.",
}


_Decoded = tuple[Values, tuple[str, ...]]
"""(H, W), (H, W, 3) before the range is known, and the keys of `_NOTES` that apply."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An image as a network takes it, before it is resized and normalised.

    Attributes:
        pixels: (c, H, W) float32 in 0…1.
        notes: what was decided about it, a sentence each.
    """

    pixels: np.ndarray[Any, np.dtype[np.float32]]
    notes: tuple[str, ...]


def read_image(image: ImageLike, channels: int, options: ImageOptions = ImageOptions()) -> Reading:
    """Reads one image of any form.

    Args:
        image: a path, an encoded file as bytes or as a data URI, a PIL image, or an array (H, W), (c, H, W) or
            (H, W, c) with 1 or 3 channels, or (H, W, 4) of bytes with alpha last.
        channels: of the result: 1 (grey) or 3. Colours become grey by ITU-R BT.601; grey is repeated.
        options: the range of the values, and the ground of transparent pixels.

    Raises:
        ValueError: an array that is no image, or whose layout or range could be two things.
        BadData: a file that is no image, is damaged, or is larger than `LIMITS` allow.
    """
    notes: list[str] = []
    try:
        if isinstance(image, str | Path | bytes) or hasattr(image, "getbands"):
            values, remarks = _of_file(cast("str | Path | bytes | Image", image), options)
            scale = _scale(values, options, notes, encoded=True)
        else:
            values, remarks = _of_array(_array(image), channels, options)
            scale = _scale(values, options, notes, encoded=False)
    except BadDataset as error:
        raise ValueError(str(error)) from None
    notes = [_NOTES[remark].format(ground=options.transparent_on) for remark in remarks] + notes
    span = np.float32(scale.high - scale.low)
    pixels = ((values.astype(np.float32) - np.float32(scale.low)) / span).clip(0, 1)
    if pixels.ndim == 2:
        pixels = np.broadcast_to(pixels, (channels, *pixels.shape))
    else:
        pixels = (pixels @ _GREY)[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return Reading(np.array(pixels, order="C"), tuple(notes))  # a copy: a view of repeated grey cannot be written to


def _of_file(image: "str | Path | bytes | Image", options: ImageOptions) -> _Decoded:
    try:
        from addercore.data.intake.images import BadImage, decode, decoded
    except ModuleNotFoundError as error:
        raise BadData("reading image files needs Pillow: pip install 'adderworks[core]'") from error
    if isinstance(image, str) and is_data_uri(image):
        try:
            image = image_bytes(image)
        except ValueError as error:
            raise BadData(f"the image {error}") from None
    name = "the image"
    try:
        if isinstance(image, str | Path):
            name = str(image)
            image = _contents(Path(image))
        if isinstance(image, bytes):
            picture = decode(image, LIMITS, options.transparent_on)
        else:
            picture = decoded(image, LIMITS, options.transparent_on)
    except BadImage as error:
        raise BadData(f"{name} {error}") from None
    return picture.values, tuple(remark.name for remark in picture.remarks)


def _contents(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LIMITS.entry_bytes:
            raise BadData(f"{path} has {size:,} bytes; at most {LIMITS.entry_bytes:,} are read: give a smaller image")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}); give an image file") from error


_NO_NUMBERS: Final = {
    "U": "texts",
    "S": "texts",
    "O": "something else among them, such as null",
    "c": "complex numbers",
}
"""By the letter that numpy has for them."""


def _of_array(array: Values, channels: int, options: ImageOptions) -> _Decoded:
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        got = _NO_NUMBERS.get(array.dtype.kind, str(array.dtype))
        raise ValueError(f"an image must hold integers or floats, got {got}; give numbers, all rows as long")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"an image must be (H, W), (c, H, W) or (H, W, c), got {array.shape}{_shape_hint(array)}")
    if prod(array.shape[:2]) > LIMITS.pixels or array.size > 4 * LIMITS.pixels:
        raise ValueError(f"an image of the shape {array.shape} is too large; at most {LIMITS.pixels:,} pixels are read")
    if not np.isfinite(array).all():
        raise ValueError(f"an image has {_not_finite(array)} among its pixels; replace it by a number")
    array = _channels_last(array, channels)
    if array.ndim == 3 and array.shape[2] == 4:
        return _on_ground(array, options)
    return array, ()


def _array(image: Any) -> Values:
    try:
        return np.asarray(image)
    except ValueError as error:
        raise ValueError("an image must be numbers in rows of one length; some rows are longer than others") from error


def _on_ground(array: Values, options: ImageOptions) -> _Decoded:
    try:
        from addercore.data.intake.images import BadImage, on_ground
    except ModuleNotFoundError as error:
        raise BadData("laying an image on a ground needs Pillow: pip install 'adderworks[core]'") from error
    try:
        picture = on_ground(np.ascontiguousarray(array), options.transparent_on)
    except BadImage as error:
        raise ValueError(f"the image {error}") from None
    return picture.values, tuple(remark.name for remark in picture.remarks)


def _not_finite(array: Values) -> str:
    place = np.argwhere(~np.isfinite(array))[0]
    return f"{array[tuple(place)]} at {tuple(int(i) for i in place)}"


def _channels_last(array: Values, channels: int) -> Values:
    """(H, W), (H, W, 3) or (H, W, 4) of an array in any layout.

    Raises `ValueError` where first and last axis could both be the channels: a guess would turn rows into colours.
    """
    if array.ndim == 2:
        return array
    first = array.shape[0] in (1, 3)
    last = array.shape[2] in (1, 3) or (array.shape[2] == 4 and array.dtype == np.uint8)
    if first and last and array.shape != (1, 1, 1):
        remedy = "pass it as (H, W)" if 1 in array.shape[::2] else "pass it as a PIL image"
        raise ValueError(
            f"an image of the shape {array.shape} can be read as ({array.shape[0]}, H, W) and as "
            f"(H, W, {array.shape[2]}); {remedy}"
        )
    if not first and not last:
        hint = _shape_hint(array)
        raise ValueError(f"an image must be (H, W), ({channels}, H, W) or (H, W, {channels}), got {array.shape}{hint}")
    if first:
        array = array.transpose(1, 2, 0)
    return array[:, :, 0] if array.shape[2] == 1 else array


def _shape_hint(array: Values) -> str:
    """The line of numpy that mends a shape."""
    if array.ndim == 4 and array.shape[0] == 1:
        return "; pass one image: x[0]"
    if array.ndim == 3 and array.shape[2] == 4:
        return "; alpha is read in uint8 alone: leave it out (x[..., :3])"
    if array.ndim == 3 and array.shape[0] == 4:
        return "; leave out alpha: x[:3]"
    side = round(array.size**0.5)
    if array.ndim == 1 and side * side == array.size and side:
        return f"; it is flat: x.reshape({side}, {side})"
    return ""


def _scale(values: Values, options: ImageOptions, notes: list[str], encoded: bool) -> Scale:
    """The value that is black and the one that is white.

    A file or PIL image of bytes says its range by its format; only one with nothing but 0 and 1 is taken for bits, as
    uploads are. Everything else is told by its values, by the rule of uploads.
    """
    if encoded and options.value_range == "auto" and values.dtype == np.uint8 and (top := int(values.max())) != 1:
        if 0 < top < DARK * 256:
            notes.append(f"The image is dark: its brightest pixel is {top} of 255. value_range=bits stretches it.")
        return Scale(0, 255)
    extents = Extents()
    extents.note(values, "")
    extent = extents.found[group_of(values)]
    extent.lowest, extent.highest = (
        f"pixel {tuple(int(i) for i in np.unravel_index(int(at), values.shape))}"
        for at in (values.argmin(), values.argmax())
    )
    return scales(extents, options.value_range, notes)[group_of(values)]
