"""Stores the logs of jobs that no attempt ended: lost with their workers, or cancelled while paused or queued.

An attempt that ends its job leaves the artifact `log.txt` itself. For all other jobs the garbage collection stores it,
soon after their end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import structlog
from sqlalchemy import exists, select

from jobs.access.scope import SERVICE, ServiceTransaction
from jobs.database import Database
from jobs.errors import NotFound
from jobs.repository import attempts, core, history
from jobs.store import ArtifactStore
from jobs.tables import Artifact, Job, LogChunk

BATCH = 20
"""Jobs of one round."""
SINCE_MS = 3_600_000
"""A job that ended longer ago is left out, as rules of retention may already have removed its log."""

log = structlog.get_logger()


def keep_logs(database: Database, store: ArtifactStore) -> int:
    """Stores `log.txt` for jobs that lately ended without it. Returns their number.

    Any number of workers may do this side by side: equal logs are one blob.
    """
    with database.read(SERVICE) as session:
        missing = _without(session)
    for job_id in missing:
        stored = store.put_stream(_pieces(database, job_id))
        with suppress(NotFound), database.write(SERVICE) as session:  # else somebody has deleted the job
            attempts.add_artifacts(session, core.lock_job(session, job_id), [attempts.log_artifact(stored)])
            log.info("log.kept", job=job_id)
    return len(missing)


def _without(session: ServiceTransaction) -> list[str]:
    has_log = exists().where(LogChunk.job_id == Job.id)
    kept = exists().where(Artifact.job_id == Job.id, Artifact.name == attempts.LOG)
    query = select(Job.id).where(Job.finished_at > core.now(session) - SINCE_MS, has_log, ~kept)
    return list(session.execute(query.order_by(Job.finished_at).limit(BATCH)).scalars())


def _pieces(database: Database, job_id: str) -> Iterator[bytes]:
    """The log in UTF-8. No transaction is open while a slow store takes a piece."""
    at = 0
    while True:
        with database.read(SERVICE) as session:
            chunks = history.log_chunks(session, job_id, from_byte=at)
        if not chunks:
            return
        yield from (chunk.text.encode() for chunk in chunks)
        at = chunks[-1].offset + 1
