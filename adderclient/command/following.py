"""Submits a job, and follows it where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adderclient.client import Client
from adderclient.command import copied
from adderclient.command.follow import watch_to_end
from adderclient.command.submitting import submitted
from adderclient.records import Job


def submit_job(
    client: Client, spec: Mapping[str, Any], idempotency_key: str | None, watch: bool, as_json: bool
) -> None:
    """Submits a spec; its id, or the job as JSON, goes to stdout."""
    follow_job(client, client.jobs.submit(spec, idempotency_key), watch, as_json)


def follow_job(client: Client, job: Job, watch: bool, as_json: bool, about: str = "") -> None:
    """Prints the id of a new job, or the job as JSON, and goes on to its end where ``watch`` asks for it.

    ``about`` is said of it beside its status.
    """
    follow = (lambda: watch_to_end(client, job.id, as_json)) if watch else None
    submitted(job, as_json, follow, f"{job.status}{about}; follow it with: {copied.adder('watch', job.id)}")
