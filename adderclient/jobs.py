"""``client.jobs``: submit, control and follow jobs, and fetch what they made."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from adderclient import stream
from adderclient.download import Progress, fetch
from adderclient.errors import ConnectionFailed, JobFailed, NotFoundError, ServerError, WaitTimeout
from adderclient.records import Artifact, Attempt, Event, Job, MetricPoint, Page, StreamEvent, Validation
from adderclient.transport import Params, Transport

T = TypeVar("T")
Spec = Mapping[str, Any]

METRICS_PAGE = 10_000
OUTAGE = 120.0
"""Seconds for which ``wait`` bears a server that does not answer."""


class Jobs:
    """The server's jobs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, spec: Spec, idempotency_key: str | None = None) -> Job:
        """Creates a job. A repeated call with the same key and spec gives the same job; a fresh key is the default,
        which makes the retries inside this one call safe."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Job.from_json(
            self._transport.json("POST", "/v1/jobs", json=dict(spec), headers=headers, repeatable=True)
        )

    def validate(self, spec: Spec) -> Validation:
        """Checks a spec, fills in its defaults and counts what the model would cost; creates nothing."""
        params = [("validate_only", "true")]
        return Validation.from_json(
            self._transport.json("POST", "/v1/jobs", json=dict(spec), params=params, repeatable=True)
        )

    def get(self, job_id: str) -> Job:
        """One job."""
        return Job.from_json(self._transport.json("GET", _path(job_id)))

    def list(
        self,
        *,
        status: str | None = None,
        kind: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Page[Job]:
        """One page of the jobs, newest first; ``after`` is the ``next`` of the page before."""
        single = (("status", status), ("kind", kind), ("limit", limit), ("after", after))
        params = [(name, str(value)) for name, value in single if value is not None]
        params += [("label", f"{key}:{value}") for key, value in (labels or {}).items()]
        return Page.from_json(self._transport.json("GET", "/v1/jobs", params=params), Job.from_json)

    def iterate(
        self, *, status: str | None = None, kind: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Iterator[Job]:
        """All jobs that match, newest first, page by page as they are asked for."""
        page = self.list(status=status, kind=kind, labels=labels, limit=100)
        yield from page
        while page.has_more and page.next:
            page = self.list(status=status, kind=kind, labels=labels, limit=100, after=page.next)
            yield from page

    def cancel(self, job_id: str) -> Job:
        """Asks the job to stop for good; cancelling twice is no error."""
        return self._act(job_id, "cancel", repeatable=True)

    def pause(self, job_id: str) -> Job:
        """Asks the job to save a checkpoint and stop until it is resumed."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Puts a paused job back into the queue."""
        return self._act(job_id, "resume")

    def retry(self, job_id: str, from_: Literal["start", "checkpoint"] = "start") -> Job:
        """A new job like a finished one, from the start or from its last checkpoint."""
        return self._act(job_id, "retry", params=[("from", from_)])

    def delete(self, job_id: str) -> None:
        """Deletes a finished job with all that it stored."""
        self._transport.request("DELETE", _path(job_id))

    def metrics(
        self,
        job_id: str,
        names: Iterable[str] = (),
        after_seq: int = 0,
        limit: int | None = None,
    ) -> builtins.list[MetricPoint]:
        """Points after ``after_seq`` in order of ``seq``, of all metrics or those named; all, or ``limit``."""
        wanted = [("name", name) for name in names]
        points: builtins.list[MetricPoint] = []
        while limit is None or len(points) < limit:
            size = METRICS_PAGE if limit is None else min(METRICS_PAGE, limit - len(points))
            params = [*wanted, ("after_seq", str(after_seq)), ("limit", str(size))]
            page = Page.from_json(
                self._transport.json("GET", f"{_path(job_id)}/metrics", params=params), MetricPoint.from_json
            )
            points.extend(page)
            if not page.data or (len(page) < size and not page.has_more):
                break
            after_seq = page.data[-1].seq
        return points

    def events(self, job_id: str) -> builtins.list[Event]:
        """State changes and notable moments, in order."""
        return self._all(f"{_path(job_id)}/events", Event.from_json)

    def attempts(self, job_id: str) -> builtins.list[Attempt]:
        """Where each attempt ran and why it ended, in order."""
        return self._all(f"{_path(job_id)}/attempts", Attempt.from_json)

    def logs(self, job_id: str, tail: int | None = None, follow: bool = False) -> Iterator[str]:
        """The log's lines, or its last ``tail``; with ``follow`` those to come as well, until the job ends."""
        params = [] if tail is None else [("tail", str(tail))]
        if follow:
            params.append(("follow", "true"))
        with (
            self._transport.connected(),
            self._transport.stream(
                f"{_path(job_id)}/logs",
                params=params,
                headers={"Accept": "text/plain"},
                read_timeout=None if follow else 60.0,
            ) as response,
        ):
            yield from response.iter_lines()

    def stream(self, job_id: str, last_event_id: str | None = None) -> Iterator[StreamEvent]:
        """Metrics, events and statuses as they happen, from the start or from after ``last_event_id``, to the final
        status. Dropped connections are taken up again without loss."""
        path = f"{_path(job_id)}/stream"
        return stream.events(self._transport, path, last_event_id, lambda: self.get(job_id).finished)

    def wait(self, job_id: str, timeout: float | None = None, *, check: bool = True) -> Job:
        """Waits until the job ended and returns it. Bears a server that is away for up to two minutes.

        Raises:
            JobFailed: it failed or was cancelled (unless ``check`` is false).
            WaitTimeout: it did not end within ``timeout`` seconds.
        """
        began = heard = time.monotonic()
        pause = 0.2
        job: Job | None = None
        while True:
            try:
                job = self.get(job_id)
                heard = time.monotonic()
            except (ConnectionFailed, ServerError):
                if time.monotonic() - heard > OUTAGE or (job is None):
                    raise
            if job.finished:
                if check and job.status != "succeeded":
                    raise JobFailed(job)
                return job
            if timeout is not None and time.monotonic() - began >= timeout:
                raise WaitTimeout(job, timeout)
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)

    def artifacts(self, job_id: str) -> builtins.list[Artifact]:
        """The files that the job published."""
        return self._all(f"{_path(job_id)}/artifacts", Artifact.from_json)

    def download(
        self,
        job_id: str,
        name: str,
        to: str | Path,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Path:
        """Fetches one artifact into the file or folder ``to``; see :func:`adderclient.download.fetch`."""
        listed = {artifact.name: artifact for artifact in self.artifacts(job_id)}
        if name not in listed:
            there = ", ".join(sorted(listed)) or "none yet"
            raise NotFoundError(404, title="Not Found", detail=f"{job_id} has no artifact {name!r}; it has: {there}")
        path = f"{_path(job_id)}/artifacts/{quote(name, safe='')}"
        return fetch(self._transport, path, to, name, sha256=listed[name].sha256, progress=progress)

    def _act(self, job_id: str, action: str, *, params: Params | None = None, repeatable: bool = False) -> Job:
        return Job.from_json(
            self._transport.json("POST", f"{_path(job_id)}/{action}", params=params, repeatable=repeatable)
        )

    def _all(self, path: str, parse: Callable[[Mapping[str, Any]], T]) -> builtins.list[T]:
        page = Page.from_json(self._transport.json("GET", path), parse)
        items = list(page)
        while page.has_more and page.next:
            page = Page.from_json(self._transport.json("GET", path, params=[("after", page.next)]), parse)
            items.extend(page)
        return items


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
