"""Models in other programs' forms, made in the inference process: the API loads neither torch nor numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import addercore
from addercore.arch import is_integer
from addercore.export import c_source, float_model, integer_model
from addercore.runtime import format as files

Format = Literal["onnx", "c"]
MEDIA_TYPES: Final[dict[str, str]] = {"onnx": "application/octet-stream", "c": "text/plain; charset=utf-8"}


def exported(path: Path, format: Format) -> bytes:
    """A model as an ONNX file, or an integer model as one header of C99.

    Raises:
        ValueError: the model has no such form.
        BadModel: the file is damaged.
        ModuleNotFoundError: onnx is not installed.
    """
    if format == "c":
        return c_source(files.read(path)).encode()
    model = integer_model(files.read(path)) if is_integer(path) else float_model(addercore.load(path))
    return bytes(model.SerializeToString(deterministic=True))
