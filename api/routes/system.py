"""The service itself: alive, ready, what runs, numbers for Prometheus."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import health
from api.dependencies import ServiceDep, known_query
from api.schemas import Alive, Queue, Ready, System, Versions, WorkerState
from jobs.repository import recovery

router = APIRouter(tags=["system"], dependencies=[Depends(known_query)])


@router.get("/healthz", response_model=Alive, summary="Is this process alive?")
async def healthz() -> Any:
    """Says nothing of database or broker: restarting this process would not mend those."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Ready,
    summary="Are jobs accepted and run?",
    responses={503: {"model": Ready, "description": "Something required is missing; `checks` names it."}},
)
async def readyz(service: ServiceDep, response: Response) -> Ready:
    """Database, broker and a live worker, each named; inference is named but not required."""
    ready = await health.check(service)
    if not ready.ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return ready


@router.get("/v1/system", response_model=System, summary="Workers, devices, versions, queue")
def system(service: ServiceDep) -> System:
    with service.database.read() as session:
        rows = recovery.live_workers(session, health.live_ms(service.settings))
        workers = [WorkerState.model_validate(row, from_attributes=True) for row in rows]
        depth = recovery.depth(session)
        oldest = recovery.oldest_queued_ms(session)
    return System(
        versions=Versions(
            adderworks=version("adderworks"),
            api="v1",
            python=platform.python_version(),
            database=service.database.engine.dialect.name,
        ),
        workers=workers,
        devices=sorted({worker.device for worker in workers}),
        backends=sorted({str(name) for worker in workers for name in worker.info.get("backends", [])}),
        queue=Queue(depth=depth, oldest_queued_seconds=oldest / 1000, slots=sum(worker.slots for worker in workers)),
    )


@router.get(
    "/metrics",
    response_class=Response,
    summary="Numbers for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(service: ServiceDep) -> Response:
    """Jobs by status, age of the queue, unsent wake-ups, requests and their time."""
    return Response(service.monitor.render(service.database), media_type=CONTENT_TYPE_LATEST)
