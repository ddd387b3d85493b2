"""The messages that a training process sends to its supervisor: a JSON object a line, on an inherited pipe.

The process is started as ``CHILD_COMMAND --job FOLDER/job.json --messages-fd N --lifeline-fd M`` in its own group.

- It reads its orders (`JobOrder`) from the file and writes `Message` lines to N. What it writes to stdout and stderr
  becomes the job's log. While the pipe is full it waits, so that no metric is lost.
- SIGTERM asks it to save its state, send `stopped` and exit.
- End of file on M means that its supervisor is gone: it must exit at once.
- Its last message is `done`, `stopped` or `failed`. An exit without one of them is a crash.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jobs.spec import Kind
from jobs.states import FailureCode


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Confinement(_Frozen):
    """The child restricts itself by Landlock before it does anything else."""

    data_dir: str
    """The worker's data folder. Of it the child may use its work folder and `datasets_dir` alone."""
    readable: tuple[str, ...] = ()
    """Further folders that it may read."""
    network: bool = False
    """Whether it may use TCP, as several processes of one job need it."""


class JobOrder(_Frozen):
    """What the child is to do."""

    job_id: str
    attempt: int
    kind: Kind
    spec: dict[str, Any]
    workdir: str
    datasets_dir: str
    threads: int
    checkpoints: tuple[str, ...] = ()
    """Checkpoint files, newest first; the child resumes from the first one that is whole."""
    continue_from: str | None = None
    """Checkpoint file of the finished training that this one goes on from."""
    model: str | None = None
    """File of the model that the spec names."""
    teacher: str | None = None
    """File of the model that a training learns from."""
    dataset: dict[str, Any] | None = None
    """The `DatasetInfo` of a user's dataset, whose file `ID.safetensors` then lies in `datasets_dir`."""
    upload: str | None = None
    """File that an ingest reads."""
    confinement: Confinement | None = None
    """None: the child restricts itself in no way."""


class Point(_Frozen):
    name: str = Field(max_length=100)
    step: int
    epoch: int
    value: float | None
    time: int
    """Milliseconds since 1970."""


class Metrics(_Frozen):
    type: Literal["metrics"] = "metrics"
    points: tuple[Point, ...]


class Progress(_Frozen):
    """What has changed of the job's progress; `phase` comes by itself."""

    type: Literal["progress"] = "progress"
    progress: dict[str, Any]


class Environment(_Frozen):
    type: Literal["environment"] = "environment"
    environment: dict[str, Any]


class Note(_Frozen):
    """A notable moment, shown among the job's events."""

    type: Literal["event"] = "event"
    event: str = Field(max_length=40)
    message: str
    data: dict[str, Any] | None = None


class CheckpointSaved(_Frozen):
    type: Literal["checkpoint"] = "checkpoint"
    path: str
    step: int
    epoch: int
    sha256: str


class ArtifactReady(_Frozen):
    type: Literal["artifact"] = "artifact"
    path: str
    name: str = Field(max_length=100)
    kind: str = Field(max_length=20)
    media_type: str = Field(max_length=100)


class ModelReady(_Frozen):
    """The trained model; its file is also an artifact."""

    type: Literal["model"] = "model"
    path: str
    manifest: dict[str, Any]
    metrics: dict[str, Any]


class DatasetReady(_Frozen):
    """The dataset that an upload became."""

    type: Literal["dataset"] = "dataset"
    path: str
    format: str
    info: dict[str, Any]
    """A `DatasetInfo`."""
    notes: tuple[str, ...] = ()
    """What was left out or decided; a sentence each."""


class Done(_Frozen):
    type: Literal["done"] = "done"
    result: dict[str, Any]


class Stopped(_Frozen):
    """The child has saved its state. `disk_full`: it stopped by itself, as it could not write; its last checkpoint is
    whole."""

    type: Literal["stopped"] = "stopped"
    reason: Literal["asked", "disk_full"] = "asked"
    message: str = ""


class Failed(_Frozen):
    type: Literal["failed"] = "failed"
    code: FailureCode
    message: str
    problems: tuple[str, ...] = ()
    """For an ingest: everything that is wrong with the upload; a sentence each."""


Outcome = Done | Stopped | Failed
Message = (
    Metrics
    | Progress
    | Environment
    | Note
    | CheckpointSaved
    | ArtifactReady
    | ModelReady
    | DatasetReady
    | Done
    | Stopped
    | Failed
)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
