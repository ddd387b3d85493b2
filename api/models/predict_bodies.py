"""Request bodies of a prediction: an encoded image or an array of pixels, as JSON, a form or an image file."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import Request

from api.http.bodies import is_json, media_type, parse_json, read
from api.http.forms import read_form
from api.http.problems import Problem, invalid

MAX_IMAGE_BYTES = 8 * 1024 * 1024
MAX_JSON_BYTES = 2 * MAX_IMAGE_BYTES
IMAGE_TYPES = ("image/png", "image/jpeg")

EXAMPLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAH0lEQVR4nGNgYGD4//8/w38GBgYGhv8MDP8ZGBgYGBgAWAgH+dHBTnQAAAAA"
    "SUVORK5CYII="
)

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "description": "A PNG or JPEG file in base64."},
                        "array": {"type": "array", "items": {}, "description": "Pixels as nested lists."},
                    },
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                },
                "examples": {
                    "array": {"value": {"array": [[0, 0.5], [1, 0]]}},
                    "image": {"value": {"image": EXAMPLE_PNG}},
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "binary"}},
                    "required": ["image"],
                }
            },
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES},
        },
    }
}


async def read_image(request: Request) -> dict[str, Any]:
    """Reads the image as the inference process takes it: `{"image_b64": …}` or `{"array": …}`.

    Raises:
        Problem: 400 for a malformed body, 413 for a long one, 415 for another media type, 422 for a bad field.
    """
    kind = media_type(request)
    if is_json(kind):
        return _of_document(parse_json(await read(request, MAX_JSON_BYTES)))
    if kind in IMAGE_TYPES:
        return _encoded(await read(request, MAX_IMAGE_BYTES))
    if kind == "multipart/form-data":
        image = bytearray()
        await read_form(request, {"image": image.extend}, required="image", limit=MAX_IMAGE_BYTES)
        return _encoded(bytes(image))
    raise Problem(
        "unsupported_media_type", f"Send JSON, multipart/form-data with a part `image`, or {' or '.join(IMAGE_TYPES)}."
    )


def _encoded(image: bytes) -> dict[str, Any]:
    if not image:
        raise Problem("bad_image", "The image is empty.")
    return {"image_b64": base64.b64encode(image).decode()}


def _of_document(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise invalid([("", "must be an object with `image` or `array`")])
    unknown = [
        (f"/{key}", "is not a field of this call; known: image, array") for key in document.keys() - {"image", "array"}
    ]
    if unknown:
        raise invalid(unknown)
    match document:
        case {"array": list(array)} | {"image": list(array)} if len(document) == 1:
            return {"array": array}
        case {"image": str(text)} if len(document) == 1:
            return _encoded(_decode(text))
    raise invalid([("", "must have either `image` (base64) or `array` (nested lists of numbers)")])


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid([("/image", "is not base64")]) from None
