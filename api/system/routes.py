"""The service itself: alive, ready, what runs, numbers for Prometheus."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.http.dependencies import ServiceDep, known_query
from api.system import health
from api.system.metrics import render
from api.system.schemas import Alive, Queue, Ready, System, Versions
from api.workers.listing import states
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
        workers = states(session, service)
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
async def metrics(request: Request, service: ServiceDep) -> Response:
    """Jobs, queue, workers, stores, requests. Answers in a few seconds at most, whatever is away."""
    readings = request.app.state.readings
    content = await anyio.to_thread.run_sync(render, service, readings, limiter=readings.threads)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
