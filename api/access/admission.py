"""Lets a request in: who sends it, in which project it acts, and whether its role may do what it asks for."""

from __future__ import annotations

import math
from typing import Annotated, Final, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Query, Request

from api.access.acting import ADMITTED, Acting, Caller
from api.access.operations import OPEN, ROWS, operation
from api.http.problems import Problem
from api.http.shares import client_of
from api.service import Service
from jobs.access import projects
from jobs.access.keys import BadKey, Identity
from jobs.access.roles import Role
from jobs.access.scope import DEFAULT, DEFAULT_ID, SERVICE, Project
from jobs.errors import NotFound

REQUEST_ID: Final = "adder.request"
"""Key of the ASGI scope with the id of the request."""
COOKIE: Final = "adder_session"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HOW: Final = {"WWW-Authenticate": 'Bearer realm="adderworks"'}
NO_KEY: Final = "This call needs a key: send it as Authorization: Bearer adw_…"

ActsIn = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern=r"^[^\x00]*$",
        description="The project in which the call acts, by its id or name: for operators. Others have their key's.",
    ),
]


async def guard(request: Request, project: ActsIn = None) -> None:
    """Stands before every route: nobody passes whom the table of operations does not let in."""
    if required(request) is not OPEN:
        await admit(request, project)


async def admit(request: Request, project: ActsIn = None) -> Acting:
    """The service for whoever sent the request.

    Raises:
        Problem: 401 without a valid key, 403 for a role that is too low or a foreign page, 404 for a project that is
            not the caller's, 429 for too many requests.
    """
    kept = request.scope.get(ADMITTED)
    if kept is not None:
        return cast(Acting, kept)
    service = cast(Service, request.app.state.service)
    needed = required(request)
    if service.settings.needs_keys:
        identity = await identified(service, request)
        _within_rate(service, identity)
        role, named = identity.role, (identity.project, identity.project_name)
    else:
        identity, role, named = None, Role.OPERATOR, (DEFAULT, DEFAULT_ID)
    if needed is None or not role.includes(needed):
        raise Problem(
            "forbidden",
            f"Your key's role is {role}; this call needs {needed or 'what nobody has'}.",
            extra={"role": role, "role_needed": needed},
        )
    if project is not None:
        named = await _chosen(service, role, named, project)
    acting = Acting(service, _caller(request, named, role, identity))
    request.scope[ADMITTED] = acting
    return acting


def required(request: Request) -> Role | None:
    """The role that a request needs; None: no key at all.

    Raises:
        Problem: 403 for a call that the table does not have.
    """
    name = operation(request.method, request.scope["route"].path)
    if name not in ROWS:
        raise Problem("forbidden", f"{name} is not in the table of operations.")
    return ROWS[name]


async def identified(service: Service, request: Request) -> Identity:
    """Whose request it is. Raises Problem (401) where that is nobody."""
    header = request.headers.get("authorization")
    try:
        if header is not None:
            scheme, _, text = header.partition(" ")
            if scheme.lower() != "bearer":
                raise BadKey("Authorization must be: Bearer adw_…")
            return await service.keyring.of_key(text.strip())
        token = request.cookies.get(COOKIE)
        if not token:
            raise BadKey(NO_KEY)
        identity = await service.keyring.of_browser(token)
    except BadKey as error:
        raise Problem("unauthorized", str(error), headers=HOW) from None
    # Another site's page can have a browser send its cookie. The middleware compares an Origin; here one is needed.
    if request.method not in SAFE and "origin" not in request.headers:
        raise Problem("foreign_origin", "A signed-in browser names the page that asks (Origin); this request does not.")
    return identity


def _within_rate(service: Service, identity: Identity) -> None:
    if identity.requests_per_minute is None:
        return
    wait = service.rates.take(identity.key_id, identity.requests_per_minute)
    if wait:
        detail = f"The key may send {identity.requests_per_minute} requests a minute."
        raise Problem("rate_limited", detail, headers={"Retry-After": str(math.ceil(wait))})


async def _chosen(service: Service, role: Role, own: tuple[Project, str], wanted: str) -> tuple[Project, str]:
    """The project that a request names. Only operators have any but their own."""
    if wanted in (own[0].id, own[1]):
        return own
    if role is not Role.OPERATOR:
        raise NotFound("project", wanted)
    return await run_sync(_find, service, wanted)


def _find(service: Service, wanted: str) -> tuple[Project, str]:
    with service.database.read(SERVICE) as session:
        row = projects.find(session, wanted)
        return projects.scope_of(row), row.name


def _caller(request: Request, project: tuple[Project, str], role: Role, identity: Identity | None) -> Caller:
    path = dict(request.path_params)
    object_id = path.pop("id", None)
    return Caller(
        project=project[0],
        project_name=project[1],
        role=role,
        key_id=None if identity is None else identity.key_id,
        key_name=None if identity is None else identity.key_name,
        max_streams=None if identity is None else identity.max_streams,
        request_id=str(request.scope.get(REQUEST_ID, "")),
        address=client_of(request),
        action=operation(request.method, request.scope["route"].path),
        object_id=None if object_id is None else str(object_id),
    )


ServiceDep = Annotated[Acting, Depends(admit)]
"""The service as the request has it."""


async def maybe_operator(request: Request) -> bool:
    """Whether the details of an open call may be told: to operators, and to all where no keys are needed."""
    service = cast(Service, request.app.state.service)
    if not service.settings.needs_keys:
        return True
    try:
        return (await identified(service, request)).role is Role.OPERATOR
    except Problem:
        return False
