"""`/readyz`: checks that everything the service needs is there, each part by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.service import Service
from api.system.schemas import Check, Ready
from api.workers.liveness import live_workers
from jobs.access.scope import SERVICE
from jobs.wakeups import BROKER_ERRORS

TIMEOUT_SECONDS = 5.0


async def check_readiness(service: Service) -> Ready:
    """Checks all parts at the same time. A part that takes longer than TIMEOUT_SECONDS has failed."""
    database, broker, worker, inference = await asyncio.gather(
        _within(_database, service), _within(_broker, service), _within(_worker, service), _inference(service)
    )
    checks = {"database": database, "broker": broker, "worker": worker, "inference": inference}
    return Ready(ready=all(c.ok for c in checks.values() if c.required), checks=checks)


async def _within(check: Callable[[Service], str], service: Service) -> Check:
    try:
        detail = await asyncio.wait_for(asyncio.to_thread(check, service), TIMEOUT_SECONDS)
    except asyncio.TimeoutError:  # noqa: UP041
        return Check(ok=False, detail=f"no answer within {TIMEOUT_SECONDS:g} s", required=True)
    except _Unavailable as error:
        return Check(ok=False, detail=str(error), required=True)
    return Check(ok=True, detail=detail, required=True)


class _Unavailable(Exception):
    """A part does not answer. The text names it."""


def _database(service: Service) -> str:
    try:
        with service.database.read(SERVICE) as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        raise _Unavailable(f"the database does not answer ({type(error).__name__})") from error
    return service.database.engine.dialect.name


def _broker(service: Service) -> str:
    try:
        with service.broker.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2, interval_start=0.1)
            return str(connection.transport_cls)
    except BROKER_ERRORS as error:
        raise _Unavailable(f"the broker does not answer ({type(error).__name__})") from error


def _worker(service: Service) -> str:
    try:
        with service.database.read(SERVICE) as session:
            workers = live_workers(session, service.settings)
    except SQLAlchemyError as error:
        raise _Unavailable("unknown: the database does not answer") from error
    if not workers:
        raise _Unavailable("no worker is alive; queued jobs wait until one is")
    leaving = sum(worker.draining is not None for worker in workers)
    if leaving == len(workers):
        raise _Unavailable(f"no worker accepts jobs: all {leaving} that are alive were asked to drain")
    drained = f", {leaving} of them asked to drain" if leaving else ""
    return f"{len(workers)} alive with {sum(worker.slots for worker in workers)} slots{drained}"


async def _inference(service: Service) -> Check:
    if service.inference is None:
        return Check(ok=False, detail="not configured (ADDER_INFERENCE_URL)", required=False)
    try:
        answer = await service.inference.get("/healthz", timeout=2.0)
    except httpx2.TransportError:
        return Check(ok=False, detail="the inference process does not answer", required=False)
    return Check(ok=answer.status_code < 500, detail=f"answered {answer.status_code}", required=False)
