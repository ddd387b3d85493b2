"""`/v1/me`, `/v1/keys`, `/v1/projects` and `/v1/audit`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from addercore.config.fields import Form
from api.access.schemas import (
    AuditEntry,
    DayUsage,
    Key,
    KeyOrder,
    Me,
    NewKey,
    Project,
    ProjectChange,
    ProjectOrder,
    ProjectUsage,
)
from api.access.summary import me
from api.http.bodies import NO_BODY, json_response
from api.http.dependencies import After, Document, Limit, ServiceDep, known_id, known_query
from api.http.documents import json_body, location
from api.http.problems import BODY_ERRORS, Problem, documented, invalid, validated
from api.schemas import Page
from jobs.access import accounting, audit, keys, limits, projects
from jobs.access.roles import Role
from jobs.access.scope import Project as Scope
from jobs.errors import NotFound
from jobs.repository.core import now

router = APIRouter(prefix="/v1", tags=["access"], dependencies=[Depends(known_query)])

MOST_DAYS = 400
EPOCH = date(1970, 1, 1).toordinal()

KeyId = Annotated[str, Path(max_length=60, description="Id of a key.", examples=["key_01jv3m8z4k6wq0x9t2rhf5ybcd"])]
ProjectRef = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^[^\x00]*$",
        description="Id or name of a project.",
        examples=["project_01jv3m8z4k6wq0x9t2rhf5ybcd", "vision"],
    ),
]
Day = Annotated[str, Field(pattern=r"^[12][0-9]{3}-[01][0-9]-[0-3][0-9]$"), Form("a day such as 2026-01-31")]


@router.get("/me", response_model=Me, summary="Who am I?")
def show_me(service: ServiceDep) -> Me:
    """Returns the key that asks, its project and role, the project's limits and what it uses now.

    With authentication off it is the project `default` and the role `operator`.

    Errors: none of its own.
    """
    return me(service)


# Keys


@router.post(
    "/keys",
    status_code=201,
    response_model=NewKey,
    summary="Make a key",
    openapi_extra=json_body(
        {"$ref": "#/components/schemas/KeyOrder"},
        {"a colleague's": {"name": "ann", "role": "member", "expires_at": "2027-01-01T00:00:00Z"}},
    ),
    responses={201: location("key"), **documented(*BODY_ERRORS)},
)
def make_key(service: ServiceDep, response: Response, document: Document) -> NewKey:
    """Makes a key of the project. The answer has the key itself, this once: only a hash of its secret is stored.

    A key may do at most what the key may that makes it.

    Errors: 400 `bad_json`; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a pointer to each bad
    field (RFC 6901), also for a role above one's own.
    """
    order = validated(KeyOrder, document)
    if not service.caller.role.includes(order.role):
        raise invalid([("/role", f"must be at most {service.caller.role}, the role of the key that makes it")])
    with service.database.write() as session:
        limits.enter(session)
        row, text = keys.create(session, order.name, order.role, order.expires_ms, by=service.caller.key_id)
        audit.about(session, row.id, f"{row.role}: {row.name}")
        session.refresh(row)
    response.headers["Location"] = f"/v1/keys/{row.id}"
    return NewKey.made(row, text)


@router.get("/keys", response_model=Page[Key], summary="List keys", responses=documented("bad_cursor"))
def list_keys(service: ServiceDep, limit: Limit = 20, after: After = None) -> Response:
    """Returns the keys of the project, newest first, those too that have ended. None shows its secret.

    Errors: 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        found = keys.list_keys(session, limit=limit, after=after)
    return json_response(Page[Key].of([Key.of(row) for row in found.rows], found.next))


@router.delete("/keys/{id}", status_code=204, summary="Revoke a key", responses=documented("not_found", "forbidden"))
def revoke_key(service: ServiceDep, id: KeyId) -> None:
    """Ends a key: within two seconds it opens nothing any more, and its open streams end. Idempotent.

    Errors: 404 `not_found` for an unknown key; 403 `forbidden` for one whose role is above one's own.
    """
    with service.database.write() as session:
        row = keys.get(session, known_id("key", id))
        _require_above(service.caller.role, Role(row.role))
        keys.revoke(session, id)


def _require_above(mine: Role, its: Role) -> None:
    if not mine.includes(its):
        raise Problem("forbidden", f"The key's role is {its}; this needs {its} too.", extra={"role_needed": its})


@router.post(
    "/keys/{id}/rotate",
    status_code=201,
    response_model=NewKey,
    summary="Rotate a key",
    dependencies=NO_BODY,
    responses={201: location("key"), **documented("not_found", "forbidden", "conflict", "invalid")},
)
def rotate_key(
    service: ServiceDep,
    response: Response,
    id: KeyId,
    keep_seconds: Annotated[
        int, Query(ge=0, le=30 * 86_400, description="How long the old key stays valid; a day by default.")
    ] = keys.ROTATION_SECONDS,
) -> NewKey:
    """Makes a key in the place of another one: with its name, role and end. The old one stays valid for a while.

    Errors: 404 `not_found` for an unknown key; 403 `forbidden` for one whose role is above one's own; 409 `conflict`
    for one that has ended or was rotated before.
    """
    with service.database.write() as session:
        limits.enter(session)
        _require_above(service.caller.role, Role(keys.get(session, known_id("key", id)).role))
        row, text = keys.rotate(session, id, keep_seconds, by=service.caller.key_id)
        audit.about(session, id, f"replaced by {row.id}")
        session.refresh(row)
    response.headers["Location"] = f"/v1/keys/{row.id}"
    return NewKey.made(row, text)


# Projects


@router.post(
    "/projects",
    status_code=201,
    response_model=Project,
    summary="Make a project",
    openapi_extra=json_body(
        {"$ref": "#/components/schemas/ProjectOrder"},
        {"a small one": {"name": "vision", "limits": {"max_queued_jobs": 100, "max_running_jobs": 2}}},
    ),
    responses={201: location("project"), **documented(*BODY_ERRORS, "conflict")},
)
def make_project(service: ServiceDep, response: Response, document: Document) -> Project:
    """Makes a project: jobs, models, datasets and keys that belong together and that no other project sees.

    Errors: 400 `bad_json`; 409 `conflict` for a name that another project has; 413 `body_too_large`; 415
    `unsupported_media_type`; 422 `invalid` with a pointer to each bad field (RFC 6901).
    """
    order = validated(ProjectOrder, document)
    with service.write_all() as session:
        row = projects.create(session, order.name, order.limits)
        audit.about(session, row.id, row.name)
    response.headers["Location"] = f"/v1/projects/{row.id}"
    return Project.of(row)


@router.get("/projects", response_model=Page[Project], summary="List projects", responses=documented("bad_cursor"))
def list_projects(service: ServiceDep, limit: Limit = 20, after: After = None) -> Response:
    """Returns all projects with their limits, newest first.

    Errors: 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.read_all() as session:
        found = projects.list_projects(session, limit=limit, after=after)
    return json_response(Page[Project].of([Project.of(row) for row in found.rows], found.next))


@router.get("/projects/{id}", response_model=Project, summary="Show a project", responses=documented("not_found"))
def show_project(service: ServiceDep, id: ProjectRef) -> Project:
    """Returns one project with its limits; null stands for no limit.

    Errors: 404 `not_found` for an unknown project.
    """
    with service.read_all() as session:
        return Project.of(projects.find(session, id))


@router.patch(
    "/projects/{id}",
    response_model=Project,
    summary="Change a project",
    openapi_extra=json_body(
        {"$ref": "#/components/schemas/ProjectChange"},
        {"limits": {"limits": {"max_queued_jobs": 50, "device_seconds_per_day": None}}},
    ),
    responses=documented(*BODY_ERRORS, "not_found", "conflict"),
)
def change_project(service: ServiceDep, id: ProjectRef, document: Document) -> Project:
    """Changes the name and the limits of a project by a merge patch (RFC 7396). Limits hold from the next request on.

    What is queued or runs already stays, also where it is more than a new limit.

    Errors: 400 `bad_json`; 404 `not_found` for an unknown project; 409 `conflict` for a name that another project has;
    413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a pointer to each bad field (RFC 6901).
    """
    change = validated(ProjectChange, document)
    named = {} if change.limits is None else {n: getattr(change.limits, n) for n in change.limits.model_fields_set}
    with service.write_all() as session:
        row = projects.change(session, id, change.name, named)
        audit.about(session, row.id, ", ".join(f"{name}={value}" for name, value in named.items()) or row.name)
    return Project.of(row)


@router.delete(
    "/projects/{id}", status_code=204, summary="Delete a project", responses=documented("not_found", "conflict")
)
def delete_project(service: ServiceDep, id: ProjectRef) -> None:
    """Deletes a project that has no jobs, models, datasets and sweeps any more, with its keys. Its audit stays.

    Errors: 404 `not_found` for an unknown project; 409 `conflict` for one that still has objects, and for `default`.
    """
    with service.write_all() as session:
        row = projects.find(session, id)
        audit.about(session, row.id, row.name)
        projects.remove(session, id)


@router.get(
    "/projects/{id}/usage",
    response_model=ProjectUsage,
    summary="What a project used",
    responses=documented("not_found", "invalid"),
)
def show_usage(
    service: ServiceDep,
    id: ProjectRef,
    from_: Annotated[
        Day | None, Query(alias="from", description="The first day (UTC); 30 days ago without it.")
    ] = None,
    to: Annotated[Day | None, Query(description="The last day (UTC); today without it.")] = None,
) -> Response:
    """Returns device seconds by day (UTC) and kind of device, the jobs there are, and the stored bytes.

    The time of an attempt is counted once, whatever became of its job; one that runs counts up to now.

    Errors: 404 `not_found` for another project than one's own, unless one is an operator; 422 `invalid` for a bad day,
    or for more than 400 days.
    """
    project = _reachable(service, id)
    with service.whole.database.read(project) as session:
        today = now(session) // accounting.DAY_MS
        last = today if to is None else _day("to", to)
        first = last - 30 if from_ is None else _day("from", from_)
        if not 0 <= last - first <= MOST_DAYS:
            raise invalid([("/query/from", f"must be at most {MOST_DAYS} days before `to`, and not after it")])
        days = accounting.device_use(session, project, first, last)
        jobs = dict(accounting.jobs_by_status(session, project.id))
        stored = accounting.stored_bytes(session)
    return json_response(
        ProjectUsage(
            project_id=project.id,
            days=[DayUsage.of(one) for one in days],
            device_seconds=sum(one.seconds for one in days),
            jobs=jobs,
            stored_bytes=stored,
        )
    )


def _reachable(service: ServiceDep, reference: str) -> Scope:
    """The project that a path names, where the caller may look into it. Raises NotFound."""
    caller = service.caller
    if reference in (caller.project.id, caller.project_name):
        return caller.project
    if caller.role is not Role.OPERATOR:
        raise NotFound("project", reference[:60])
    with service.read_all() as session:
        return projects.scope_of(projects.find(session, reference))


def _day(name: str, text: str) -> int:
    try:
        return date.fromisoformat(text).toordinal() - EPOCH
    except ValueError:
        raise invalid([(f"/query/{name}", "must be a day such as 2026-01-31")]) from None


# Audit


@router.get("/audit", response_model=Page[AuditEntry], summary="Who did what", responses=documented("bad_cursor"))
def list_audit(
    service: ServiceDep,
    object: Annotated[
        Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$"), Form("an id")] | None,
        Query(description="Only what was done to the object with this id."),
    ] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Returns what was done in the project, newest first: who, what, to which object, when, from where.

    Each row was written in the transaction of the deed. Reading leaves none.

    Errors: 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        found = audit.list_entries(session, object_id=object, limit=limit, after=after)
    return json_response(Page[AuditEntry].of([AuditEntry.of(row) for row in found.rows], found.next))
