"""Everything this client raises on purpose, as one tree under :class:`AdderClientError`.

::

    AdderClientError
    ├── ConnectionFailed        nobody answered, or the connection broke for good
    ├── ApiError                the server answered with an error (RFC 9457 problem)
    │   ├── InvalidRequestError     400, 413, 415, 422
    │   ├── AuthenticationError     401, 403
    │   ├── NotFoundError           404, 410
    │   ├── ConflictError           409
    │   └── ServerError             5xx
    ├── JobFailed               the job that was waited for failed or was cancelled
    ├── SweepFailed             the sweep that was waited for has no trial that succeeded, or was cancelled
    ├── WaitTimeout             the job or sweep that was waited for did not end in time
    ├── BadId                   what is given as an id or a name can be none; also a ValueError
    ├── BadSpec                 a file that should hold a spec cannot be read, or holds none
    ├── WorkerBusy              the drained worker still ran jobs after the time given
    └── ChecksumMismatch        a download's bytes are not the ones that were published
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from adderclient.records import Job, Sweep, Worker


class AdderClientError(Exception):
    """Base of all errors of this package."""


class BadId(AdderClientError, ValueError):
    """What is given as an id or a name can be none, such as an empty text."""


class BadSpec(AdderClientError):
    """A file that should hold a job's or a sweep's spec cannot be read, or holds none."""


class ConnectionFailed(AdderClientError):
    """The server could not be reached, or the connection to it broke and stayed broken.

    Attributes:
        url: the server's address.
        reason: what went wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(
            f"cannot reach the Adderworks server at {url} ({reason}): is it running? "
            "Start it with `adder up` or set ADDER_URL."
        )


@dataclass(frozen=True)
class FieldError:
    """One bad field of a request body."""

    pointer: str
    """JSON pointer into the body, such as ``/optimizer/lr``."""
    detail: str
    """What is wrong with it."""

    def __str__(self) -> str:
        dotted = ".".join(part.replace("~1", "/").replace("~0", "~") for part in self.pointer.split("/")[1:])
        return f"{dotted}: {self.detail} ({self.pointer})" if dotted else self.detail


class ApiError(AdderClientError):
    """The server refused a request. The attributes are those of its ``application/problem+json`` body (RFC 9457).

    Attributes:
        status: the HTTP status.
        code: the kind of problem, such as ``not_found``.
        title: the kind of problem in words.
        detail: what is wrong with this request.
        errors: each bad field of the body.
    """

    def __init__(
        self,
        status: int,
        code: str = "",
        title: str = "",
        detail: str = "",
        errors: tuple[FieldError, ...] = (),
    ) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = errors
        super().__init__(status, code, title, detail, errors)

    def __str__(self) -> str:
        said = self.detail or self.title or f"the server answered {self.status}"
        if not self.errors:
            return said
        return "\n".join(str(error) for error in self.errors)

    @staticmethod
    def from_response(status: int, reason: str, body: bytes) -> ApiError:
        """The right subclass for a status, filled from a problem document where the body is one."""
        problem = _problem(body)
        errors = problem.get("errors")
        return _class_for(status)(
            status,
            code=str(problem.get("code") or ""),
            title=str(problem.get("title") or reason or f"HTTP {status}"),
            detail=_detail(problem, status, body),
            errors=tuple(
                FieldError(str(error.get("pointer", "")), str(error.get("detail", "")))
                for error in (errors if isinstance(errors, list) else [])
                if isinstance(error, Mapping)
            ),
        )


class InvalidRequestError(ApiError):
    """The request is wrong (a bad spec, an unknown field, a broken file): sending it again will not help."""


class AuthenticationError(ApiError):
    """The API key is missing, or may not do this."""


class NotFoundError(ApiError):
    """There is no such job, model, dataset, artifact, …."""

    @classmethod
    def named(cls, owner: str, kind: str, name: str, there: Iterable[str]) -> Self:
        """The error for a part of ``owner`` that is not there; it says which parts are."""
        names = ", ".join(sorted(there)) or "none yet"
        return cls(404, title="Not Found", detail=f"{owner} has no {kind} {name!r}; it has: {names}")


class ConflictError(ApiError):
    """The state of the job, sweep or dataset forbids the request."""


class ServerError(ApiError):
    """The server failed, or one of its parts is not there."""


class JobFailed(AdderClientError):
    """A job that was waited for ended as ``failed`` or ``cancelled``.

    Attributes:
        job: the ended job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        cause = f": {job.error.message} ({job.error.code})" if job.error else ""
        super().__init__(f"{job.id} {'was cancelled' if job.status == 'cancelled' else 'failed'}{cause}")


class SweepFailed(AdderClientError):
    """A sweep that was waited for ended as ``failed`` or ``cancelled``.

    Attributes:
        sweep: the ended sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        cause = f": {sweep.message}" if sweep.message else ""
        super().__init__(f"{sweep.id} {'was cancelled' if sweep.status == 'cancelled' else 'failed'}{cause}")


class WaitTimeout(AdderClientError):
    """A job or a sweep did not end in the time given; it goes on by itself.

    Attributes:
        job: the job or the sweep as it was last seen.
    """

    def __init__(self, job: Job | Sweep, seconds: float) -> None:
        self.job = job
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} s; it goes on by itself")


class WorkerBusy(AdderClientError):
    """A drained worker still ran jobs after the time given; it goes on draining.

    Attributes:
        worker: the worker as it was last seen.
    """

    def __init__(self, worker: Worker, seconds: float) -> None:
        self.worker = worker
        super().__init__(f"{worker.id} still runs {worker.running} jobs after {seconds:g} s; it goes on draining")


class ChecksumMismatch(AdderClientError):
    """Downloaded bytes do not have the published sha256. The partial file has been deleted.

    Attributes:
        path: where the file would lie.
        expected: the published sha256.
        actual: the sha256 of the bytes.
    """

    def __init__(self, path: Path, expected: str, actual: str) -> None:
        self.path = path
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"{path.name}: sha256 is {actual}, published was {expected}; "
            "the partial file was deleted, run the download again"
        )


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, Mapping) else {}


def _detail(problem: Mapping[str, Any], status: int, body: bytes) -> str:
    detail = problem.get("detail")
    if isinstance(detail, str):
        return detail
    if problem:
        return json.dumps(detail) if detail else ""
    text = body[:200].decode("utf-8", "replace").strip()
    return f"HTTP {status}: {text}" if text else ""


def _class_for(status: int) -> type[ApiError]:
    if status in (401, 403):
        return AuthenticationError
    if status in (404, 410):
        return NotFoundError
    if status == 409:
        return ConflictError
    if status in (400, 405, 413, 415, 422):
        return InvalidRequestError
    return ServerError if status >= 500 else ApiError
