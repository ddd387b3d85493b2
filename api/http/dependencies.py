"""Dependencies of the routes: the service, path and query parameters, and the check that a query is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Depends, Header, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import Field
from structlog.contextvars import bind_contextvars

from addercore.config.fields import Form
from addercore.config.schema import nearest
from api.access.acting import Acting
from api.access.admission import ServiceDep as ServiceDep
from api.http.bodies import read_json
from api.http.problems import invalid
from jobs.errors import NotFound
from jobs.ids import ID_PATTERN
from jobs.repository import keeping

MAX_SEQ = 2**63 - 1
HEAD = "adder.head"
"""Key of the ASGI scope that marks a HEAD request. Routes see it as a GET; the middleware drops the body."""


def known_id(what: str, value: str) -> str:
    """Returns `value` where it looks like an id, and raises NotFound otherwise.

    The database is not asked for anything else: PostgreSQL, for one, refuses strings with NUL.
    """
    if not ID_PATTERN.match(value):
        raise NotFound(what, value[:60])
    return value


async def job_id(
    id: Annotated[str, Path(description="Id of a job.", examples=["job_01jv3m8z4k6wq0x9t2rhf5ybcd"])],
) -> str:
    bind_contextvars(job=known_id("job", id))
    return id


async def model_id(
    service: ServiceDep,
    id: Annotated[str, Path(description="Id of a model, or an alias.", examples=["model_01jv3m8z4k6wq0x9t2rhf5ybcd"])],
) -> str:
    return id if ID_PATTERN.match(id) else await run_sync(_aliased, service, id)


def _aliased(service: Acting, alias: str) -> str:
    if not keeping.is_alias(alias):
        raise NotFound("model", alias[:60])
    with service.database.read() as session:
        return keeping.model_id_of(session, alias)


async def sweep_id(
    id: Annotated[str, Path(description="Id of a sweep.", examples=["sweep_01jv3m8z4k6wq0x9t2rhf5ybcd"])],
) -> str:
    return known_id("sweep", id)


JobId = Annotated[str, Depends(job_id)]
ModelId = Annotated[str, Depends(model_id)]
SweepId = Annotated[str, Depends(sweep_id)]


async def _document(request: Request, service: ServiceDep) -> Any:
    return await read_json(request, service.settings.max_body_bytes)


Document = Annotated[Any, Depends(_document)]
"""The request's JSON body, parsed and not validated."""
IdempotencyKey = Annotated[
    Annotated[
        str,
        Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$"),
        Form("1 to 255 visible ASCII characters"),
    ]
    | None,
    Header(
        description="A key that the client chooses, 1 to 255 visible ASCII characters. A repeated request with the "
        "same key and body gets what the first one made (draft-ietf-httpapi-idempotency-key-header).",
    ),
]

Limit = Annotated[int, Query(ge=1, le=100, description="Rows on a page, 1 to 100.")]
After = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; the first page without it.")
]
AfterSeq = Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only rows with a greater `seq`.")]


_query_names: dict[Callable[..., Any], frozenset[str]] = {}
"""Names of the query parameters by endpoint, collected at the first call of each."""


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


async def known_query(request: Request) -> None:
    """Refuses query parameters that the route does not have, so that a misspelt filter does not list everything."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = _query_names.setdefault(route.endpoint, frozenset(_names(route.dependant)))
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        may = f"known: {', '.join(sorted(known))}" if known else "this call takes none"
        raise invalid((f"/query/{name}", _no_parameter(name, sorted(known), may)) for name in unknown)


def _no_parameter(name: str, known: list[str], may: str) -> str:
    meant = nearest(name, known)
    asked = "" if meant is None else f" (did you mean {meant}?)"
    return f"is not a parameter of this call{asked}; {may}"


def is_head(request: Request) -> bool:
    """Whether the client sent HEAD: it gets the headers of the GET and no body."""
    return bool(request.scope.get(HEAD, False))
