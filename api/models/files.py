"""Which files a model's page offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from addercore.arch.manifest import MOST_C_WEIGHTS
from addercore.config.quantize import QUANTIZED
from jobs.tables import Model


@dataclass(frozen=True)
class File:
    """A link to a download."""

    format: str
    name: str
    about: str
    bytes: int | None = None
    """None where it is made at the download."""


def files_of(model: Model, exports: bool) -> Iterator[File]:
    """The files of a model.

    Args:
        model: its row.
        exports: whether there is an inference process, which makes ONNX and C.
    """
    integer = model.format == "adder"
    yield File(
        model.format,
        f"model.{model.format}",
        f"{'integers' if integer else 'weights'} with the manifest inside",
        model.bytes,
    )
    if exports and model.method in QUANTIZED:
        yield File("onnx", "model.onnx", "for ONNX Runtime and other programs that read ONNX")
    if exports and integer and weight_bytes(model) <= MOST_C_WEIGHTS:
        yield File("c", "model.h", "one header of C99: weights, and a function from pixels to scores")
    yield File("manifest", "model.json", "manifest")


def weight_bytes(model: Model) -> int:
    """What the weights of an integer model take, a byte each; of one whose manifest does not say it its whole file."""
    derived = model.manifest.get("derived")
    found = derived.get("weight_bytes") if isinstance(derived, dict) else None
    return found if isinstance(found, int) else model.bytes
