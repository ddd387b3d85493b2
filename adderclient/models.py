"""What both clients know of models: the files of a download, and how an image is sent."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adderclient.errors import AdderClientError

Array = Sequence[Any]
FILES = {
    "safetensors": "model.safetensors",
    "adder": "model.adder",
    "onnx": "model.onnx",
    "c": "model.h",
    "manifest": "model.json",
}
"""Formats of a model's download, and the names of the files that they give."""


def image_body(image: str | Path | bytes | Array, **options: str | None) -> dict[str, Any]:
    """The body of a request with an image and options, those that are None left out.

    Raises:
        AdderClientError: the image file is not there.
    """
    said = {name: value for name, value in options.items() if value is not None}
    if isinstance(image, str) and image[:5].lower() == "data:":
        return {"json": {"image": image, **said}}
    if isinstance(image, str | Path | bytes):
        name, content = ("image", image) if isinstance(image, bytes) else _named(image)
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        files = {"image": (name, content, media_type)}
        if said:
            files["options"] = ("options", json.dumps(said).encode(), "application/json")
        return {"files": files}
    array = image.tolist() if hasattr(image, "tolist") else image
    return {"json": {"array": array, **said}}


def _named(path: str | Path) -> tuple[str, bytes]:
    source = file_at(path)
    return source.name, source.read_bytes()


def file_at(path: str | Path) -> Path:
    """A path, once a file is there. Raises AdderClientError."""
    found = Path(path)
    if not found.is_file():
        raise AdderClientError(f"{found} is not there")
    return found
