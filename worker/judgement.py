"""Decides how an attempt ended, from the training's last message and the way its process ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.access.scope import OwnTransaction
from jobs.repository import attempts
from jobs.states import Cause, FailureCode, Status
from jobs.tables import Job
from worker import protocol
from worker.memory import memory_bytes

KILLED_FROM_OUTSIDE = (1, 2, 9, 15)
"""Signals HUP, INT, KILL and TERM. If the worker did not send them, an operator or the system did."""
OUT_OF_MEMORY_WORDS = ("cannot allocate memory", "can't allocate memory", "std::bad_alloc", "memoryerror", "enomem")
GIB = 1024**3


@dataclass(frozen=True)
class Conclusion:
    """How an attempt ended. What users asked for meanwhile is taken into account later, under the job's lock
    (`apply`)."""

    result: dict[str, Any] | None = None
    """The job is done."""
    error: tuple[FailureCode, str] | None = None
    """`(code, sentence)`: the job itself caused the failure."""
    suspension: tuple[Cause, str] | None = None
    """`(cause, sentence)`: the job is paused until somebody has freed space or repaired the store."""
    fault: str | None = None
    """A sentence: something outside the job ended the attempt, and the job is tried again."""
    unstorable: bool = False
    """Whether the database refused the first conclusion; this one has the failure alone."""

    @property
    def hands_back(self) -> bool:
        """Whether the job resumes later, unless it is cancelled."""
        return self.result is None and self.error is None and self.fault is None

    def apply(self, session: OwnTransaction, job: Job, asked: Status, tail: str) -> Cause:
        """Ends the attempt of a *locked* job. Returns the cause that was recorded."""
        if self.result is not None:
            attempts.finish(session, job, Status.SUCCEEDED, "Succeeded.")
            return Cause.SUCCEEDED
        if asked is Status.CANCELLING:
            attempts.finish(session, job, Status.CANCELLED, "Cancelled; what was computed so far is kept.")
            return Cause.CANCELLED
        if self.error is not None:
            code, message = self.error
            attempts.finish(session, job, Status.FAILED, message, {"code": code, "message": message, "log_tail": tail})
            return Cause(code)
        if self.suspension is not None:
            attempts.suspend(session, job, *self.suspension)
            return self.suspension[0]
        if self.fault is not None:
            attempts.fault(session, job, self.fault, tail)
            return Cause.WORKER_LOST
        if asked is Status.PAUSING:
            attempts.hand_back(session, job, Status.PAUSED, "Paused.")
            return Cause.PAUSED
        attempts.hand_back(session, job, Status.QUEUED, "Handed back by a worker that leaves; queued again.")
        return Cause.HANDED_BACK


@dataclass(frozen=True)
class Ending:
    """What is known about a training whose process has ended."""

    attempt: int
    outcome: protocol.Outcome | None
    """Its last message."""
    returncode: int | None
    """Exit status; negative: the signal that ended it."""
    started: bool
    """Whether it has sent a message; torch is loaded by then."""
    stop_sent: bool
    timed_out: bool
    starved: bool
    """Whether it was killed because it had used up its memory limit and sent no message."""
    max_seconds: float | None
    out_of_memory: bool
    """Whether the kernel's OOM killer ended it or a process that it needs."""
    memory_gb: float | None
    """`resources.memory_gb` of the spec, in GiB."""
    tail: str
    """The end of its log."""
    protocol_error: str


def judge(ending: Ending) -> Conclusion:
    """Why the training ended."""
    outcome = ending.outcome
    if isinstance(outcome, protocol.Done):
        return Conclusion(result=outcome.result)
    if isinstance(outcome, protocol.Failed) and outcome.code is not FailureCode.WORKER_LOST:
        return Conclusion(error=(outcome.code, outcome.message))
    if ending.timed_out:
        said = f"The job ran longer than limits.max_seconds = {ending.max_seconds:g} s."
        return Conclusion(error=(FailureCode.TIMED_OUT, said))
    if ending.starved:
        return _crash(ending)
    if isinstance(outcome, protocol.Stopped) and outcome.reason == "disk_full":
        return Conclusion(suspension=(Cause.DISK_FULL, outcome.message))
    if isinstance(outcome, protocol.Stopped) or ending.stop_sent:
        return Conclusion()
    if ending.out_of_memory:
        return Conclusion(error=(FailureCode.OUT_OF_MEMORY, host_memory_advice(ending.memory_gb)))
    if isinstance(outcome, protocol.Failed):
        return Conclusion(fault=f"Attempt {ending.attempt} was lost: {outcome.message}")
    if ending.returncode is not None and -ending.returncode in KILLED_FROM_OUTSIDE:
        said = f"Attempt {ending.attempt} was lost: signal {-ending.returncode} ended the training process."
        return Conclusion(fault=said)
    return _crash(ending)


def host_memory_advice(memory_gb: float | None) -> str:
    wants = "" if memory_gb is None else f"; the job may use {memory_gb:g} (resources.memory_gb)"
    return (
        "The kernel ended the training because memory ran out: its worker and all that runs on it may use "
        f"{memory_bytes() / GIB:.1f} GiB{wants}. Use a smaller batch_size, name in resources.memory_gb what the job "
        "needs so that it goes where there is as much, or give the worker more memory or fewer slots."
    )


def _crash(ending: Ending) -> Conclusion:
    code = ending.returncode
    how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
    if ending.memory_gb is not None and (not ending.started or _names_memory(ending.tail)):
        # Under the limit even torch's import dies in many ways: by a signal, a missing thread, an unreadable library.
        said = (
            f"The training process ended with {how} under resources.memory_gb = {ending.memory_gb:g}, which is most "
            "likely too little (torch alone needs about 1). Raise it, or use a smaller batch_size."
        )
        return Conclusion(error=(FailureCode.OUT_OF_MEMORY, said))
    said = f" It said something unintelligible: {ending.protocol_error}." if ending.protocol_error else ""
    return Conclusion(error=(FailureCode.CODE_ERROR, f"The training process crashed with {how}.{said}"))


def _names_memory(text: str) -> bool:
    lower = text.lower()
    return any(words in lower for words in OUT_OF_MEMORY_WORDS)
