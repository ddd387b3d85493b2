"""Workers: who is alive, and asking one to leave or to come back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from api.http.bodies import read_json
from api.http.dependencies import ServiceDep, known_query
from api.http.problems import bad_fields, documented, invalid
from api.schemas import Page
from api.system import health
from api.workers.listing import states
from api.workers.schemas import WorkerState
from jobs.errors import NotFound
from jobs.repository import workers
from jobs.states import Drain
from jobs.tables import Worker

router = APIRouter(prefix="/v1/workers", tags=["workers"], dependencies=[Depends(known_query)])

MAX_NAME = 255


async def _name(
    id: Annotated[
        str, Path(description="Id of a live worker, its beginning, or its host's name, if only one worker has it.")
    ],
) -> str:
    if not id.isprintable() or len(id) > MAX_NAME:
        raise NotFound("live worker", id[:60])
    return id


WorkerName = Annotated[str, Depends(_name)]


class DrainOrder(BaseModel):
    """How a worker shall leave."""

    model_config = ConfigDict(extra="forbid")

    mode: Drain


async def _order(request: Request, service: ServiceDep) -> DrainOrder:
    body = await read_json(request, service.settings.max_body_bytes)
    try:
        return DrainOrder.model_validate(body)
    except ValidationError as error:
        raise invalid(bad_fields(error)) from None


def _state(session: Session, worker: Worker) -> WorkerState:
    return WorkerState.of(worker, workers.running(session, [worker.id])[worker.id])


@router.get("", response_model=Page[WorkerState], summary="List workers")
def list_workers(service: ServiceDep) -> Page[WorkerState]:
    """Those that are alive, all on one page."""
    with service.database.read() as session:
        return Page(data=states(session, service), has_more=False, next=None)


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
                            "description": "`finish`: it finishes the jobs it runs. `hand_over`: they save a "
                            "checkpoint and go on elsewhere.",
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
    """It claims nothing more from within two seconds on, stays alive, and is `drained` once it runs nothing. No job
    takes harm: with `hand_over` each saves a checkpoint and is queued again. Idempotent; the last mode counts."""
    with service.database.write() as session:
        worker = workers.find(session, id, health.live_ms(service.settings))
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
    """From within two seconds on. Idempotent."""
    with service.database.write() as session:
        worker = workers.find(session, id, health.live_ms(service.settings))
        workers.undrain(session, worker)
        return _state(session, worker)
