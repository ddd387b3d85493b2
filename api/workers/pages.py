"""The page `/workers`: the live workers, for operators, with buttons that drain them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.http.dependencies import ServiceDep
from api.web.header import page_header
from api.web.html import page
from api.workers.liveness import worker_states
from api.workers.loads import loads_of
from jobs.repository.workers import present

router = APIRouter()


@router.get("/workers")
def worker_list(request: Request, service: ServiceDep) -> HTMLResponse:
    """The live workers with their slots, jobs and versions."""
    with service.read_all() as session:
        workers = worker_states(session, service.settings)
        loads = {row.id: loads_of(row) for row in present(session, service.settings.live_ms)}
    with service.database.read() as session:
        header = page_header(session, service.settings, section="workers")
    return page(request, "workers.html", {**header, "workers": workers, "loads": loads})
