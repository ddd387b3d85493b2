"""Jobs: submit, list, show, and what a user may do to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from api.http.bodies import encoded
from api.http.dependencies import After, Document, IdempotencyKey, JobId, Limit, ServiceDep, known_query
from api.http.problems import Problem, documented
from api.jobs import submission as checks
from api.jobs.schemas import Job, Validation
from api.schemas import Page
from api.service import Service
from jobs.repository import attempts, lifecycle
from jobs.scheduling import Rules
from jobs.spec import KINDS, SUBMITTED, Kind
from jobs.states import Status
from jobs.store import remove_tree
from jobs.sweeps import repository as sweeps
from jobs.sweeps.driver import record
from jobs.tables import Job as JobRow

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_query)])

SCHEMAS = {kind: f"#/components/schemas/{KINDS[kind].__name__}" for kind in SUBMITTED}
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [{"$ref": where} for where in SCHEMAS.values()],
                    "discriminator": {"propertyName": "kind", "mapping": SCHEMAS},
                },
                "examples": {
                    "smallest": {
                        "value": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
                    },
                    "some fields": {
                        "value": {
                            "kind": "train",
                            "model": {"arch": "lenet5_bn", "method": "adder"},
                            "dataset": {"name": "digits"},
                            "optimizer": {"lr": 0.1, "eta": 0.2},
                            "epochs": 5,
                            "labels": {"study": "eta"},
                        }
                    },
                    "a table of the paper": {"value": {"kind": "analyze", "recipe": "table1"}},
                },
            }
        },
    }
}


def views(service: Service, session: Session, rows: list[JobRow]) -> list[Job]:
    """Jobs as the API shows them, in few queries whatever their number."""
    labels = lifecycle.labels_of(session, [row.id for row in rows])
    places = service.line.places(session, rows)
    seconds = attempts.run_seconds(session, [row.id for row in rows])
    return [Job.of(row, labels[row.id], places.get(row.id), seconds.get(row.id)) for row in rows]


def view(service: Service, row: JobRow) -> Job:
    """Reads in a transaction of its own: one that writes must not wait for the look at the queue."""
    with service.database.read() as session:
        return views(service, session, [row])[0]


@router.post(
    "",
    status_code=201,
    response_model=Job,
    summary="Submit a job",
    openapi_extra=SPEC_BODY,
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the new job."}}},
        200: {
            "model": Job | Validation,
            "description": "The job that an earlier request with this Idempotency-Key made, "
            "or with `validate_only` the spec and what its network costs.",
        },
        **documented("bad_json", "body_too_large", "unsupported_media_type", "invalid", "idempotency_mismatch"),
        **documented("queue_full"),
    },
)
def submit(
    service: ServiceDep,
    response: Response,
    document: Document,
    validate_only: Annotated[bool, Query(description="Only check the spec and count; nothing is created.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Accepts a job and puts it into the queue. Fields left out get the defaults of the paper's recipe."""
    with service.database.read() as session:
        spec = checks.parse_spec(document, session)
    if validate_only:
        with service.database.read() as session:
            counts = checks.counts_of(spec, checks.require_model(session, spec))
        validation = Validation.model_validate({"spec": spec.model_dump(mode="json"), "model": counts.to_dict()})
        return Response(validation.model_dump_json(), media_type="application/json")
    with service.database.write() as session:
        row = lifecycle.submitted_before(session, idempotency_key, document)
        created = row is None
        if row is None:
            checks.require_data(service.settings, spec)
            checks.require_model(session, spec)
            rules = Rules.of(service.settings)
            row = lifecycle.submit(session, spec, key=idempotency_key, body=document, rules=rules).job
    if created:
        service.relay.poke()
    else:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return view(service, row)


async def _labels(
    label: Annotated[
        list[Annotated[str, Query(pattern=r"^[^:\x00]{1,64}:[^\x00]{0,256}$")]],
        Query(max_length=32, description="`key:value`; a job must carry all that are given.", examples=[["study:eta"]]),
    ] = [],  # noqa: B006  (FastAPI copies it)
) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (item.partition(":") for item in label)]


@router.get("", response_model=Page[Job], summary="List jobs", responses=documented("invalid", "bad_cursor"))
def list_jobs(
    service: ServiceDep,
    labels: Annotated[list[tuple[str, str]], Depends(_labels)],
    status: Annotated[list[Status], Query(max_length=8, description="Any of these.")] = [],  # noqa: B006
    kind: Annotated[Kind | None, Query()] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Newest first."""
    with service.database.read() as session:
        page = lifecycle.list_jobs(session, status=status, kind=kind, labels=labels, limit=limit, after=after)
        jobs = views(service, session, list(page.rows))
    return encoded(Page(data=jobs, has_more=page.next is not None, next=page.next))


@router.get("/{id}", response_model=Job, summary="Show a job", responses=documented("not_found"))
def show(service: ServiceDep, id: JobId) -> Response:
    with service.database.read() as session:
        job = views(service, session, [lifecycle.get(session, id)])[0]
    return encoded(job)


def _act(service: Service, id: str, action: Callable[[Session, str], JobRow]) -> Job:
    with service.database.write() as session:
        row = action(session, id)
    service.relay.poke()
    return view(service, row)


CHANGES = documented("not_found", "conflict")


@router.post("/{id}/cancel", status_code=202, response_model=Job, summary="Cancel a job", responses=CHANGES)
def cancel(service: ServiceDep, id: JobId) -> Job:
    """At once where nothing runs; otherwise the training saves its state and stops. Idempotent."""
    return _act(service, id, lifecycle.cancel)


@router.post("/{id}/pause", status_code=202, response_model=Job, summary="Pause a job", responses=CHANGES)
def pause(service: ServiceDep, id: JobId) -> Job:
    """The training saves its state and gives its slot free."""
    return _act(service, id, lifecycle.pause)


@router.post("/{id}/resume", status_code=202, response_model=Job, summary="Resume a job", responses=CHANGES)
def resume(service: ServiceDep, id: JobId) -> Job:
    """Queues a paused job again; it goes on from its last checkpoint."""
    return _act(service, id, lifecycle.resume)


@router.post(
    "/{id}/retry",
    status_code=201,
    response_model=Job,
    summary="Run a finished job again",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the new job."}}},
        **CHANGES,
        **documented("queue_full"),
    },
)
def retry(
    service: ServiceDep,
    response: Response,
    id: JobId,
    from_: Annotated[
        Literal["start", "checkpoint"], Query(alias="from", description="Where the new job begins.")
    ] = "start",
) -> Job:
    """Makes a new job with the old one's spec and labels, `retry_of` says which. Any worker may take it: from a
    checkpoint, on one that computes otherwise, the last bits of its numbers differ from the old job's. In a sweep, a
    retry of a child that failed or was cancelled takes its place; unless the whole sweep was cancelled."""
    with service.database.write() as session:
        document = lifecycle.get(session, id).spec
        if document["kind"] not in SUBMITTED:
            raise Problem("conflict", "The validation of a dataset is not repeated. Upload the file again.")
        try:
            spec = checks.parse_spec(document, session)
            checks.require_data(service.settings, spec)
            checks.require_model(session, spec)
        except Problem as problem:
            raise Problem("conflict", f"The job cannot run again: {problem.detail}") from None
        rules = Rules.of(service.settings)
        sweep = sweeps.sweep_of(session, id)
        row = lifecycle.retry(session, id, spec, from_checkpoint=from_ == "checkpoint", rules=rules)
        sweeps.adopt(session, sweep, id, row.id)
    service.relay.poke()
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return view(service, row)


@router.delete("/{id}", status_code=204, summary="Delete a finished job", responses=CHANGES)
def delete(service: ServiceDep, id: JobId) -> None:
    """Removes the job with all that it stored, but for models that other things may refer to."""
    with service.database.write() as session:
        record(session, sweeps.sweep_of(session, id))
        stored = lifecycle.delete_job(session, id)
    service.store.discard(service.database, stored)
    remove_tree(service.settings.work_dir / id)
