"""A job as the pages show it.

The tables hold JSON that another version may have written, so nothing here relies on its shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.jobs.queue_positions import QueuePosition
from api.web.actions import Action
from api.web.formats import duration, is_number, number, percent
from jobs.states import Status, shown_progress
from jobs.tables import Job

FAILURES = {
    "worker_lost": "The worker was lost",
    "out_of_memory": "Out of memory",
    "timed_out": "Timed out",
    "bad_data": "The data cannot be used",
    "diverged": "The training diverged",
    "code_error": "The training program failed",
}
"""Headings by `jobs.states.FailureCode`. The job's own message gives the details."""

ACCURACY = ("val/accuracy", "accuracy")
"""Names that the validation accuracy has in results: of a training, of an evaluation."""
GROUPS: tuple[tuple[str, tuple[Status, ...]], ...] = (
    ("All", ()),
    ("Queued", (Status.QUEUED,)),
    ("Running", (Status.RUNNING, Status.PAUSING, Status.CANCELLING)),
    ("Paused", (Status.PAUSED,)),
    ("Succeeded", (Status.SUCCEEDED,)),
    ("Failed", (Status.FAILED,)),
    ("Cancelled", (Status.CANCELLED,)),
)
"""The tabs above the list, each with the statuses that it shows."""


@dataclass(frozen=True)
class JobView:
    """A job in the list and at the top of its page."""

    id: str
    kind: str
    status: Status
    title: tuple[str, ...]
    """Network, method and dataset."""
    subject: str | None
    """Id of the model that the job works on or starts from."""
    label: str | None
    """The name that somebody gave it."""
    starred: bool
    labels: Mapping[str, str]
    fraction: float | None
    """Progress from 0 to 1; None where there is none to show."""
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
        return self.label or " · ".join(self.title)


def job_view(
    job: Job,
    labels: Mapping[str, str],
    queue_position: QueuePosition | None,
    latest_accuracy: float | None,
    now_ms: int,
    run_seconds: float | None,
    datasets: Mapping[str, str] | None = None,
) -> JobView:
    """The view of one job.

    Args:
        job: its row.
        labels: its labels.
        queue_position: where it stands, if it is queued.
        latest_accuracy: validation accuracy of the last epoch, 0 to 1, of a job without a result.
        now_ms: milliseconds since 1970.
        run_seconds: how long it has run in all its attempts.
        datasets: names of users' datasets by id.
    """
    status = Status(job.status)
    progress = shown_progress(status, job.progress) or {}
    return JobView(
        id=job.id,
        kind=job.kind,
        status=status,
        title=job_title(job.kind, job.spec, datasets),
        subject=str(job.spec.get("model_id") or job.spec.get("init_from") or "") or None,
        label=job.name,
        starred=job.starred,
        labels=labels,
        fraction=_fraction(status, progress),
        progress_text=_progress_text(job, status, progress, queue_position, now_ms),
        accuracy=accuracy(job.result) if accuracy(job.result) is not None else latest_accuracy,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        seconds=run_seconds,
        queue_position=None if queue_position is None else queue_position.position,
    )


def dataset_name(spec: Mapping[str, Any]) -> object:
    """What a job's spec names as its dataset."""
    return _object(spec.get("dataset")).get("name")


def job_title(kind: str, spec: Mapping[str, Any], datasets: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The parts of a job's title, from its spec. `datasets` has the names of users' datasets by id."""
    model, dataset = _object(spec.get("model")), dataset_name(spec)
    dataset = (datasets or {}).get(str(dataset), dataset)
    if kind == "analyze":
        parts: tuple[Any, ...] = (spec.get("recipe"), dataset)
    elif kind == "train":
        parts = (model.get("arch"), model.get("method"), dataset)
    elif kind == "ingest":
        parts = ("dataset", _object(spec.get("labels")).get("dataset") or spec.get("dataset_id"))
    elif kind == "quantize":
        parts = (kind, f"{spec['bits']} bits" if spec.get("bits") else None, dataset)
    elif kind == "benchmark":
        parts = (kind, *(spec.get("engines") or ()))
    else:
        parts = (kind, dataset, spec.get("split"))
    return tuple(str(part) for part in parts if part) or (kind,)


def accuracy(metrics: Any) -> float | None:
    """The validation accuracy in a job's result, 0 to 1; None where there is none. Of a quantisation the integer
    model's."""
    numbers = _object(metrics)
    for name in ACCURACY:
        value = _object(numbers.get("integer", numbers)).get(name)
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


def _queue_text(at: QueuePosition | None, now_ms: int) -> str:
    if at is None:
        return "in the queue"
    if at.waiting_for is not None:
        return f"in the queue: {at.waiting_for}"
    starts = "" if at.starts_at is None else f", starts in about {duration((at.starts_at - now_ms) / 1000)}"
    return f"position {at.position} in the queue{starts}"


def _progress_text(
    job: Job, status: Status, progress: Mapping[str, Any], queue_position: QueuePosition | None, now_ms: int
) -> str:
    fraction = _fraction(status, progress)
    share = "" if fraction is None else percent(fraction, 0)
    if status is Status.QUEUED:
        return _queue_text(queue_position, now_ms)
    if status is Status.SUCCEEDED:
        epochs = progress.get("epochs")
        return f"{number(epochs)} epoch{'' if epochs == 1 else 's'}" if epochs and is_number(epochs) else "done"
    if status is Status.FAILED:
        return str(_object(job.error).get("code") or "failed").replace("_", " ") + (f" at {share}" if share else "")
    if status is Status.CANCELLED:
        return f"stopped at {share}" if share else "never ran"
    if status is Status.PAUSED:
        return share
    eta = progress.get("eta_seconds")
    left = f"{duration(eta)} left" if is_number(eta) and status is Status.RUNNING else ""
    phase = str(progress.get("phase") or "").replace("_", " ")
    return " · ".join(part for part in (phase, share, left) if part) or "starting"


def actions(job: Job, has_checkpoint: bool) -> Sequence[Action]:
    """The buttons that a job's state allows. The API decides again when one is pressed."""
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
