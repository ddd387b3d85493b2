"""`/v1/workers`: list the live workers, drain one and let it claim jobs again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.http.bodies import read_json
from api.http.dependencies import ServiceDep, known_query
from api.http.problems import bad_fields, documented, invalid
from api.schemas import Page
from api.workers.liveness import worker_states
from api.workers.schemas import WorkerSample, WorkerState
from jobs.access.scope import ServiceTransaction
from jobs.errors import NotFound
from jobs.repository import workers
from jobs.states import Drain
from jobs.system_metrics import samples_of
from jobs.tables import Worker

router = APIRouter(prefix="/v1/workers", tags=["workers"], dependencies=[Depends(known_query)])

MAX_NAME = 255


async def _name(
    id: Annotated[
        str,
        Path(
            description="Id of a live worker, the beginning of its id, or its host name, where only one worker has it."
        ),
    ],
) -> str:
    if not id.isprintable() or len(id) > MAX_NAME:
        raise NotFound("live worker", id[:60])
    return id


WorkerName = Annotated[str, Depends(_name)]


class DrainOrder(BaseModel):
    """The body of a drain."""

    model_config = ConfigDict(extra="forbid")

    mode: Drain


async def _order(request: Request, service: ServiceDep) -> DrainOrder:
    body = await read_json(request, service.settings.max_body_bytes)
    try:
        return DrainOrder.model_validate(body)
    except ValidationError as error:
        raise invalid(bad_fields(error)) from None


def _state(session: ServiceTransaction, worker: Worker) -> WorkerState:
    return WorkerState.of(worker, workers.running(session, [worker.id])[worker.id])


@router.get("", response_model=Page[WorkerState], summary="List workers")
def list_workers(service: ServiceDep) -> Page[WorkerState]:
    """Returns the live workers, all on one page. A worker is alive until it misses three heartbeats, 30 s by default;
    one that misses more stays listed while it holds the lease of a job.

    Errors: none of its own.
    """
    with service.read_all() as session:
        return Page.of(worker_states(session, service.settings))


@router.get(
    "/{id}/samples",
    response_model=Page[WorkerSample],
    summary="What a worker used",
    responses=documented("not_found", "conflict"),
)
def list_samples(service: ServiceDep, id: WorkerName) -> Page[WorkerSample]:
    """Returns the CPU, memory and GPUs that a worker and its jobs used, oldest first, all on one page.

    The samples stand for equal parts of the last hours (`ADDER_WORKER_SAMPLE_HOURS`, 2 by default); the last one is
    under way. What a job used is among its metrics.

    Errors: 404 `not_found` for a name that no live worker has; 409 `conflict` for a name that several have.
    """
    with service.read_all() as session:
        worker = workers.find(session, id, service.settings.live_ms, lock=False)
        return Page.of([WorkerSample.of(sample) for sample in samples_of(worker.stats)])


ORDER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["mode"],
                    "additionalProperties": False,
                    "properties": {
                        "mode": {
                            "type": "string",
                            "enum": list(Drain),
                            "description": "`finish`: the worker finishes its jobs. `hand_over`: they save a "
                            "checkpoint and continue on another worker.",
                        }
                    },
                },
                "example": {"mode": "finish"},
            }
        },
    }
}


@router.post(
    "/{id}/drain",
    status_code=202,
    response_model=WorkerState,
    summary="Drain a worker",
    openapi_extra=ORDER_BODY,
    responses=documented("bad_json", "unsupported_media_type", "body_too_large", "not_found", "conflict", "invalid"),
)
def drain(service: ServiceDep, id: WorkerName, order: Annotated[DrainOrder, Depends(_order)]) -> WorkerState:
    """Drains a worker: within two seconds it claims no further jobs, and it is `drained` once it runs none.

    No job is lost: with `hand_over` each saves a checkpoint and is queued again. The worker stays alive. Idempotent;
    the last mode counts.

    Errors: 400 `bad_json`; 404 `not_found` for a name that no live worker has; 409 `conflict` for a name that several
    have; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` for a bad mode.
    """
    with service.write_all() as session:
        worker = workers.find(session, id, service.settings.live_ms)
        workers.drain(session, worker, order.mode)
        return _state(session, worker)


@router.delete(
    "/{id}/drain",
    status_code=202,
    response_model=WorkerState,
    summary="Let a worker claim again",
    responses=documented("not_found", "conflict"),
)
def undrain(service: ServiceDep, id: WorkerName) -> WorkerState:
    """Ends the drain of a worker: within two seconds it claims jobs again. Idempotent.

    Errors: 404 `not_found` for a name that no live worker has; 409 `conflict` for a name that several have.
    """
    with service.write_all() as session:
        worker = workers.find(session, id, service.settings.live_ms)
        workers.undrain(session, worker)
        return _state(session, worker)
