"""The columns of ``adder jobs``, in the order in which they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from adderclient.command.columns import Column
from adderclient.command.keeping import accuracy_of, kept_columns, titled
from adderclient.command.output import status
from adderclient.formats import ago, duration, percent
from adderclient.records import Job


def subject_of(job: Job) -> str:
    """What it trains or computes: ``resnet20 adder on cifar10``."""
    model, dataset = job.spec.get("model") or {}, job.spec.get("dataset") or {}
    if isinstance(model, dict) and model.get("arch"):
        named = f"{model['arch']} {model.get('method', '')}".strip()
    else:
        named = str(job.spec.get("recipe") or job.spec.get("model_id") or "")
    return f"{named} on {dataset['name']}" if named and isinstance(dataset, dict) and dataset.get("name") else named


def progress(job: Job) -> str:
    """What an unfinished job does or waits for, and how a failed one ended; of one that succeeded nothing."""
    if job.status == "queued":
        return _place(job)
    if job.status == "succeeded":
        return ""
    if job.status == "failed" and job.error:
        return job.error.code
    if job.progress.fraction is None:
        return (job.progress.phase or "").replace("_", " ")
    seconds = job.progress.eta_seconds
    left = f", {duration(seconds)} left" if job.status == "running" and seconds else ""
    return f"{percent(job.progress.fraction, 0)}{left}"


def _place(job: Job) -> str:
    """Where a queued job stands."""
    if job.waiting_for is not None:
        return job.waiting_for
    if job.queue_position is None:
        return "queued"
    at = job.estimated_start_at
    starts = "" if at is None else f", starts in {duration(max(0.0, (at - datetime.now(UTC)).total_seconds()))}"
    return f"{job.queue_position} in queue{starts}"


def _status(job: Job) -> Text:
    """The status; of a running job with the part that is done, for which a narrow table has no other column."""
    shown = status(job.status)
    if job.status == "running" and job.progress.fraction is not None:
        shown.append(f" {percent(job.progress.fraction, 0)}")
    return shown


def _in_spec(section: str, name: str) -> Any:
    def value(job: Job) -> Any:
        inner = job.spec.get(section)
        return inner.get(name) if isinstance(inner, dict) else None

    return value


COLUMNS: tuple[Column[Job], ...] = (
    Column("id", lambda job: job.id, heading="JOB"),
    Column("status", lambda job: job.status, _status, rank=1),
    Column("subject", subject_of, lambda job: titled(job, subject_of(job)), rank=2, cut=True),
    Column(
        "accuracy",
        lambda job: accuracy_of(job.result),
        lambda job: percent(accuracy_of(job.result)),
        rank=3,
        right=True,
    ),
    Column("progress", progress, rank=5, cut=True),
    *kept_columns(),
    Column("created", lambda job: job.created_at, lambda job: ago(job.created_at), rank=6),
    Column("kind", lambda job: job.kind, rank=7),
    Column("arch", _in_spec("model", "arch"), extra=True),
    Column("method", _in_spec("model", "method"), extra=True),
    Column("dataset", _in_spec("dataset", "name"), extra=True),
    Column("started", lambda job: job.started_at, lambda job: ago(job.started_at), extra=True),
    Column("finished", lambda job: job.finished_at, lambda job: ago(job.finished_at), extra=True),
    Column("ran", lambda job: job.run_seconds, lambda job: duration(job.run_seconds), right=True, extra=True),
    Column("attempt", lambda job: job.attempt, right=True, extra=True),
    Column("model", lambda job: job.model_id, extra=True),
)
