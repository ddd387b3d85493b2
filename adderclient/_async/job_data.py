"""What a job has beside its record: metrics and files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from adderclient._async.download import fetch
from adderclient._async.paging import walk
from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.download import Transfer
from adderclient.errors import NotFoundError
from adderclient.records import Artifact, MetricPoint, Page

T = TypeVar("T")

METRICS_PAGE = 10_000
"""Points that one request asks for; the server gives no more."""


def job_path(job_id: str) -> str:
    """A job's path on the server."""
    return f"/v1/jobs/{segment(job_id)}"


def listed(
    transport: AsyncTransport, job_id: str, what: str, parse: Callable[[Mapping[str, Any]], T]
) -> AsyncIterator[T]:
    """A job's ``events``, ``attempts`` or ``artifacts``."""
    return walk(transport, f"{job_path(job_id)}/{what}", [], parse, sized=False)


async def points(
    transport: AsyncTransport, job_id: str, names: Iterable[str], after_seq: int, limit: int | None
) -> list[MetricPoint]:
    """A job's metrics in order of ``seq``; no names: all of them."""
    wanted = [("name", name) for name in names]
    found: list[MetricPoint] = []
    while limit is None or len(found) < limit:
        size = METRICS_PAGE if limit is None else min(METRICS_PAGE, limit - len(found))
        params = [*wanted, ("after_seq", str(after_seq)), ("limit", str(size))]
        answer = await transport.json("GET", f"{job_path(job_id)}/metrics", params=params)
        page = Page.from_json(answer, MetricPoint.from_json)
        found.extend(page)
        if not page.data or (len(page) < size and not page.has_more):
            break
        after_seq = page.data[-1].seq
    return found


async def download(
    transport: AsyncTransport, job_id: str, name: str, to: str | Path, progress: Callable[[Transfer], None] | None
) -> Path:
    """Downloads an artifact and verifies it.

    Raises:
        NotFoundError: the job has no such artifact.
    """
    files = {one.name: one async for one in listed(transport, job_id, "artifacts", Artifact.from_json)}
    if name not in files:
        raise NotFoundError.named(job_id, "artifact", name, files)
    path = f"{job_path(job_id)}/artifacts/{segment(name)}"
    return await fetch(transport, path, to, name, sha256=files[name].sha256, progress=progress)
