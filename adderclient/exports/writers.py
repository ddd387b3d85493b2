"""The formats, by their names."""

from __future__ import annotations

from collections.abc import Callable

from adderclient.errors import AdderClientError
from adderclient.exports import hf, mlflow, tensorboard
from adderclient.exports.source import Source

Library = Callable[[], None]
"""Raises AdderClientError where what a format needs is not installed."""
Writer = Callable[[Source, str], str]

WRITERS: dict[str, tuple[Library, Writer]] = {
    "tensorboard": (tensorboard.library, tensorboard.write),
    "mlflow": (mlflow.library, mlflow.write),
    "hf": (hf.library, hf.write),
}
AS_FILES = ("safetensors", "adder", "onnx", "c")
"""Formats of one file, which the server makes."""
OF_JOBS = (*WRITERS, *AS_FILES)
OF_MODELS = ("hf", *AS_FILES)


def check(format: str, known: tuple[str, ...]) -> None:
    """Refuses a format before anything is fetched.

    Raises:
        AdderClientError: it is not among `known`, or the library that writes it is not installed.
    """
    if format not in known:
        raise AdderClientError(f"there is no format {format!r} here: one of {', '.join(known)}")
    if format in WRITERS:
        WRITERS[format][0]()


def write(format: str, source: Source, to: str) -> str:
    """Writes an export. Returns the folder where it is, or the id of the run. Raises AdderClientError."""
    return WRITERS[format][1](source, to)
