"""Job specs as they arrive by REST and as they are stored: unknown fields forbidden, every default filled in.

The fields of each kind are those of its configuration in `addercore.config`. The service adds the kind, and what every
job has: resources, priority, limits, labels.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, TypeAdapter

from addercore import config
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
    """`cuda` waits for a GPU; `auto` takes one where the worker has any."""
    gpus: Literal[1] = 1
    """GPUs of the job."""
    threads: Annotated[int, Field(ge=1, le=256), WHOLE] | None = None
    """Threads of the job's process; null: the worker's share of its cores."""
    memory_gb: Annotated[PositiveFloat, Field(le=1_000_000)] | None = None
    """Largest data memory of the training process (RLIMIT_DATA), in GiB; the job waits for a worker that has as much
    free."""
    exact: bool = True
    """Whether the job, once it has begun, goes on only where its bytes come out the same: the same kind of device,
    kernel backend, torch and instruction set. False: on any worker, with differences in the last bits."""
    loader_workers: Annotated[int, Field(ge=0, le=16), WHOLE] = 0
    """Processes that make a training's batches ahead of time, a core each; the results are the same bytes."""


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


class Continuation(Section):
    """What a training that goes on from a finished one has of its own."""

    epochs: Epochs
    """Further epochs, over which the learning rate follows the spec's schedule anew."""
    lr: PositiveFloat | None = None
    """Learning rate at their beginning; null: that of the finished training."""

    def spec(self, finished: dict[str, Any]) -> dict[str, Any]:
        """The document of the new training's spec. It is no trial of a sweep, should the finished one be one."""
        lr = {} if self.lr is None else {"optimizer": {"lr": self.lr}}
        labels = {name: value for name, value in finished["labels"].items() if name not in SWEEP_LABELS}
        return config.merge(finished, {"epochs": self.epochs, "init_from": None, **lr}) | {"labels": labels}


class EvaluateSpec(CommonSpec, config.EvaluateConfig, Kinded):
    """Accuracy, loss and confusion matrix of a model on a split of a dataset."""

    kind: Literal["evaluate"]


class AnalyzeSpec(CommonSpec, config.AnalyzeConfig, Kinded):
    """Compute a table or figure of the paper: a verdict, a table and a picture."""

    kind: Literal["analyze"]


class QuantizeSpec(CommonSpec, config.QuantizeConfig, Kinded):
    """Make an integer model of a float one, and measure it."""

    kind: Literal["quantize"]


class IngestSpec(CommonSpec, Kinded):
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


Kind = Literal["train", "evaluate", "analyze", "quantize", "ingest"]
SubmittedSpec = TrainSpec | EvaluateSpec | AnalyzeSpec | QuantizeSpec
"""What `POST /v1/jobs` takes."""
Spec = SubmittedSpec | IngestSpec
KINDS: Final[dict[str, type[Spec]]] = dict(zip(get_args(Kind), get_args(Spec), strict=True))
"""The model of each kind's spec: `Kind` and `Spec`, in one order, are where a new kind is entered."""
AnySpec = Annotated[Spec, Field(discriminator="kind")]
SPEC: TypeAdapter[Spec] = TypeAdapter(AnySpec)
SUBMITTED: Final = tuple(kind for kind, model in KINDS.items() if model is not IngestSpec)
"""Kinds that `POST /v1/jobs` takes."""
SUBMITTED_SPEC: TypeAdapter[SubmittedSpec] = TypeAdapter(Annotated[SubmittedSpec, Field(discriminator="kind")])
