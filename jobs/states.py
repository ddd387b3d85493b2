"""Statuses and the edges between them. ``docs/architecture.md`` draws them, and the tables constrain them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal, get_args

Phase = Literal["starting", "reading_data", "calibrating", "training", "validating", "measuring", "storing"]
"""What an attempt does just now, in their order."""
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL

    @property
    def owned(self) -> bool:
        """Whether an attempt holds a lease on the job."""
        return self in OWNED


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
OWNED = frozenset({Status.RUNNING, Status.PAUSING, Status.CANCELLING})

EDGES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.PAUSING, Status.CANCELLING, Status.QUEUED}),
    Status.PAUSING: frozenset({Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLING, Status.QUEUED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.CANCELLING: frozenset({Status.CANCELLED, Status.SUCCEEDED, Status.FAILED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}


class FailureCode(StrEnum):
    """Why a job failed. Only ``WORKER_LOST`` is retried: the job itself causes the others."""

    WORKER_LOST = "worker_lost"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    BAD_DATA = "bad_data"
    DIVERGED = "diverged"
    CODE_ERROR = "code_error"


class Cause(StrEnum):
    """Why an attempt ended. Only ``WORKER_LOST`` counts against ``limits.max_attempts``."""

    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    HANDED_BACK = "handed_back"
    """Its worker stopped or was drained."""
    DISK_FULL = "disk_full"
    """The job is paused until somebody has freed space."""
    STORE_LOST = "store_lost"
    """The artifact store could not be reached for too long; the job is paused."""
    WORKER_LOST = "worker_lost"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    BAD_DATA = "bad_data"
    DIVERGED = "diverged"
    CODE_ERROR = "code_error"


class Drain(StrEnum):
    """What a worker that is drained does with the jobs that it runs."""

    FINISH = "finish"
    HAND_OVER = "hand_over"


class DatasetStatus(StrEnum):
    """Status of a dataset that a user uploaded."""

    VALIDATING = "validating"
    READY = "ready"
    FAILED = "failed"


class SweepStatus(StrEnum):
    RUNNING = "running"
    CANCELLING = "cancelling"
    """No further trial starts, and the running ones are being cancelled."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


SWEEP_FINAL = frozenset({SweepStatus.SUCCEEDED, SweepStatus.FAILED, SweepStatus.CANCELLED})


class TrialStatus(StrEnum):
    WAITING = "waiting"
    """Its job is not submitted yet. The API also shows trials as waiting whose job is queued or paused."""
    RUNNING = "running"
    """Its job is submitted and has not ended."""
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    """Ended early because other trials did better at the same epoch."""
    FAILED = "failed"
    CANCELLED = "cancelled"


def shown_progress(status: Status, progress: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The stored progress of a job, with the phase of the attempt that runs; None where there is nothing to tell.

    Args:
        status: of the job. Only one that an attempt owns has a phase.
        progress: as the attempt has stored it; None until a job's first process speaks.
    """
    if status.owned:
        return {"phase": PHASES[0]} if progress is None else dict(progress)
    return None if progress is None else {name: value for name, value in progress.items() if name != "phase"}
