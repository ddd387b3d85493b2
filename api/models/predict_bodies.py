"""Request bodies of a prediction: an encoded image or an array of pixels, as JSON, a form or an image file."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from addercore.config import ImageOptions, image_bytes
from api.http.bodies import is_json, media_type, parse_json, read
from api.http.forms import read_form
from api.http.problems import Problem, bad_fields, invalid

MAX_IMAGE_BYTES = 8 * 1024 * 1024
MAX_JSON_BYTES = 2 * MAX_IMAGE_BYTES
MAX_OPTIONS_BYTES = 1000
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif")
"""Named in the OpenAPI document. Every `image/*` is taken: what counts is the content."""
ANY_BYTES = "application/octet-stream"
FORM = "application/x-www-form-urlencoded"
OPTION_SCHEMAS = ImageOptions.model_json_schema()["properties"]

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
                        "image": {"type": "string", "description": "An image file in base64, or as a data URI."},
                        "array": {"type": "array", "items": {}, "description": "Pixels as nested lists."},
                        **OPTION_SCHEMAS,
                    },
                    "oneOf": [{"required": ["image"]}, {"required": ["array"]}],
                    "additionalProperties": False,
                },
                "examples": {
                    "array": {"value": {"array": [[0, 0.5], [1, 0]]}},
                    "image": {"value": {"image": EXAMPLE_PNG}},
                    "a canvas": {"value": {"image": f"data:image/png;base64,{EXAMPLE_PNG}", "transparent_on": "black"}},
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "options": {"type": "object", "properties": OPTION_SCHEMAS, "additionalProperties": False},
                    },
                    "required": ["image"],
                }
            },
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*IMAGE_TYPES, ANY_BYTES)},
        },
    }
}


Image = dict[str, Any]
"""An image as the inference process takes it: `{"image_b64": …}` or `{"array": …}`, with its options."""


async def read_image(request: Request, most_values: int) -> Callable[[], Image]:
    """Reads the body of a prediction, and leaves the parsing to a thread: it takes longer and more memory.

    Args:
        request: the request.
        most_values: numbers and lists that its JSON may have.

    Returns:
        What parses the body. It raises Problem: 400 for malformed JSON, 413 for one of too many values, 422 for a bad
        field.

    Raises:
        Problem: 400 for a malformed form, 413 for a long body, 415 for another media type.
    """
    kind = media_type(request)
    if is_json(kind):
        body = await read(request, MAX_JSON_BYTES)
        return lambda: _of_document(_parsed(body, most_values))
    if kind.startswith("image/") or kind in (ANY_BYTES, ""):  # without a type it may be anything (RFC 9110, 8.3)
        body = _some(await read(request, MAX_IMAGE_BYTES))
        return lambda: _encoded(body)
    if kind == "multipart/form-data":
        image, options = bytearray(), bytearray()
        limit = MAX_IMAGE_BYTES + MAX_OPTIONS_BYTES
        await read_form(request, {"image": image.extend, "options": options.extend}, required="image", limit=limit)
        return lambda: {**_encoded(_some(bytes(image))), **_options(_chosen(options), ImageOptions, "/options")}
    curl = " curl says so unless told otherwise: -H 'Content-Type: image/png'." if kind == FORM else ""
    raise Problem(
        "unsupported_media_type",
        "Send JSON, multipart/form-data with a part `image`, or an image file as image/png, image/jpeg, another image "
        f"type or {ANY_BYTES}; {ascii(kind)[:60]} is none of them.{curl}",
    )


def _parsed(body: bytes, most_values: int) -> Any:
    """The JSON document. A short text can have millions of values, which take fifty times its memory."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most_values:
        detail = f"The JSON has more than {most_values} values (ADDER_MAX_PREDICT_VALUES). Send an image file instead."
        raise Problem("body_too_large", detail)
    return parse_json(body)


def _chosen(options: bytearray) -> Any:
    if len(options) > MAX_OPTIONS_BYTES:
        raise Problem("body_too_large", f"The options are longer than {MAX_OPTIONS_BYTES} bytes.")
    return parse_json(bytes(options)) if options else {}


def _some(image: bytes) -> bytes:
    if not image:
        raise Problem("bad_image", "The image is empty; send the bytes of an image file.")
    return image


def _encoded(image: bytes) -> Image:
    return {"image_b64": base64.b64encode(image).decode()}


class PredictBody(ImageOptions):
    """The JSON body."""

    image: str | list[Any] | None = None
    array: list[Any] | None = None


def _of_document(document: object) -> Image:
    """The image and the options of a JSON body. `image` may be an array too, as people write it."""
    body = _options(document, PredictBody, "")
    image, array = body.pop("image", None), body.pop("array", None)
    if (image is None) == (array is None):
        raise invalid([("", "must have either `image` (base64 or a data URI) or `array` (nested lists of numbers)")])
    if not isinstance(image, str):
        return {"array": array if image is None else image, **body}
    try:
        return {**_encoded(_some(image_bytes(image))), **body}
    except ValueError as error:
        raise invalid([("/image", str(error))]) from None


def _options(document: object, model: type[ImageOptions], under: str) -> dict[str, Any]:
    """The fields that were sent, checked. Raises Problem with a pointer to each bad one."""
    if not isinstance(document, dict):
        known = ", ".join(model.model_fields)
        raise invalid([(under, f"must be an object with the fields {known}")])
    try:
        model.model_validate(document)
    except ValidationError as error:
        raise invalid((under + where, why) for where, why in bad_fields(error, model)) from None
    return document
