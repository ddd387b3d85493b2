"""What routes ask for: the service, ids that look like ids, parameters that exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from structlog.contextvars import bind_contextvars

from api.http.bodies import read_json
from api.http.problems import invalid
from api.service import Service
from jobs.errors import NotFound
from jobs.ids import ID_PATTERN

MAX_SEQ = 2**63 - 1
HEAD = "adder.head"
"""Key of the ASGI scope: a HEAD request that is answered as a GET without its body."""


async def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(service_of)]


def known_id(what: str, value: str) -> str:
    """Not even asked of the database unless it looks like an id: PostgreSQL refuses NUL, for one."""
    if not ID_PATTERN.match(value):
        raise NotFound(what, value[:60])
    return value


async def job_id(
    id: Annotated[str, Path(description="Id of a job.", examples=["job_01jv3m8z4k6wq0x9t2rhf5ybcd"])],
) -> str:
    bind_contextvars(job=known_id("job", id))
    return id


async def model_id(
    id: Annotated[str, Path(description="Id of a model.", examples=["model_01jv3m8z4k6wq0x9t2rhf5ybcd"])],
) -> str:
    return known_id("model", id)


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
"""The request's JSON body, parsed and not looked at."""
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body gives back what the first request made.",
    ),
]

Limit = Annotated[int, Query(ge=1, le=100, description="Rows of a page.")]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]
AfterSeq = Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only rows with a greater `seq`.")]


_query_names: dict[Callable[..., Any], frozenset[str]] = {}
"""Query parameters by endpoint, found once."""


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


async def known_query(request: Request) -> None:
    """Refuses query parameters that the route does not have: a misspelt filter must not list everything."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = _query_names.setdefault(route.endpoint, frozenset(_names(route.dependant)))
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        may = f"known: {', '.join(sorted(known))}" if known else "this call takes none"
        raise invalid((f"/query/{name}", f"is not a parameter of this call; {may}") for name in unknown)


def is_head(request: Request) -> bool:
    return bool(request.scope.get(HEAD, False))
