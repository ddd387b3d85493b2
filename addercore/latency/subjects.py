"""What a benchmark measures: each takes uint8 images and gives scores, normalisation and conversions included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from addercore import runtime
from addercore.arch import check_manifest, is_integer
from addercore.config import BenchmarkConfig, FieldError, InvalidConfig, unfit_engines
from addercore.export import float_model, integer_model
from addercore.io import load
from addercore.latency import twin
from addercore.latency.timing import Call
from addercore.quant import float_scores
from addercore.runtime import format as files

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that is measured.

    Attributes:
        engine: "torch", "integer" or "onnxruntime".
        what: "model" or "twin".
        precision: such as "fp32", "int4", "int8, QDQ u8s8".
        bytes: of the file that the engine reads.
        prepare: makes of uint8 images (N, C, H, W) the call that is timed.
    """

    engine: str
    what: str
    precision: str
    bytes: int
    prepare: Callable[[Images], Call]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not measured, and why."""

    engine: str
    what: str
    reason: str


class Gathering:
    """The subjects of a benchmark and what is left out.

    Args:
        config: the benchmark.
        path: the model's file.
        workdir: folder for ONNX Runtime's quantisation.

    Raises:
        InvalidConfig: an engine is named that does not run this model here.
        BadModel: the file is damaged.
    """

    def __init__(self, config: BenchmarkConfig, path: Path, workdir: Path) -> None:
        self.config, self.path = config, path
        self.integer = is_integer(path)
        self.found: list[Subject] = []
        self.left_out: list[LeftOut] = []
        self.manifest: dict[str, Any] = files.read(path).manifest if self.integer else load(path).manifest
        if reason := unfit_engines(self.manifest, config.engines):
            raise InvalidConfig([FieldError(("engines",), reason)])
        self.shape: tuple[int, int, int] = tuple(self.manifest["network"]["input_shape"])
        self.precision = f"int{self.manifest['quantisation']['bits']}" if self.integer else "fp32"
        own = "integer" if self.integer else "torch"
        self._try(own, self._integer if self.integer else self._torch)
        self._try("onnxruntime", self._onnx)
        if config.twin:
            self._twin(workdir)

    def _try(self, engine: str, make: Callable[[], Subject]) -> None:
        named = self.config.engines
        if named is not None and engine not in named:
            return
        try:
            self.found.append(make())
        except (ModuleNotFoundError, ValueError, RuntimeError) as error:
            if named is not None:
                raise InvalidConfig([FieldError(("engines",), f"{engine} cannot run the model: {error}")]) from error
            self.left_out.append(LeftOut(engine, "model", str(error)))

    def _torch(self) -> Subject:
        model = load(self.path)
        size = self.path.stat().st_size
        return Subject("torch", "model", "fp32", size, lambda images: lambda: float_scores(model, images))

    def _integer(self) -> Subject:
        model, threads = runtime.load(self.path), self.config.threads
        return Subject(
            "integer", "model", self.precision, model.file_bytes, lambda images: lambda: model.run(images, threads)
        )

    def _onnx(self) -> Subject:
        twin.required()
        made = integer_model(files.read(self.path)) if self.integer else float_model(load(self.path))
        return in_onnx("model", self.precision, "pixels", made.SerializeToString(), self.config.threads)

    def _twin(self, workdir: Path) -> None:
        try:
            twin.required()
        except ModuleNotFoundError as error:
            self.left_out.append(LeftOut("onnxruntime", "twin", str(error)))
            return
        made = twin.models(check_manifest(self.manifest), pixels=True, folder=workdir)
        threads = self.config.threads
        self.found += [in_onnx("twin", precision, "image", content, threads) for precision, content in made.items()]


def in_onnx(what: str, precision: str, name: str, content: bytes, threads: int) -> Subject:
    """An ONNX model, whose input is called `name`, by ONNX Runtime."""

    def prepare(images: Images) -> Call:
        session = twin.session(content, threads, len(images))
        return lambda: session.run(None, {name: images})

    return Subject("onnxruntime", what, precision, len(content), prepare)


def best_of(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All rows but the int8 forms of the twin that another one beats at the same batch size."""
    fastest: dict[int, dict[str, Any]] = {}
    for row in rows:
        if _is_int8_twin(row):
            known = fastest.setdefault(row["batch"], row)
            fastest[row["batch"]] = min(known, row, key=lambda one: one["p50_ms"])
    for row in rows:
        if not _is_int8_twin(row) or fastest[row["batch"]] is row:
            yield row


def _is_int8_twin(row: dict[str, Any]) -> bool:
    return row["what"] == "twin" and str(row["precision"]).startswith("int8")
