"""A benchmark's configuration: a model whose latency is measured, and what it is measured by."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from addercore.config.errors import field_errors
from addercore.config.fields import WHOLE, Config, ModelId

Engine = Literal["torch", "integer", "onnxruntime"]
SECONDS_A_ROW: Final = 2.0
"""Seconds for which each row of a benchmark is measured, where a call is short."""
TWIN_FORMS: Final = 7
"""Forms of the convolutional twin that are tried: fp32, and int8 in six ways."""


class BenchmarkConfig(Config):
    """The latency of a model on the worker's processor, from pixels to scores; `model_id` is required."""

    model_id: ModelId
    """Id of the model, a float or an integer one."""
    engines: Annotated[tuple[Engine, ...], Field(min_length=1, max_length=3, strict=False)] | None = None
    """What runs the model: `torch` float models, `integer` integer ones, `onnxruntime` both by their ONNX files; null:
    all that can."""
    batch_sizes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=256), WHOLE], ...], Field(min_length=1, max_length=8, strict=False)
    ] = (1,)
    """Images of a call; each is measured."""
    threads: Annotated[int, Field(ge=1, le=256), WHOLE] = 1
    """Threads that compute; no more than the job has (`resources.threads`)."""
    twin: bool = True
    """Whether the convolutional network of the same architecture is measured beside it, in fp32 and in the best int8 of
    ONNX Runtime."""

    @field_validator("engines", "batch_sizes")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise field_errors([("", f"must have each entry once, got {list(values)!r}")])
        return values

    def seconds(self) -> float:
        """About how long the measurement takes, where calls are short."""
        rows = len(self.engines or ("own", "onnxruntime")) + TWIN_FORMS * self.twin
        return rows * len(self.batch_sizes) * SECONDS_A_ROW


def unfit_engines(manifest: Mapping[str, Any], engines: Collection[str] | None) -> str | None:
    """Which of the named engines cannot run a model, by its manifest; None where all can."""
    integer = "quantisation" in manifest
    wrong = "torch" if integer else "integer"
    if engines is None or wrong not in engines:
        return None
    kind, fitting = ("an integer", "integer") if integer else ("a float", "torch")
    return f"names {wrong}, but the model is {kind} model: take {fitting} or onnxruntime"
