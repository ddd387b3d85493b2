"""`/v1/sweeps`: submit, list, show, cancel and delete sweeps; their trials, table and picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import PlainTextResponse

from api.access.acting import Acting
from api.http.bodies import NO_BODY, json_response
from api.http.dependencies import After, Document, IdempotencyKey, Limit, ServiceDep, SweepId, known_query
from api.http.documents import json_body, location
from api.http.listing import readable, readable_rows
from api.http.problems import documented
from api.schemas import Page
from api.sweeps import creation
from api.sweeps.schemas import Sweep, SweepTable, SweepValidation, Trial
from jobs.access.scope import OwnTransaction
from jobs.errors import BadCursor
from jobs.states import SweepStatus
from jobs.sweeps import plot, repository, summary
from jobs.tables import Sweep as SweepRow

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], dependencies=[Depends(known_query)])

BASE = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 5}
BODY = json_body(
    {"$ref": "#/components/schemas/SweepSpec"},
    {
        "a grid": {"name": "eta", "base": BASE, "grid": {"optimizer.eta": [1, 0.5, 0.1], "seed": [0, 1, 2]}},
        "a search": {
            "base": BASE,
            "search": {
                "optimizer.lr": {"type": "float", "low": 0.001, "high": 1, "log": True},
                "model.method": {"type": "categorical", "choices": ["adder", "conv"]},
            },
            "trials": 20,
            "budget": {"max_seconds": 3600},
        },
    },
)


def _viewer(session: OwnTransaction, rows: Sequence[SweepRow]) -> Callable[[SweepRow], Sweep]:
    """What makes the answer of each of these sweeps."""
    progress = repository.progress_of(session, rows)
    return lambda row: Sweep.of(row, progress[row.id], repository.best_of(session, row))


def _view(service: Acting, id: str) -> Sweep:
    with service.database.read() as session:
        row = repository.get(session, id)
        return _viewer(session, [row])(row)


@router.post(
    "",
    status_code=201,
    response_model=Sweep,
    summary="Submit a sweep",
    openapi_extra=BODY,
    responses={
        201: location("sweep"),
        200: {
            "model": Sweep | SweepValidation,
            "description": "The sweep that an earlier request with this Idempotency-Key made, "
            "or with `validate_only` the jobs that it would make.",
        },
        **documented("bad_json", "body_too_large", "unsupported_media_type", "invalid", "idempotency_mismatch"),
        **documented("conflict", "quota_exceeded"),
    },
)
def submit(
    service: ServiceDep,
    response: Response,
    document: Document,
    validate_only: Annotated[bool, Query(description="Only check the sweep; create nothing.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Creates a sweep: a grid of all combinations, or a search over ranges. Every combination must be a valid job.

    Its jobs have the labels `sweep` and `trial` and are submitted as earlier ones end; each is an ordinary job. With
    an Idempotency-Key, a repeated request answers 200 with the sweep that the first one created. With `validate_only`
    nothing is created: the answer lists the jobs.

    Errors: 400 `bad_json`; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a pointer to each bad
    value (RFC 6901); 422 `idempotency_mismatch` for a key that came with another body before; 409 `conflict` where a
    model or dataset is deleted meanwhile; 429 `quota_exceeded` for more jobs, priority or time than the project may.
    """
    if validate_only:
        return json_response(creation.validate(service, document))
    row, created = creation.create(service, document, idempotency_key)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/sweeps/{row.id}"
    return _view(service, row.id)


@router.get("", response_model=Page[Sweep], summary="List sweeps", responses=documented("invalid", "bad_cursor"))
def list_sweeps(
    service: ServiceDep,
    status: Annotated[
        list[SweepStatus], Query(max_length=5, description="Any of these; repeat the parameter for several.")
    ] = [],  # noqa: B006
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Returns the sweeps with their progress and best trials, newest first.

    Errors: 422 `invalid` for an unknown status; 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        page = repository.list_sweeps(session, status=status, limit=limit, after=after)
        rows = readable_rows(page.rows, repository.spec_of)
        found = readable(rows.views, _viewer(session, rows.views))
    return json_response(Page.of(found.views, page.next, [*rows.unreadable, *found.unreadable]))


@router.get("/{id}", response_model=Sweep, summary="Show a sweep", responses=documented("not_found", "conflict"))
def show(service: ServiceDep, id: SweepId) -> Response:
    """Returns one sweep with its progress and its best trial.

    Errors: 404 `not_found` for an unknown sweep; 409 `conflict` for one that is stored and cannot be read.
    """
    return json_response(_view(service, id))


@router.get(
    "/{id}/trials",
    response_model=Page[Trial],
    summary="List a sweep's trials",
    responses=documented("not_found", "invalid", "bad_cursor"),
)
def trials(service: ServiceDep, id: SweepId, limit: Limit = 20, after: After = None) -> Response:
    """Returns the trials that are known so far, in order of their numbers.

    Errors: 404 `not_found` for an unknown sweep; 422 `invalid` for a bad `limit`; 422 `bad_cursor` for an `after`
    that is not a `next` of this list.
    """
    if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 10):
        raise BadCursor(after)
    with service.database.read() as session:
        repository.get(session, id)
        last = -1 if after is None else int(after)
        rows = repository.trials_of(session, id, after=last, limit=limit + 1)
        found = [Trial.of(trial, status) for trial, status in rows[:limit]]
    more = len(rows) > limit
    return json_response(Page.of(found, str(found[-1].number) if more else None))


def _table(session: OwnTransaction, id: str) -> summary.Table:
    spec = repository.spec_of(repository.get(session, id))
    return summary.tabulate(spec, repository.trials_of(session, id))


@router.get(
    "/{id}/table",
    response_model=SweepTable,
    summary="Show a sweep's table",
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": "optimizer.eta,trials,n,mean,std\r\n"},
                "text/markdown": {"schema": {"type": "string"}, "example": "| optimizer.eta | n |\n|---|---|\n"},
            }
        },
        **documented("not_found", "conflict", "invalid"),
    },
)
def table(
    service: ServiceDep,
    id: SweepId,
    format: Annotated[
        Literal["json", "csv", "md"], Query(description="JSON, CSV (RFC 4180) or a Markdown table.")
    ] = "json",
) -> Response:
    """Returns a row for each combination. A grid with a `seed` has mean and standard deviation over the seeds.

    CSV and Markdown show accuracies in per cent; JSON has them as shares, 0 to 1.

    Errors: 404 `not_found` for an unknown sweep; 409 `conflict` for one that is stored and cannot be read; 422
    `invalid` for an unknown format.
    """
    with service.database.read() as session:
        found = _table(session, id)
    if format == "json":
        return json_response(SweepTable.model_validate(summary.as_json(found)))
    text, media_type = (
        (summary.as_csv(found), "text/csv") if format == "csv" else (summary.as_markdown(found), "text/markdown")
    )
    headers = {"Content-Disposition": f'inline; filename="{id}.{format}"'}
    return PlainTextResponse(text, headers=headers, media_type=f"{media_type}; charset=utf-8")


@router.get(
    "/{id}/figure.svg",
    response_class=Response,
    summary="Draw a sweep",
    responses={
        200: {"content": {"image/svg+xml": {"schema": {"type": "string"}, "example": "<svg></svg>"}}},
        **documented("not_found", "conflict"),
    },
)
def picture(service: ServiceDep, id: SweepId) -> Response:
    """Returns a picture as SVG. A grid shows the objective over one of its fields, with ± one standard deviation over
    the seeds. A search shows the trials in order, and over each field.

    Errors: 404 `not_found` for an unknown sweep; 409 `conflict` for one that is stored and cannot be read.
    """
    with service.database.read() as session:
        spec = repository.spec_of(repository.get(session, id))
        rows = [trial for trial, _ in repository.trials_of(session, id)]
    text = plot.draw(spec, rows)
    headers = {"Content-Disposition": f'inline; filename="{id}.svg"', "X-Content-Type-Options": "nosniff"}
    return Response(text, headers=headers, media_type="image/svg+xml")


@router.post(
    "/{id}/cancel",
    status_code=202,
    response_model=Sweep,
    summary="Cancel a sweep",
    dependencies=NO_BODY,
    responses=documented("not_found", "conflict", "invalid"),
)
def cancel(service: ServiceDep, id: SweepId) -> Sweep:
    """Cancels a sweep: no further trial begins, and running ones are cancelled. Idempotent.

    Errors: 404 `not_found` for an unknown sweep; 409 `conflict` for a sweep that has ended otherwise.
    """
    with service.database.write() as session:
        repository.spec_of(repository.get(session, id))
        row = repository.ask_cancel(session, id)
    creation.driver(service).advance(row)
    service.relay.poke()
    return _view(service, row.id)


@router.delete(
    "/{id}", status_code=204, summary="Delete a finished sweep", responses=documented("not_found", "conflict")
)
def delete(service: ServiceDep, id: SweepId) -> None:
    """Deletes a finished sweep with its table. Its jobs and their models stay.

    Errors: 404 `not_found` for an unknown sweep; 409 `conflict` for a sweep that has not ended.
    """
    with service.database.write() as session:
        repository.remove(session, id)
