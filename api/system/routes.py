"""The service itself: `/healthz`, `/readyz`, `/v1/system` and `/metrics`."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.access.admission import maybe_operator
from api.http.dependencies import ServiceDep, known_query
from api.system.metrics import render
from api.system.readiness import check_readiness
from api.system.schemas import Alive, Queue, Ready, System, Versions
from api.workers.liveness import worker_states
from jobs.repository import recovery

router = APIRouter(tags=["system"], dependencies=[Depends(known_query)])


@router.get("/healthz", response_model=Alive, summary="Is this process alive?")
async def healthz() -> Any:
    """Answers 200 as long as this process works. It does not ask database or broker: a restart would not repair those.

    Errors: none of its own.
    """
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Ready,
    summary="Is the service ready?",
    responses={503: {"model": Ready, "description": "Something required is missing; `checks` names it."}},
)
async def readyz(request: Request, response: Response, details: Annotated[bool, Depends(maybe_operator)]) -> Ready:
    """Answers 200 when jobs are accepted and run: database, broker and at least one live worker answer.

    Where keys are needed, the checks have no details for anybody but operators.

    The inference process is checked too, but not required. Each check takes at most 5 seconds.

    Errors: 503 with the same body as 200, whose `checks` name what is missing.
    """
    ready = await check_readiness(request.app.state.service)
    if not details:
        ready = ready.without_details()
    if not ready.ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return ready


@router.get("/v1/system", response_model=System, summary="Show the system")
def system(service: ServiceDep) -> System:
    """Returns the versions, the live workers with their devices and kernel backends, and the jobs by status.

    Errors: none of its own.
    """
    with service.read_all() as session:
        workers = worker_states(session, service.settings)
        depth = recovery.depth(session)
        oldest = recovery.oldest_queued_ms(session)
    return System(
        versions=Versions(
            adderworks=version("adderworks"),
            api="v1",
            python=platform.python_version(),
            database=service.database.dialect,
        ),
        workers=workers,
        devices=sorted({worker.device for worker in workers}),
        backends=sorted({str(name) for worker in workers for name in worker.info.get("backends", [])}),
        queue=Queue(depth=depth, oldest_queued_seconds=oldest / 1000, slots=sum(worker.slots for worker in workers)),
    )


@router.get(
    "/metrics",
    response_class=Response,
    summary="Metrics for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, service: ServiceDep) -> Response:
    """Returns metrics of jobs, queue, workers, stores and requests in Prometheus' text format 0.0.4.

    It answers within a few seconds even where database, broker or store are away; metrics ending in `_up` tell which.

    Errors: none of its own.
    """
    probes = request.app.state.probes
    content = await anyio.to_thread.run_sync(render, service.whole, probes, limiter=probes.threads)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
