"""`python -m tests.support.unfenced_worker`: the worker without its fence, to see that the fleet test can fail."""

from __future__ import annotations

import sys

from sqlalchemy.orm import Session

from jobs.repository import attempts
from jobs.repository.attempts import Claim
from jobs.repository.core import lock_job
from jobs.states import Status
from jobs.tables import Job
from worker.__main__ import main


def lock_without_fence(session: Session, claim: Claim, lease_ms: int) -> Job:
    return lock_job(session, claim.job_id)


def status_without_fence(session: Session, claim: Claim) -> Status:
    return Status(session.get_one(Job, claim.job_id).status)


def remove_fence() -> None:
    attempts.lock = lock_without_fence
    attempts.status = status_without_fence


if __name__ == "__main__":
    remove_fence()
    sys.exit(main())
