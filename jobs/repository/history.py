"""What is read back of a job: metrics, events, logs, artifacts. All of it is append-only and read by cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from jobs.errors import NotFound
from jobs.tables import Artifact, Event, Job, LogChunk, Metric

Point = Row[int, str, int, int, float | None, int]
"""`(seq, name, step, epoch, value, time)`; a plain row, as there may be thousands."""


def metrics(
    session: Session, job_id: str, *, names: Sequence[str] = (), after_seq: int = 0, limit: int = 10_000
) -> Sequence[Point]:
    wanted = (Metric.seq, Metric.name, Metric.step, Metric.epoch, Metric.value, Metric.time)
    query = select(*wanted).where(Metric.job_id == job_id, Metric.seq > after_seq)
    if names:
        query = query.where(Metric.name.in_(names))
    return session.execute(query.order_by(Metric.seq).limit(limit)).all()


def versions(session: Session, job_ids: Sequence[str]) -> Sequence[Row[str, str, int, int, Any]]:
    """`(id, status, last_seq, log_bytes, progress)` of those jobs that exist: what a reader sees changes with it."""
    wanted = (Job.id, Job.status, Job.last_seq, Job.log_bytes, Job.progress)
    return session.execute(select(*wanted).where(Job.id.in_(job_ids))).all()


def events(session: Session, job_id: str, *, after_seq: int = 0, limit: int = 10_000) -> Sequence[Event]:
    query = select(Event).where(Event.job_id == job_id, Event.seq > after_seq)
    return session.execute(query.order_by(Event.seq).limit(limit)).scalars().all()


def log_chunks(session: Session, job_id: str, *, from_byte: int = 0, limit: int = 100) -> Sequence[LogChunk]:
    """Chunks that begin at or after `from_byte`."""
    query = select(LogChunk).where(LogChunk.job_id == job_id, LogChunk.offset >= from_byte)
    return session.execute(query.order_by(LogChunk.offset).limit(limit)).scalars().all()


def log_tail(session: Session, job_id: str, lines: int) -> tuple[str, int]:
    """The last `lines` lines and the byte after them."""
    query = select(LogChunk).where(LogChunk.job_id == job_id).order_by(LogChunk.offset.desc())
    text, end = "", None
    for chunk in session.execute(query).scalars():
        if end is None:
            end = chunk.offset + len(chunk.text.encode())
        text = chunk.text + text
        if text.count("\n") > lines:
            break
    kept = text.splitlines(keepends=True)[-lines:] if lines else []
    return "".join(kept), end or 0


def artifacts(session: Session, job_id: str) -> Sequence[Artifact]:
    return session.execute(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)).scalars().all()


def find_artifact(session: Session, job_id: str, name: str) -> Artifact | None:
    return session.get(Artifact, (job_id, name))


def artifact(session: Session, job_id: str, name: str) -> Artifact:
    found = find_artifact(session, job_id, name)
    if found is None:
        raise NotFound(f"artifact of {job_id} named", name)
    return found
