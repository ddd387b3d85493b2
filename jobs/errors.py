"""The errors of this package, in one tree. `api/http/problems.py` turns each into one HTTP problem."""

from __future__ import annotations


class JobsError(Exception):
    """Base of all errors of this package; the text is for the person who caused it."""


class NotFound(JobsError):
    def __init__(self, what: str, id: str, instead: str = "") -> None:
        super().__init__(f"There is no {what} {id!r}.{instead and f' {instead}'}")


class Conflict(JobsError):
    """The present state forbids the action."""


class IdempotencyMismatch(JobsError):
    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used with another body. Use a new key for a new request.")


class BadCursor(JobsError):
    def __init__(self, cursor: str) -> None:
        super().__init__(
            f"The cursor {cursor[:40]!r} does not belong to this list. "
            "Pass the `next` of a page of the same list with the same filters, or leave `after` out."
        )


class TooManyWords(JobsError):
    """A search has more words than one may have."""

    def __init__(self, words: int, most: int) -> None:
        super().__init__(f"A search has at most {most} words, this one has {words}.")


class QueueFull(JobsError):
    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} jobs are queued, the most that may be (ADDER_MAX_QUEUED_JOBS). "
            "Nothing was queued; try again once some of them have been taken."
        )


class QuotaExceeded(JobsError):
    """A project has reached one of its limits."""

    def __init__(self, limit: str, value: int, used: int, what: str) -> None:
        """`limit` is its name in a project's `limits`, `value` what it is, `used` what is in use or was asked for."""
        self.limit, self.value, self.used = limit, value, used
        self.passes = limit not in ("max_priority", "max_job_seconds", "max_sweep_jobs")
        """Whether the same may be asked for later; else it is too much by itself."""
        super().__init__(f"The project's {limit} is {value}, and {what}. Nothing was changed.")


class DatasetUnusable(JobsError):
    """A spec names a dataset that is not there, or not ready."""


class SpecUnreadable(JobsError):
    """What is stored as a job's spec is none of this version."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"The job's spec cannot be read: {pointer or 'it'} {reason}. Submit it again.")


class FenceLost(JobsError):
    """Somebody else owns the job: this attempt may write nothing more."""


class StoreError(JobsError):
    """The artifact store does not hold what it should."""


class StoreUnavailable(StoreError):
    """The artifact store could not be reached, tries and pauses included: nothing is wrong with what it holds."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f"The artifact store {store} cannot be reached: {reason}. "
            "Check that it runs, and the address and credentials this process was given (ADDER_ARTIFACTS_URL)."
        )


class StoreFull(StoreError):
    """The artifact store takes no more bytes; what it holds is intact and nothing half-written was left."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f"The artifact store {store} cannot be written: {reason}. "
            "Free space there, make it writable, or delete jobs that are no longer needed."
        )


class DatabaseTooNew(JobsError):
    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database is at revision {revision!r}, which this version does not know: it is newer than the code. "
            "Install the version that wrote it, or point ADDER_DATABASE_URL at another database."
        )


class DatabaseNotMigrated(JobsError):
    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, this version needs {wanted}. Run `python -m jobs.migrate`."
        )


class DatabaseNeedsBackup(JobsError):
    def __init__(self, found: str) -> None:
        super().__init__(
            f"The database is at revision {found}, which is older than this version, and Adderworks makes no copy of a "
            "PostgreSQL database. Save it (pg_dump --format=custom --file=adder.dump DATABASE), run `python -m "
            "jobs.migrate` with the same ADDER_DATABASE_URL, and start again. docs/upgrading.md has all steps."
        )
