"""Every error of the API as RFC 9457 problem details: one exception and one table of codes.

A problem is `{type, title, status, detail, code}`; `errors` lists bad fields as `{pointer, detail}`. A pointer goes
into the body (`/optimizer/lr`); parameters stand under `/query/…` and `/header/…`. A problem repeats of what was sent
names of fields and short values, no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import exc as sql
from starlette.exceptions import HTTPException

from addercore.config import explain
from addercore.config.schema import Source
from jobs import errors as jobs
from jobs.database import database_away
from jobs.documents import Unreadable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
QUEUE_RETRY_SECONDS = 10
MAX_ERRORS = 50
MAX_DETAIL = 1000
"""Characters of a sentence that may carry parts of the request, such as a field's name."""


@dataclass(frozen=True)
class Kind:
    """A code of the table: its HTTP status, its title, and what a client can do about it."""

    status: int
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "Bad request", "Send valid HTTP."),
    "bad_json": Kind(400, "The body is not JSON", "Send UTF-8 JSON; NaN and Infinity are not JSON."),
    "unauthorized": Kind(401, "A key is needed", "Send a valid key as Authorization: Bearer adw_…"),
    "forbidden": Kind(403, "The role does not allow it", "Use a key of the role that the detail names."),
    "foreign_origin": Kind(403, "Another site's request", "Pages of other sites may not change anything here."),
    "not_found": Kind(404, "Not found", "Check the id or the path."),
    "method_not_allowed": Kind(405, "Method not allowed", "Use a method of the Allow header."),
    "not_acceptable": Kind(406, "Not acceptable", "Ask for a media type that the call offers."),
    "request_timeout": Kind(408, "The request came too slowly", "Send it again, faster."),
    "conflict": Kind(409, "The state forbids it", "Read the detail; wait for another state or choose another call."),
    "body_too_large": Kind(413, "The body is too large", "Send less, or raise the server's limit."),
    "unsupported_media_type": Kind(415, "Unsupported media type", "Set the Content-Type that the call takes."),
    "range_not_satisfiable": Kind(416, "Range not satisfiable", "Content-Range of the answer says the size."),
    "unknown_host": Kind(421, "Unknown host name", "Use localhost, or name the host in ADDER_ALLOWED_HOSTS."),
    "invalid": Kind(422, "The request is invalid", "Correct the fields listed in errors."),
    "idempotency_mismatch": Kind(422, "Idempotency-Key used before", "Use a new key for a new request."),
    "bad_cursor": Kind(422, "The cursor does not fit", "Start the list again without after."),
    "bad_model": Kind(422, "Not a model of addercore", "Send a model.safetensors as it was downloaded."),
    "bad_image": Kind(422, "Not an image the model takes", "Read the detail."),
    "too_costly": Kind(
        422, "The model costs too much here", "Use smaller images, or raise ADDER_MAX_PREDICT_OPERATIONS or …_BYTES."
    ),
    "client_limit": Kind(429, "Too much at once from one client", "Try again after Retry-After seconds, with less."),
    "quota_exceeded": Kind(429, "A limit of the project", "Wait until less is in use, or ask an operator for more."),
    "rate_limited": Kind(429, "Too many requests", "Try again after Retry-After seconds."),
    "queue_full": Kind(
        429, "The queue is full", "Try again after Retry-After seconds, or raise ADDER_MAX_QUEUED_JOBS."
    ),
    "head_too_long": Kind(431, "The request's head is too long", "Send shorter header fields and a shorter address."),
    "internal": Kind(500, "Internal error", "Report the id; the server's log has the cause under it."),
    "stored_file_missing": Kind(500, "A stored file is missing", "Restore the artifact store from its backup."),
    "busy": Kind(503, "Too much at once", "Try again after Retry-After seconds."),
    "database_unavailable": Kind(503, "The database is away", "Try again after Retry-After seconds."),
    "store_unavailable": Kind(503, "The artifact store is away", "Try again after Retry-After seconds."),
    "too_many_streams": Kind(503, "Too many open streams", "Close one, or raise ADDER_MAX_STREAMS."),
    "inference_unavailable": Kind(503, "No prediction now", "Try again later; see /readyz."),
    "store_full": Kind(507, "The artifact store is full", "Delete jobs or models, or give the server more space."),
}


@dataclass
class Problem(Exception):
    """Raise this anywhere in a request."""

    code: str
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return KINDS[self.code].status

    def body(self, prefix: str = "") -> dict[str, Any]:
        """The document. `prefix` stands before the paths of the service (ADDER_PATH_PREFIX)."""
        kind = KINDS[self.code]
        document: dict[str, Any] = {
            "type": f"{prefix}/docs#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": shorten(self.detail),
            "code": self.code,
            **self.extra,
        }
        if self.errors:
            found = [{"pointer": shorten(p), "detail": shorten(d)} for p, d in self.errors[:MAX_ERRORS]]
            document["errors"] = found
        return document

    def response(self, prefix: str = "") -> Response:
        headers = dict(self.headers)
        if self.status in (429, 503) and self.code != "quota_exceeded":  # it helps nobody to try that again
            headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        # Own bytes, ASCII only: a lone surrogate of somebody's field name cannot be written as UTF-8.
        return Response(json.dumps(self.body(prefix)).encode(), self.status, headers, media_type=MEDIA_TYPE)


def invalid(errors: Iterable[tuple[str, str]]) -> Problem:
    """A 422 that names bad fields as (pointer, sentence)."""
    found = list(errors)
    count = "1 field is" if len(found) == 1 else f"{len(found)} fields are"
    return Problem("invalid", f"{count} not valid: " + "; ".join(f"{p or 'body'}: {d}" for p, d in found[:3]), found)


Body = TypeVar("Body", bound=BaseModel)
BODY_ERRORS: Final = ("bad_json", "body_too_large", "unsupported_media_type", "invalid")
"""What every call may answer that takes a JSON body."""


def validated(kind: type[Body], document: object) -> Body:
    """A JSON body as what it must be. Raises Problem (422) with each bad field."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise invalid(bad_fields(error, kind)) from None


def shorten(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def bad_fields(error: ValidationError | RequestValidationError, of: Source | None = None) -> list[tuple[str, str]]:
    """(pointer, sentence) of each bad field.

    Args:
        error: what pydantic or FastAPI found.
        of: what a body was validated as; the sentences then list known fields and bounds.
    """
    items = error if isinstance(error, ValidationError) else error.errors()
    return [(one.pointer, one.reason) for one in explain(items, of, json.dumps)]


def as_problem(error: Exception) -> Problem | None:
    """The problem that a known exception is; None for one that nobody expected."""
    match error:
        case Problem():
            return error
        case jobs.TooManyWords():
            return invalid([("/query/q", str(error))])
        case jobs.NotFound():
            return Problem("not_found", str(error))
        case Unreadable():
            return Problem("conflict", f"What is stored of it cannot be read: {error}. Delete it.")
        case jobs.QuotaExceeded():
            extra = {"limit": error.limit, "value": error.value, "used": error.used}
            return Problem("quota_exceeded", str(error), extra=extra)
        case jobs.Conflict():
            return Problem("conflict", str(error))
        case jobs.IdempotencyMismatch():
            return Problem("idempotency_mismatch", str(error), [("/header/Idempotency-Key", str(error))])
        case jobs.BadCursor():
            return Problem("bad_cursor", str(error), [("/query/after", str(error))])
        case jobs.StoreUnavailable():
            return Problem("store_unavailable", "The artifact store does not answer. Nothing was changed; try again.")
        case jobs.StoreFull():
            room = "make room in it (ADDER_DATA_DIR or ADDER_ARTIFACTS_URL)"
            return Problem("store_full", f"The artifact store takes no more bytes. Nothing was changed; {room}.")
        case jobs.QueueFull():
            return Problem("queue_full", str(error), headers={"Retry-After": str(QUEUE_RETRY_SECONDS)})
        case jobs.StoreError():
            return Problem("stored_file_missing", str(error))
        case RequestValidationError():
            return invalid(bad_fields(error))
        case sql.SQLAlchemyError() if database_away(error):
            return Problem("database_unavailable", "The database does not answer. Nothing was changed; try again.")
        case HTTPException():
            return _of_http(error)
    return None


def _of_http(error: HTTPException) -> Problem:
    if error.status_code == 404:
        return Problem("not_found", "There is nothing at this path. /docs lists all calls.")
    if error.status_code == 405:
        headers = error.headers or {}
        taken = headers.get("Allow", "other methods")
        return Problem("method_not_allowed", f"This path takes {taken}, and not this method.", headers=headers)
    return Problem("bad_request", "The request cannot be understood.")


KNOWN: tuple[type[Exception], ...] = (
    Problem,
    jobs.JobsError,
    Unreadable,
    RequestValidationError,
    sql.SQLAlchemyError,
    HTTPException,
)


class FieldProblem(BaseModel):
    """One bad field."""

    pointer: str = Field(description="JSON pointer into the body; parameters stand under `/query/` and `/header/`.")
    detail: str


class ProblemDetails(BaseModel):
    """An error, RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where the code is explained, relative to the server.")
    title: str
    status: int
    detail: str = Field(description="What is wrong this time, and what to do about it.")
    code: str = Field(description="Stable name of the problem.", json_schema_extra={"enum": list(KINDS)})
    errors: list[FieldProblem] | None = Field(None, description="The bad fields, where there are any.")
    id: str | None = Field(None, description="Of an internal error: what to look for in the server's log.")


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: these problems, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = KINDS[code]
        entry = responses.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": {}}},
            },
        )
        if kind.status in (429, 503) and code != "quota_exceeded":
            entry["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
        entry["content"][MEDIA_TYPE]["examples"][code] = {"value": Problem(code, kind.remedy).body()}
    return responses
