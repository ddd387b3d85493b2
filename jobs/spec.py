"""Job specs as they arrive by REST and as they are stored: unknown fields forbidden, every default filled in.

The fields of each kind are those of its configuration in `addercore.config`. The service adds the kind, and what every
job has: resources, priority, limits, labels.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationInfo, field_validator, model_validator

from addercore import config
from addercore.config.errors import field_errors
from addercore.config.fields import WHOLE, Epochs, Form, PositiveFloat, Section

LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[^:\x00]+$"),
    Form("a label's name: 1 to 64 characters, none of them a colon"),
]


def _as_text(value: object) -> object:
    """Numbers and truth values as JSON writes them: people label a run with 3, and YAML reads it as a number."""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


LabelValue = Annotated[
    str,
    Field(max_length=256, pattern=r"^[^\x00]*$"),
    Form("a label's text of at most 256 characters"),
    BeforeValidator(_as_text),
]
"""A number or a truth value becomes its text."""
SWEEP_LABELS: Final = ("sweep", "trial")
"""Labels that a sweep gives its jobs."""
Priority = Annotated[int, Field(ge=-1000, le=1000), WHOLE]


class ResourcesSpec(Section):
    """What a job asks of a worker."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` waits for a GPU; `auto` takes one where the worker has any. With several `processes` it means `cpu`, with
    several `gpus` it means `cuda`."""
    gpus: Annotated[int, Field(ge=1, le=8), WHOLE] = 1
    """GPUs of one worker that compute a training together, each with a part of every batch."""
    processes: Annotated[int, Field(ge=1, le=64), WHOLE] = 1
    """Processes that compute a training together on the processor, each with a part of every batch. They take so many
    slots of one worker, or all of a worker that has fewer."""
    threads: Annotated[int, Field(ge=1, le=256), WHOLE] | None = None
    """Threads of each of the job's processes; null: the worker's share of its cores."""
    memory_gb: Annotated[PositiveFloat, Field(le=1_000_000)] | None = None
    """Largest data memory of each training process (RLIMIT_DATA), in GiB; the job waits for a worker that has as much
    free for all of them."""
    exact: bool = True
    """Whether the job, once it has begun, goes on only where its bytes come out the same: the same kind of device,
    kernel backend, torch and instruction set. False: on any worker, with differences in the last bits."""
    loader_workers: Annotated[int, Field(ge=0, le=16), WHOLE] = 0
    """Processes that make a training's batches ahead of time, a core each; the results are the same bytes. With several
    `processes` or `gpus`: of each of them."""

    @field_validator("processes")
    @classmethod
    def _one_kind(cls, processes: int, info: ValidationInfo) -> int:
        gpus = info.data.get("gpus", 1)
        if processes > 1 and gpus > 1:
            raise field_errors([("", f"must be 1 with gpus = {gpus}: each GPU has a process of its own")])
        if processes > 1 and info.data.get("device") == "cuda":
            raise field_errors([("", "must be 1 on a GPU; give resources.gpus, or device cpu")])
        if gpus > 1 and info.data.get("device") == "cpu":
            raise field_errors([("../gpus", "must be 1 on the processor; give resources.processes, or device cuda")])
        return processes

    @model_validator(mode="after")
    def _settle_device(self) -> Self:
        if self.device == "auto" and self.ranks > 1:
            object.__setattr__(self, "device", "cuda" if self.gpus > 1 else "cpu")
        return self

    @property
    def ranks(self) -> int:
        """Processes that compute the job together."""
        return max(self.processes, self.gpus)


class LimitsSpec(Section):
    """When the service gives a job up."""

    max_seconds: PositiveFloat | None = None
    """Longest time one attempt may run."""
    max_attempts: Annotated[int, Field(ge=1, le=100), WHOLE] = 3
    """Faults (lost workers) after which the job fails."""


class CommonSpec(Section):
    """What every job has beside its configuration."""

    resources: ResourcesSpec = ResourcesSpec()
    """What the job asks of a worker."""
    priority: Priority = 0
    """Higher is claimed first."""
    limits: LimitsSpec = LimitsSpec()
    """When the service gives the job up."""
    labels: dict[LabelKey, LabelValue] = Field(
        {}, max_length=32, json_schema_extra={"x-values": "an object of at most 32 texts"}
    )
    """Names and texts by which a user finds the job again."""


class Kinded(Section):
    """Comes first among a spec's bases, so that the kind is its first field."""

    kind: str


class TrainSpec(CommonSpec, config.TrainConfig, Kinded):
    """Train a network on a dataset."""

    kind: Literal["train"]

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        ranks = self.resources.ranks
        if ranks > 1 and (reason := config.unshared(self, ranks)) is not None:
            where, _, said = reason.partition(" ")
            raise field_errors([("/" + where.replace(".", "/"), said)])
        return self


class Alone(CommonSpec):
    """Of the kinds that one process computes."""

    @field_validator("resources")
    @classmethod
    def _one_process(cls, resources: ResourcesSpec) -> ResourcesSpec:
        if resources.ranks > 1:
            field = "gpus" if resources.gpus > 1 else "processes"
            said = f"must be 1, got {resources.ranks}: only a job of kind train can be computed by several"
            raise field_errors([(f"/{field}", said)])
        return resources


class Continuation(Section):
    """What a training that goes on from a finished one has of its own."""

    epochs: Epochs
    """Further epochs, over which the learning rate follows the spec's schedule anew, without its warm-up."""
    lr: PositiveFloat | None = None
    """Learning rate at their beginning; null: that of the finished training. An `optimizer.filter_lr` changes with it,
    in the same ratio."""

    def spec(self, finished: dict[str, Any]) -> dict[str, Any]:
        """The document of the new training's spec. It is no trial of a sweep, should the finished one be one."""
        before = finished["optimizer"]
        optimizer: dict[str, Any] = {"warmup_epochs": 0.0}
        if self.lr is not None:
            optimizer["lr"] = self.lr
            if (filters := before.get("filter_lr")) is not None:
                optimizer["filter_lr"] = filters * (self.lr / before["lr"])
        labels = {name: value for name, value in finished["labels"].items() if name not in SWEEP_LABELS}
        changes = {"epochs": self.epochs, "init_from": None, "optimizer": optimizer}
        return config.merge(finished, changes) | {"labels": labels}


class EvaluateSpec(Alone, config.EvaluateConfig, Kinded):
    """Accuracy, loss and confusion matrix of a model on a split of a dataset."""

    kind: Literal["evaluate"]


class AnalyzeSpec(Alone, config.AnalyzeConfig, Kinded):
    """Compute a table or figure of the paper: a verdict, a table and a picture."""

    kind: Literal["analyze"]


class QuantizeSpec(Alone, config.QuantizeConfig, Kinded):
    """Make an integer model of a float one, and measure it."""

    kind: Literal["quantize"]


class BenchmarkSpec(Alone, config.BenchmarkConfig, Kinded):
    """Measure how long a model takes on the worker's processor, beside its convolutional twin."""

    kind: Literal["benchmark"]
    resources: ResourcesSpec = ResourcesSpec(device="cpu")
    """What the job asks of a worker; its device is the processor."""

    @model_validator(mode="before")
    @classmethod
    def _on_the_processor(cls, data: Any) -> Any:
        """The device is `cpu` also where other resources are named."""
        resources = data.get("resources") if isinstance(data, dict) else None
        return {**data, "resources": {"device": "cpu", **resources}} if isinstance(resources, dict) else data

    @model_validator(mode="after")
    def _fits_its_resources(self) -> Self:
        given = self.resources.threads
        if self.resources.device == "cuda":
            reason = "must be cpu: latency is measured on the processor, got 'cuda'"
            raise field_errors([("/resources/device", reason)])
        if given is not None and self.threads > given:
            raise field_errors([("/threads", f"must be at most resources.threads, {given}, got {self.threads}")])
        return self


class IngestSpec(Alone, Kinded):
    """Validate an uploaded dataset and make it ready. `POST /v1/datasets` submits it, nothing else does."""

    kind: Literal["ingest"]
    dataset_id: Annotated[str, Field(pattern=r"^ds_\w+$", max_length=40)]
    """Id of the dataset."""
    options: config.IntakeOptions = config.IntakeOptions()
    """What the uploader chose."""
    resources: ResourcesSpec = ResourcesSpec(device="cpu", threads=1)
    """What the job asks of a worker: by default one core."""
    priority: Priority = 100
    """Higher is claimed first; by default before trainings, as the uploader waits."""


Kind = Literal["train", "evaluate", "analyze", "quantize", "benchmark", "ingest"]
SubmittedSpec = TrainSpec | EvaluateSpec | AnalyzeSpec | QuantizeSpec | BenchmarkSpec
"""What `POST /v1/jobs` takes."""
Spec = SubmittedSpec | IngestSpec
KINDS: Final[dict[str, type[Spec]]] = dict(zip(get_args(Kind), get_args(Spec), strict=True))
"""The model of each kind's spec: `Kind` and `Spec`, in one order, are where a new kind is entered."""
AnySpec = Annotated[Spec, Field(discriminator="kind")]
SPEC: TypeAdapter[Spec] = TypeAdapter(AnySpec)
SUBMITTED: Final = tuple(kind for kind, model in KINDS.items() if model is not IngestSpec)
"""Kinds that `POST /v1/jobs` takes."""
SUBMITTED_SPEC: TypeAdapter[SubmittedSpec] = TypeAdapter(Annotated[SubmittedSpec, Field(discriminator="kind")])
