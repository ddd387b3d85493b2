"""Reads of a job's metrics, events, logs and artifacts. All of them are append-only and read with a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from jobs import system_metrics
from jobs.access.scope import Transaction
from jobs.errors import NotFound
from jobs.tables import Artifact, Event, Job, LogChunk, Metric

Point = Row[int, str, int, int, float | None, int]
"""`(seq, name, step, epoch, value, time)`; a plain row, as there may be thousands."""


def metrics(
    session: Transaction, job_id: str, *, names: Sequence[str] = (), after_seq: int = 0, limit: int = 10_000
) -> Sequence[Point]:
    """The points of these metrics in order of `seq`; where none is named, of all but those of the system."""
    wanted = (Metric.seq, Metric.name, Metric.step, Metric.epoch, Metric.value, Metric.time)
    query = select(*wanted).where(Metric.job_id == job_id, Metric.seq > after_seq)
    query = query.where(Metric.name.in_(names) if names else Metric.name.not_in(system_metrics.NAMES))
    return session.execute(query.order_by(Metric.seq).limit(limit)).all()


def last_value(session: Transaction, job_id: str, name: str) -> float | None:
    """The value of a metric at its last step that has a number; None where there is none."""
    mine = (Metric.job_id == job_id) & (Metric.name == name) & Metric.value.is_not(None)
    return session.execute(select(Metric.value).where(mine).order_by(Metric.step.desc()).limit(1)).scalar_one_or_none()


def versions(session: Transaction, job_ids: Sequence[str]) -> Sequence[Row[str, str, int, int, Any]]:
    """`(id, status, last_seq, log_bytes, progress)` of those jobs that exist. Whatever a reader sees changes with
    these."""
    wanted = (Job.id, Job.status, Job.last_seq, Job.log_bytes, Job.progress)
    return session.execute(select(*wanted).where(Job.id.in_(job_ids))).all()


def events(session: Transaction, job_id: str, *, after_seq: int = 0, limit: int = 10_000) -> Sequence[Event]:
    query = select(Event).where(Event.job_id == job_id, Event.seq > after_seq)
    return session.execute(query.order_by(Event.seq).limit(limit)).scalars().all()


def latest_events(session: Transaction, job_id: str, limit: int) -> Sequence[Event]:
    """The last `limit` events, newest first."""
    query = select(Event).where(Event.job_id == job_id).order_by(Event.seq.desc()).limit(limit)
    return session.execute(query).scalars().all()


def log_chunks(session: Transaction, job_id: str, *, from_byte: int = 0, limit: int = 100) -> Sequence[LogChunk]:
    """The next chunks that begin at or after `from_byte`."""
    query = select(LogChunk).where(LogChunk.job_id == job_id, LogChunk.offset >= from_byte)
    return session.execute(query.order_by(LogChunk.offset).limit(limit)).scalars().all()


def log_tail(session: Transaction, job_id: str, lines: int) -> tuple[str, int]:
    """The last `lines` lines and the byte after them. A line ends with a line feed; no other character ends one."""
    query = select(LogChunk).where(LogChunk.job_id == job_id).order_by(LogChunk.offset.desc())
    pieces: list[str] = []
    end, feeds = 0, 0
    for chunk in session.execute(query).scalars():
        end = end or chunk.offset + len(chunk.text.encode())
        pieces.append(chunk.text)
        feeds += chunk.text.count("\n")
        if feeds > lines:
            break
    text = "".join(reversed(pieces))
    unfinished = 0 if text.endswith("\n") else 1  # the last line may have no line feed yet
    kept = text.split("\n")[-lines - 1 + unfinished :] if lines else []
    return "\n".join(kept), end


def artifacts(session: Transaction, job_id: str) -> Sequence[Artifact]:
    return session.execute(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)).scalars().all()


def find_artifact(session: Transaction, job_id: str, name: str) -> Artifact | None:
    return session.get(Artifact, (job_id, name))


def artifact(session: Transaction, job_id: str, name: str) -> Artifact:
    found = find_artifact(session, job_id, name)
    if found is None:
        names = ", ".join(one.name for one in artifacts(session, job_id))
        raise NotFound(f"artifact of {job_id} named", name, f"It has {names or 'none so far'}.")
    return found
