"""What must hold once all jobs of a queue have ended: each ran exactly once, and each API gives what it left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sqlalchemy import func, select

from adderclient import Client
from benchmarks.service.setup import Alone
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.states import Status
from jobs.tables import Artifact, Event, Job

SERVED = 20
"""Jobs whose artifacts are fetched from each API."""


def require_once(database: Database, count: int) -> None:
    """Each job succeeded, in one attempt, said so once, and left its log; real ones all trained the same."""
    ended = select(func.count()).select_from(Event).where(Event.message == "Succeeded.")
    logs = select(func.count()).select_from(Artifact).where(Artifact.name == "log.txt")
    with database.read(DEFAULT) as session:
        succeeded, attempts = session.execute(
            select(func.count(), func.max(Job.attempt)).where(Job.status == Status.SUCCEEDED)
        ).one()
        found = {
            "succeeded": succeeded, "successes": session.execute(ended).scalar_one(),
            "logs": session.execute(logs).scalar_one(), "attempts of a job": attempts,
        }  # fmt: skip
        results = {json.dumps(result, sort_keys=True) for result in session.execute(select(Job.result)).scalars()}
    if found != {"succeeded": count, "successes": count, "logs": count, "attempts of a job": 1}:
        raise RuntimeError(f"of {count} jobs, each to run once: {found}")
    if len(results) != 1:
        raise RuntimeError(f"{count} equal jobs ended with {len(results)} different results")


def require_served(service: Alone, database: Database) -> None:
    """Every artifact of some jobs, spread over all, comes from each API with the bytes that its row names."""
    with database.read(DEFAULT) as session:
        ids = session.execute(select(Job.id).order_by(Job.id)).scalars().all()
        some = ids[:: max(1, len(ids) // SERVED)]
        query = select(Artifact.job_id, Artifact.name, Artifact.sha256).where(Artifact.job_id.in_(some))
        rows = session.execute(query).all()
    file = service.folder / "served"
    for url in service.urls:
        with Client(url) as client:
            for job_id, name, digest in rows:
                client.jobs.download(job_id, name, file)
                _require_equal(file, digest, f"{name} of {job_id} from {url}")
                file.unlink()


def _require_equal(file: Path, digest: str, what: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != digest:
        raise RuntimeError(f"{what} has the SHA-256 {found}, not {digest}")
