"""Exit codes: what a script may rely on."""

from __future__ import annotations

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
from adderclient.up.folder import UpError

OK = 0
JOB_FAILED = 1
USAGE = 2
NOT_FOUND = 3
SERVER = 4
INTERRUPTED = 130

HELP = (
    "Exit codes: 0 done; 1 the job failed or was cancelled; 2 wrong usage or a spec the server refuses; "
    "3 no such thing, or its state forbids it; 4 the server cannot be reached or failed; 130 interrupted."
)


class UsageError(AdderClientError):
    """Something on the command line, or in a file it names, is wrong."""


def exit_code_for(error: AdderClientError | UpError) -> int:
    """The exit code of the command for an error that ended it."""
    if isinstance(error, UpError):
        return error.exit_code
    if isinstance(error, JobFailed | SweepFailed):
        return JOB_FAILED
    if isinstance(error, NotFoundError | ConflictError | WorkerBusy):
        return NOT_FOUND
    if isinstance(error, ConnectionFailed | ServerError | ChecksumMismatch):
        return SERVER
    return USAGE
