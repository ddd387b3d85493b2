"""The exit codes of the command, on which scripts may rely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adderclient.errors import (
    AdderClientError,
    ChecksumMismatch,
    ConflictError,
    ConnectionFailed,
    JobFailed,
    NotFoundError,
    ServerError,
    SweepFailed,
    WorkerBusy,
)

OK = 0
JOB_FAILED = 1
USAGE = 2
NOT_FOUND = 3
SERVER = 4
WAITS = 5
INTERRUPTED = 130

HELP = (
    "Exit codes: 0 done; 1 the job failed or was cancelled; 2 wrong usage or a spec the server refuses; "
    "3 no such thing, or its state forbids it; 4 the server cannot be reached or failed; "
    "5 what was watched is paused, or no worker can run it; 130 interrupted."
)


class CommandError(AdderClientError):
    """Ends the command with a sentence and an exit code."""

    def __init__(self, message: str, exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    """The command line, or a file that it names, is wrong."""


NOT_OURS = "the server answers something else than this command expects: is it an Adderworks server?"


@contextmanager
def reading() -> Iterator[None]:
    """Says so where an answer of the server has not the form that is read here."""
    try:
        yield
    except (AttributeError, LookupError, TypeError) as error:
        raise CommandError(NOT_OURS, SERVER) from error


def exit_code_for(error: AdderClientError) -> int:
    """The exit code of the command for an error that ended it."""
    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, JobFailed | SweepFailed):
        return JOB_FAILED
    if isinstance(error, NotFoundError | ConflictError | WorkerBusy):
        return NOT_FOUND
    if isinstance(error, ConnectionFailed | ServerError | ChecksumMismatch):
        return SERVER
    return USAGE
