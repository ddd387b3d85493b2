"""`/v1/jobs`: submit, list and show jobs; cancel, pause, resume, retry and delete them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response

from api.access.acting import Acting
from api.http.bodies import NO_BODY, json_response
from api.http.dependencies import After, Document, IdempotencyKey, JobId, Limit, ServiceDep, known_query
from api.http.documents import json_body, location
from api.http.edits import EDIT_BODY, EDIT_ERRORS, Change
from api.http.listing import readable, readable_rows
from api.http.lists import ListedJobs
from api.http.problems import Problem, documented
from api.jobs import creation, submission
from api.jobs.schemas import Job, Validation
from api.schemas import Page
from jobs.access import audit
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.files import remove_tree
from jobs.repository import attempts, finding, keeping, lifecycle
from jobs.spec import KINDS, SUBMITTED, Kind
from jobs.states import Status
from jobs.sweeps import repository as sweeps
from jobs.sweeps.driver import record
from jobs.tables import Job as JobRow

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_query)])

SCHEMAS = {kind: f"#/components/schemas/{KINDS[kind].__name__}" for kind in SUBMITTED}
SPEC_BODY = json_body(
    {
        "oneOf": [{"$ref": where} for where in SCHEMAS.values()],
        "discriminator": {"propertyName": "kind", "mapping": SCHEMAS},
    },
    {
        "smallest": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
        "some fields": {
            "kind": "train",
            "model": {"arch": "lenet5_bn", "method": "adder"},
            "dataset": {"name": "digits"},
            "optimizer": {"lr": 0.1, "eta": 0.2},
            "epochs": 5,
            "labels": {"study": "eta"},
        },
        "a table of the paper": {"kind": "analyze", "recipe": "table1"},
    },
)
CONTINUATION = json_body({"$ref": "#/components/schemas/Continuation"}, {"ten epochs more": {"epochs": 10, "lr": 0.01}})


def views(service: Acting, session: OwnTransaction, rows: list[JobRow]) -> list[Job]:
    """Jobs as the API answers them. The number of queries does not grow with the number of jobs."""
    for row in rows:
        require_readable(row)
    make = _viewer(service, session, rows)
    return [make(row) for row in rows]


def _viewer(service: Acting, session: OwnTransaction, rows: list[JobRow]) -> Callable[[JobRow], Job]:
    """What makes the answer of each of these rows."""
    labels = lifecycle.labels_of(session, [row.id for row in rows])
    positions = service.queue_positions.of(session, rows)
    seconds = attempts.run_seconds(session, [row.id for row in rows])
    return lambda row: Job.of(row, labels[row.id], positions.get(row.id), seconds.get(row.id))


def view(service: Acting, row: JobRow) -> Job:
    """One job as the API answers it. It has a transaction of its own: a write must not wait for the forecast."""
    with service.database.read() as session:
        return views(service, session, [row])[0]


@router.post(
    "",
    status_code=201,
    response_model=Job,
    summary="Submit a job",
    openapi_extra=SPEC_BODY,
    responses={
        201: location("job"),
        200: {
            "model": Job | Validation,
            "description": "The job that an earlier request with this Idempotency-Key made, "
            "or with `validate_only` the spec and what its network costs.",
        },
        **documented("bad_json", "body_too_large", "unsupported_media_type", "invalid", "idempotency_mismatch"),
        **documented("queue_full", "quota_exceeded"),
    },
)
def submit(
    service: ServiceDep,
    response: Response,
    document: Document,
    validate_only: Annotated[
        bool, Query(description="Only check the spec and count what its network costs; create nothing.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Creates a job and queues it. Fields that the spec leaves out get the defaults of the paper's recipe.

    With an Idempotency-Key, a repeated request answers 200 with the job that the first one created. With
    `validate_only` nothing is created: the answer is the complete spec and what its network costs for one image.
    A pointer in `errors` names each bad field (RFC 6901).

    Errors: 400 `bad_json`; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` for a bad spec, an
    unknown model or a dataset whose files are not here; 422 `idempotency_mismatch` for a key that came with another
    body before; 429 `queue_full`
    (RFC 6585) or `quota_exceeded`.
    """
    if validate_only:
        return json_response(creation.validate(service, document))
    row, created = creation.create(service, document, idempotency_key)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return view(service, row)


@router.get("", response_model=Page[Job], summary="List jobs", responses=documented("invalid", "bad_cursor"))
def list_jobs(
    service: ServiceDep,
    wanted: ListedJobs,
    status: Annotated[
        list[Status], Query(max_length=8, description="Any of these; repeat the parameter for several.")
    ] = [],  # noqa: B006  (FastAPI copies it)
    kind: Annotated[Kind | None, Query(description="Only jobs of this kind.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Returns the jobs that match all filters, newest first or as `sort` and `order` say.

    Jobs without the value that the list is sorted by (they have not finished, or their result has no such number) come
    last. Pages stay right while jobs are added: a cursor names a value and an id. A job whose own value changes
    meanwhile may be left out or come twice.

    Errors: 422 `invalid` for a bad filter; 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        page = finding.list_jobs(session, wanted, status=status, kind=kind, limit=limit, after=after)
        rows = readable_rows(page.rows)
        found = readable(rows.views, _viewer(service, session, rows.views))
    return json_response(Page.of(found.views, page.next, [*rows.unreadable, *found.unreadable]))


@router.get("/{id}", response_model=Job, summary="Show a job", responses=documented("not_found", "conflict"))
def show(service: ServiceDep, id: JobId) -> Response:
    """Returns one job: its spec, state, progress and result. Fields that do not apply are null.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for one whose stored documents cannot be read.
    """
    with service.database.read() as session:
        job = views(service, session, [lifecycle.get(session, id)])[0]
    return json_response(job)


@router.patch(
    "/{id}",
    response_model=Job,
    summary="Name, label, star a job",
    openapi_extra=EDIT_BODY,
    responses=documented(*EDIT_ERRORS),
)
def edit(service: ServiceDep, id: JobId, change: Change) -> Job:
    """Changes the name, notes, labels and star of a job in any state, by a merge patch (RFC 7396).

    A field that is not named stays; null takes it away. Labels are merged: `{"labels": {"a": "1", "b": null}}` sets one
    and takes one away. The spec stays as it was submitted, and so does the share of the workers that a label gave.

    Errors: 400 `bad_json`; 404 `not_found` for an unknown job; 409 `conflict` for more than 32 labels, for a label that
    a sweep gave, or for a job whose stored documents cannot be read; 413 `body_too_large`; 415
    `unsupported_media_type`; 422 `invalid` with a pointer to each bad field (RFC 6901).
    """
    with service.database.write() as session:
        require_readable(lifecycle.get(session, id))
        row = keeping.edit_job(session, id, change)
    return view(service, row)


def _act(service: Acting, id: str, action: Callable[[OwnTransaction, str], JobRow]) -> Job:
    with service.database.write() as session:
        row = action(session, id)
    service.relay.poke()
    return view(service, row)


CHANGES = documented("not_found", "conflict", "invalid")


@router.post(
    "/{id}/cancel",
    status_code=202,
    response_model=Job,
    summary="Cancel a job",
    dependencies=NO_BODY,
    responses=CHANGES,
)
def cancel(service: ServiceDep, id: JobId) -> Job:
    """Cancels a job. One that does not run is cancelled at once; a running one first saves a checkpoint and stops.

    Idempotent: a job that is being cancelled, or was, is answered as it is.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for a job that has succeeded or failed.
    """
    return _act(service, id, lifecycle.cancel)


@router.post(
    "/{id}/pause",
    status_code=202,
    response_model=Job,
    summary="Pause a job",
    dependencies=NO_BODY,
    responses=CHANGES,
)
def pause(service: ServiceDep, id: JobId) -> Job:
    """Pauses a running job: it saves a checkpoint, stops and frees its slot. `resume` continues it.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for a job that does not run.
    """
    return _act(service, id, lifecycle.pause)


@router.post(
    "/{id}/resume",
    status_code=202,
    response_model=Job,
    summary="Resume a job",
    dependencies=NO_BODY,
    responses={**CHANGES, **documented("quota_exceeded")},
)
def resume(service: ServiceDep, id: JobId) -> Job:
    """Queues a paused job again. It continues from its last checkpoint.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for a job that is not paused; 429 `quota_exceeded`.
    """
    return _act(service, id, lifecycle.resume)


@router.post(
    "/{id}/retry",
    status_code=201,
    response_model=Job,
    summary="Retry a job",
    dependencies=NO_BODY,
    responses={
        201: location("job"),
        **CHANGES,
        **documented("queue_full", "quota_exceeded"),
    },
)
def retry(
    service: ServiceDep,
    response: Response,
    id: JobId,
    from_: Annotated[
        Literal["start", "checkpoint"],
        Query(alias="from", description="Where the new job begins: anew, or at the old job's last checkpoint."),
    ] = "start",
) -> Job:
    """Creates a new job with the spec and labels of a finished one. Its `retry_of` names the old job.

    Any worker may take it. From a checkpoint, a worker with another processor or torch computes other last bits than
    the old job would have. The retry of a failed or cancelled trial takes that trial's place in its sweep, unless the
    whole sweep was cancelled.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for a job that has not finished, that has no
    checkpoint, or whose model or dataset is gone; 429 `queue_full`
    (RFC 6585) or `quota_exceeded`.
    """
    with service.database.write() as session:
        row = lifecycle.get(session, id)
        require_readable(row)
        if row.kind not in SUBMITTED:
            raise Problem("conflict", "The validation of a dataset is not repeated. Upload the file again.")
        document = {**row.spec, "labels": lifecycle.labels_of(session, [id])[id]}
        try:
            spec = submission.parse_spec(document, session)
            submission.require_data(service.settings, spec)
            submission.require_model(session, spec)
        except Problem as problem:
            raise Problem("conflict", f"The job cannot run again: {problem.detail}") from None
        rules = service.rules
        sweep = sweeps.sweep_of(session, id)
        row = lifecycle.retry(session, id, spec, from_checkpoint=from_ == "checkpoint", rules=rules)
        sweeps.adopt(session, sweep, id, row.id)
        audit.about(session, row.id, f"of {id}")
    service.relay.poke()
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return view(service, row)


@router.post(
    "/{id}/continue",
    status_code=201,
    response_model=Job,
    summary="Continue a finished training",
    openapi_extra=CONTINUATION,
    responses={
        201: location("job"),
        200: {"model": Job, "description": "The job that an earlier request with this Idempotency-Key made."},
        **CHANGES,
        **documented("bad_json", "body_too_large", "unsupported_media_type", "idempotency_mismatch"),
        **documented("queue_full", "quota_exceeded"),
    },
)
def continue_training(
    service: ServiceDep, response: Response, id: JobId, document: Document, idempotency_key: IdempotencyKey = None
) -> Job:
    """Creates a training that goes on from a finished one's last checkpoint, for further epochs.

    Weights, batch statistics and the optimizer's momentum are kept. The learning rate begins anew at `lr` and follows
    the schedule over the further `epochs`; all other fields are the finished job's. `continued_from` names that job.

    Errors: 400 `bad_json`; 404 `not_found` for an unknown job; 409 `conflict` for a job that has not finished or is no
    training, whose dataset or teacher is gone, or whose checkpoints are no longer kept (start from its model by
    `init_from`); 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a pointer to each bad field
    (RFC 6901); 422 `idempotency_mismatch`; 429 `queue_full`
    (RFC 6585) or `quota_exceeded`.
    """
    row, created = creation.continue_training(service, id, document, idempotency_key)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return view(service, row)


@router.delete("/{id}", status_code=204, summary="Delete a finished job", responses=CHANGES)
def delete(service: ServiceDep, id: JobId) -> None:
    """Deletes a finished job with its metrics, events, log and files. A model that it published stays.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for a job that has not finished.
    """
    with service.database.write() as session:
        record(session, sweeps.sweep_of(session, id))
        stored = lifecycle.delete_job(session, id)
    service.discard(stored)
    remove_tree(service.settings.work_dir / id)
