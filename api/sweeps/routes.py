"""Sweeps: jobs that vary a base spec by a grid or a search, and what they came to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy.orm import Session

from api.http.bodies import encoded
from api.http.dependencies import After, Document, IdempotencyKey, Limit, ServiceDep, SweepId, known_query
from api.http.problems import documented
from api.schemas import Page
from api.service import Service
from api.sweeps import schemas as parts
from api.sweeps.schemas import Child, Sweep, SweepTable, SweepValidation, Trial
from jobs.errors import BadCursor
from jobs.scheduling import Rules
from jobs.states import SweepStatus
from jobs.sweeps import figure, references, repository, summary
from jobs.sweeps.driver import Driver
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Sweep as SweepRow

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], dependencies=[Depends(known_query)])

BASE = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 5}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SweepSpec"},
                "examples": {
                    "a grid": {
                        "value": {
                            "name": "eta",
                            "base": BASE,
                            "grid": {"optimizer.eta": [1, 0.5, 0.1], "seed": [0, 1, 2]},
                        }
                    },
                    "a search": {
                        "value": {
                            "base": BASE,
                            "search": {
                                "optimizer.lr": {"type": "float", "low": 0.001, "high": 1, "log": True},
                                "model.method": {"type": "categorical", "choices": ["adder", "conv"]},
                            },
                            "trials": 20,
                            "budget": {"max_seconds": 3600},
                        }
                    },
                },
            }
        },
    }
}
FIRST_STEPS = 1
"""Steps that the request itself takes, so that its first jobs are there; workers do the rest."""


def _driver(service: Service) -> Driver:
    return Driver(service.database, Rules.of(service.settings), searching=False)


def _view(service: Service, row: SweepRow) -> Sweep:
    with service.database.read() as session:
        return parts.views(session, [repository.get(session, row.id)])[0]


@router.post(
    "",
    status_code=201,
    response_model=Sweep,
    summary="Submit a sweep",
    openapi_extra=BODY,
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the new sweep."}}},
        200: {
            "model": Sweep | SweepValidation,
            "description": "The sweep that an earlier request with this Idempotency-Key made, "
            "or with `validate_only` the jobs that it would make.",
        },
        **documented("bad_json", "body_too_large", "unsupported_media_type", "invalid", "idempotency_mismatch"),
        **documented("conflict"),
    },
)
def submit(
    service: ServiceDep,
    response: Response,
    document: Document,
    validate_only: Annotated[bool, Query(description="Only check it; nothing is created.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Accepts a sweep. Every combination must be a valid job, otherwise nothing is created. Its jobs carry the labels
    `sweep` and `trial`; they are submitted as places fall free, and each is an ordinary job from then on."""
    with service.database.read() as session:
        spec = parts.parse(document, session)
        children = parts.plan(service, session, spec)
    if validate_only:
        planned = [Child(parameters=mine, spec=one.model_dump(mode="json")) for mine, one in children]
        return encoded(SweepValidation(jobs=spec.size, spec=spec.model_dump(mode="json"), children=planned))
    with service.database.write() as session:
        row = repository.created_before(session, idempotency_key, document)
        created = row is None
        if row is None:
            parts.require_references(service, session, spec, children)
            references.hold(session, spec)
            found = [parameters for parameters, _ in children]
            row = repository.create(session, spec, found, key=idempotency_key, body=document)
    if created:
        _driver(service).advance(row, FIRST_STEPS)
        service.relay.poke()
    else:
        response.status_code = 200
    response.headers["Location"] = f"/v1/sweeps/{row.id}"
    return _view(service, row)


@router.get("", response_model=Page[Sweep], summary="List sweeps", responses=documented("invalid", "bad_cursor"))
def list_sweeps(
    service: ServiceDep,
    status: Annotated[list[SweepStatus], Query(max_length=5, description="Any of these.")] = [],  # noqa: B006
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Newest first."""
    with service.database.read() as session:
        page = repository.list_sweeps(session, status=status, limit=limit, after=after)
        found = parts.views(session, list(page.rows))
    return encoded(Page(data=found, has_more=page.next is not None, next=page.next))


@router.get("/{id}", response_model=Sweep, summary="Show a sweep", responses=documented("not_found"))
def show(service: ServiceDep, id: SweepId) -> Response:
    with service.database.read() as session:
        return encoded(parts.views(session, [repository.get(session, id)])[0])


@router.get(
    "/{id}/trials",
    response_model=Page[Trial],
    summary="A sweep's trials",
    responses=documented("not_found", "invalid", "bad_cursor"),
)
def trials(service: ServiceDep, id: SweepId, limit: Limit = 20, after: After = None) -> Response:
    """In order of their numbers, those that are known so far."""
    if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 10):
        raise BadCursor(after)
    with service.database.read() as session:
        repository.get(session, id)
        last = -1 if after is None else int(after)
        rows = repository.trials_of(session, id, after=last, limit=limit + 1)
        found = [Trial.of(trial, status) for trial, status in rows[:limit]]
    more = len(rows) > limit
    return encoded(Page(data=found, has_more=more, next=str(found[-1].number) if more else None))


def _table(session: Session, id: str) -> summary.Table:
    sweep = repository.get(session, id)
    return summary.tabulate(SweepSpec.model_validate(sweep.spec), repository.trials_of(session, id))


@router.get(
    "/{id}/table",
    response_model=SweepTable,
    summary="A sweep's table",
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": "optimizer.eta,trials,n,mean,std\r\n"},
                "text/markdown": {"schema": {"type": "string"}, "example": "| optimizer.eta | n |\n|---|---|\n"},
            }
        },
        **documented("not_found", "invalid"),
    },
)
def table(
    service: ServiceDep,
    id: SweepId,
    format: Annotated[Literal["json", "csv", "md"], Query(description="How it comes.")] = "json",
) -> Response:
    """A row for each combination, with mean and standard deviation over the seeds where the grid has a `seed`."""
    with service.database.read() as session:
        found = _table(session, id)
    if format == "json":
        return encoded(SweepTable.model_validate(summary.as_json(found)))
    text, media_type = (
        (summary.as_csv(found), "text/csv") if format == "csv" else (summary.as_markdown(found), "text/markdown")
    )
    headers = {"Content-Disposition": f'inline; filename="{id}.{format}"'}
    return PlainTextResponse(text, headers=headers, media_type=f"{media_type}; charset=utf-8")


@router.get(
    "/{id}/figure.svg",
    response_class=Response,
    summary="A sweep as a picture",
    responses={
        200: {"content": {"image/svg+xml": {"schema": {"type": "string"}, "example": "<svg></svg>"}}},
        **documented("not_found"),
    },
)
def picture(service: ServiceDep, id: SweepId) -> Response:
    """Of a grid the objective over one of its fields, with bars of ± one standard deviation over the seeds; of a search
    the trials in order and over each of its fields."""
    with service.database.read() as session:
        sweep = repository.get(session, id)
        rows = [trial for trial, _ in repository.trials_of(session, id)]
    text = figure.draw(SweepSpec.model_validate(sweep.spec), rows)
    headers = {"Content-Disposition": f'inline; filename="{id}.svg"', "X-Content-Type-Options": "nosniff"}
    return Response(text, headers=headers, media_type="image/svg+xml")


@router.post(
    "/{id}/cancel",
    status_code=202,
    response_model=Sweep,
    summary="Cancel a sweep",
    responses=documented("not_found", "conflict"),
)
def cancel(service: ServiceDep, id: SweepId) -> Sweep:
    """No trial begins any more, and those that run are cancelled. Idempotent."""
    with service.database.write() as session:
        row = repository.ask_cancel(session, id)
    _driver(service).advance(row)
    service.relay.poke()
    return _view(service, row)


@router.delete(
    "/{id}", status_code=204, summary="Delete a finished sweep", responses=documented("not_found", "conflict")
)
def delete(service: ServiceDep, id: SweepId) -> None:
    """Forgets the sweep and its trials. Its jobs stay."""
    with service.database.write() as session:
        repository.remove(session, id)
