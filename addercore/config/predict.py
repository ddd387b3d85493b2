"""What a prediction may say beside its image, and images as text: base64 and data URIs."""

import base64
import binascii
import re
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from addercore.config.fields import Section

ValueRange = Literal["auto", "0..1", "0..255", "-1..1", "bits"]
TransparentOn = Literal["white", "black", "refuse"]
_DATA_URI: Final = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)


class ImageOptions(Section):
    """How the pixels of an image are read."""

    value_range: ValueRange = "auto"
    """What is black and what is white in arrays and 16-bit images; `bits`: 0 to the largest number of as many bits.
    `auto` tells it by the values, and refuses what could be two things."""
    transparent_on: TransparentOn = "white"
    """The ground on which a transparent image is laid."""


def is_data_uri(text: str) -> bool:
    """Whether a text is a data URI (RFC 2397), as canvases and web pages have them."""
    return text[:5].lower() == "data:"


def image_bytes(text: str) -> bytes:
    """The encoded image in a text.

    Args:
        text: base64 (RFC 4648; line ends are passed over, the padding may be missing), or a data URI with it.

    Raises:
        ValueError: it is neither; continues a sentence that begins with the field's name.
    """
    if not is_data_uri(text):
        return _base64(text)
    head = _DATA_URI.match(text)
    if head is None:
        raise ValueError("must be a data URI with a comma before its data (data:image/png;base64,…)")
    kind, *parameters = head[0][5:-1].lower().split(";")
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise ValueError(f"must be a data URI of an image (data:image/png;base64,…), got one of {kind}")
    content = text[head.end() :]
    return _base64(content) if "base64" in map(str.strip, parameters) else unquote_to_bytes(content)


def _base64(text: str) -> bytes:
    plain = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be an image file in base64, or a data URI with it (data:image/png;base64,…)") from None
