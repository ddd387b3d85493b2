"""A job as a page shows it. The tables hold JSON that other versions may have written: its shape is never trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.jobs.queue import Place
from api.web.formats import duration, is_number, number
from jobs.states import Status
from jobs.tables import Job, Model

FAILURES = {
    "worker_lost": "The worker was lost",
    "out_of_memory": "Out of memory",
    "timed_out": "Timed out",
    "bad_data": "The data cannot be used",
    "diverged": "The training diverged",
    "code_error": "The training program failed",
}
"""Headings for `jobs.states.FailureCode`; the job's own message says more."""

ACCURACY = ("val/accuracy", "accuracy")
GROUPS: tuple[tuple[str, tuple[Status, ...]], ...] = (
    ("All", ()),
    ("Queued", (Status.QUEUED,)),
    ("Running", (Status.RUNNING, Status.PAUSING, Status.CANCELLING)),
    ("Paused", (Status.PAUSED,)),
    ("Succeeded", (Status.SUCCEEDED,)),
    ("Failed", (Status.FAILED,)),
    ("Cancelled", (Status.CANCELLED,)),
)
"""The tabs above the list: statuses that a reader looks for together."""


@dataclass(frozen=True)
class Action:
    """A button: one call of the REST API."""

    name: str
    method: str
    path: str
    confirm: str = ""
    """Asked before the call; empty: not asked."""
    then: str = ""
    """Where to go on success; empty: stay. `job` follows the answer's id."""
    danger: bool = False


@dataclass(frozen=True)
class JobView:
    id: str
    kind: str
    status: Status
    title: tuple[str, ...]
    """Parts: network, method, dataset."""
    subject: str | None
    """The model that the job is about or begins with."""
    labels: Mapping[str, str]
    fraction: float | None
    """0 to 1, while that says anything."""
    progress_text: str
    accuracy: float | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    seconds: float | None
    """How long it has run in all its attempts (`attempts.run_seconds`)."""
    queue_position: int | None

    @property
    def name(self) -> str:
        return " · ".join(self.title)


def job_view(
    job: Job,
    labels: Mapping[str, str],
    place: Place | None,
    latest_accuracy: float | None,
    now_ms: int,
    run_seconds: float | None,
    datasets: Mapping[str, str] | None = None,
) -> JobView:
    """`datasets`: what users' datasets are called, by id."""
    status = Status(job.status)
    progress = job.progress or {}
    return JobView(
        id=job.id,
        kind=job.kind,
        status=status,
        title=title(job.kind, job.spec, datasets),
        subject=str(job.spec.get("model_id") or job.spec.get("init_from") or "") or None,
        labels=labels,
        fraction=_fraction(status, progress),
        progress_text=_progress_text(job, status, progress, place, now_ms),
        accuracy=accuracy(job.result) if accuracy(job.result) is not None else latest_accuracy,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        seconds=run_seconds,
        queue_position=None if place is None else place.position,
    )


def title(kind: str, spec: Mapping[str, Any], datasets: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What a job is about, in the words of its spec, and of `datasets` for what has an id there."""
    model, dataset = _object(spec.get("model")), _object(spec.get("dataset")).get("name")
    dataset = (datasets or {}).get(str(dataset), dataset)
    if kind == "analyze":
        parts: tuple[Any, ...] = (spec.get("recipe"), dataset)
    elif kind == "train":
        parts = (model.get("arch"), model.get("method"), dataset)
    elif kind == "ingest":
        parts = ("dataset", _object(spec.get("labels")).get("dataset") or spec.get("dataset_id"))
    else:
        parts = (kind, dataset, spec.get("split"))
    return tuple(str(part) for part in parts if part) or (kind,)


def accuracy(metrics: Any) -> float | None:
    """The validation accuracy among final metrics, where there is one."""
    for name in ACCURACY:
        value = _object(metrics).get(name)
        if is_number(value):
            return float(value)
    return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fraction(status: Status, progress: Mapping[str, Any]) -> float | None:
    fraction = progress.get("fraction")
    if status in (Status.QUEUED, Status.SUCCEEDED) or not is_number(fraction):
        return None
    return min(1.0, max(0.0, float(fraction)))


def _place_text(place: Place | None, now_ms: int) -> str:
    if place is None:
        return "in the queue"
    if place.waiting_for is not None:
        return f"in the queue: {place.waiting_for}"
    starts = "" if place.starts_at is None else f", starts in about {duration((place.starts_at - now_ms) / 1000)}"
    return f"position {place.position} in the queue{starts}"


def _progress_text(job: Job, status: Status, progress: Mapping[str, Any], place: Place | None, now_ms: int) -> str:
    fraction = _fraction(status, progress)
    share = "" if fraction is None else f"{fraction * 100:.0f} %"
    if status is Status.QUEUED:
        return _place_text(place, now_ms)
    if status is Status.SUCCEEDED:
        epochs = progress.get("epochs")
        return f"{number(epochs)} epoch{'' if epochs == 1 else 's'}" if is_number(epochs) else "done"
    if status is Status.FAILED:
        return str(_object(job.error).get("code") or "failed").replace("_", " ") + (f" at {share}" if share else "")
    if status is Status.CANCELLED:
        return f"stopped at {share}" if share else "never ran"
    if status is Status.PAUSED:
        return share
    eta = progress.get("eta_seconds")
    left = f"{duration(eta)} left" if is_number(eta) and status is Status.RUNNING else ""
    return " · ".join(part for part in (share, left) if part) or "starting"


def actions(job: Job, has_checkpoint: bool) -> Sequence[Action]:
    """What may be done to a job in its state; the API has the last word."""
    status, path = Status(job.status), f"/v1/jobs/{job.id}"
    if status.final:
        found = [Action("Retry", "POST", f"{path}/retry?from=start", then="job")]
        if has_checkpoint and status is not Status.SUCCEEDED:
            found.append(Action("Retry from checkpoint", "POST", f"{path}/retry?from=checkpoint", then="job"))
        ask = "Delete this job with its metrics, log and files? A model that it published stays."
        return [*found, Action("Delete", "DELETE", path, confirm=ask, then="/", danger=True)]
    found = []
    if status is Status.RUNNING:
        found.append(Action("Pause", "POST", f"{path}/pause"))
    if status is Status.PAUSED:
        found.append(Action("Resume", "POST", f"{path}/resume"))
    if status is not Status.CANCELLING:
        ask = "Cancel this job? A training saves its state and stops; it cannot be resumed, only retried."
        found.append(Action("Cancel", "POST", f"{path}/cancel", confirm=ask, danger=True))
    return found


@dataclass(frozen=True)
class ModelView:
    id: str
    job_id: str | None
    source: str
    title: tuple[str, ...]
    parameters: int
    accuracy: float | None
    bytes: int
    created_at: int


def model_view(model: Model) -> ModelView:
    return ModelView(
        id=model.id,
        job_id=model.job_id,
        source=model.source,
        title=(model.arch, model.method, model.dataset),
        parameters=model.parameters,
        accuracy=accuracy(model.metrics),
        bytes=model.bytes,
        created_at=model.created_at,
    )
