"""``client.jobs``: submit, control and follow jobs, and fetch what they made."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, Unpack

from adderclient._async import job_data, stream
from adderclient._async.export import export_job
from adderclient._async.job import AsyncJob
from adderclient._async.job_data import job_path, listed
from adderclient._async.paging import walk
from adderclient._async.transport import AsyncTransport
from adderclient._async.waiting import ended
from adderclient.arguments import Spec, spec_of
from adderclient.download import Transfer
from adderclient.errors import JobFailed
from adderclient.keeping import Filters, changes, listing
from adderclient.progress import Progress
from adderclient.records import Artifact, Attempt, Event, MetricPoint, Page, StreamEvent, Validation
from adderclient.records.jobs import Job as JobRecord
from adderclient.records.jobs import ran
from adderclient.transport import Params, given


class AsyncJobs:
    """The server's jobs.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._job = AsyncJob.of(transport)

    async def submit(self, spec: Spec, idempotency_key: str | None = None) -> AsyncJob:
        """Creates a job.

        Args:
            spec: what to do, such as ``{"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name":
                "digits"}}``, or the path of a YAML or JSON file with one; the server fills in what is left out.
                Arrays and numbers of numpy are taken for lists and numbers.
            idempotency_key: the same key with the same spec gives the same job, however often it is sent. None: a
                fresh key, which makes the retries inside this one call safe.

        Returns:
            The queued job.

        Raises:
            InvalidRequestError: the spec is wrong; ``errors`` names each bad field. Or the key was used for another
                spec.
            BadSpec: the file cannot be read, or holds no spec.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return self._job(
            await self._transport.json("POST", "/v1/jobs", json=spec_of(spec), headers=headers, repeatable=True)
        )

    async def validate(self, spec: Spec) -> Validation:
        """Checks a spec, fills in its defaults and counts what its network costs; creates nothing.

        Args:
            spec: as for :meth:`submit`.

        Returns:
            The whole spec, and the costs of the network for one image.

        Raises:
            InvalidRequestError: the spec is wrong; ``errors`` names each bad field.
        """
        params = [("validate_only", "true")]
        return Validation.from_json(
            await self._transport.json("POST", "/v1/jobs", json=spec_of(spec), params=params, repeatable=True)
        )

    async def get(self, job_id: str) -> AsyncJob:
        """Asks for one job.

        Args:
            job_id: the job's id.

        Returns:
            The job as it is now.

        Raises:
            NotFoundError: there is no such job.
        """
        return self._job(await self._transport.json("GET", job_path(job_id)))

    async def list(
        self,
        *,
        status: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page[AsyncJob]:
        """Asks for one page of the jobs, newest first unless ``sort`` says otherwise.

        Args:
            status: only jobs with this status.
            kind: only jobs of this kind.
            limit: jobs on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            filters: which of them, and in which order (:class:`~adderclient.Filters`).

        Returns:
            The page.

        Raises:
            InvalidRequestError: a filter or the cursor is none.
        """
        params = [*given(status=status, kind=kind, limit=limit, after=after), *listing(filters)]
        return Page.from_json(await self._transport.json("GET", "/v1/jobs", params=params), self._job)

    def iterate(
        self, *, status: str | None = None, kind: str | None = None, **filters: Unpack[Filters]
    ) -> AsyncIterator[AsyncJob]:
        """Walks through all jobs that match, in the order of :meth:`list`.

        Args:
            status: only jobs with this status.
            kind: only jobs of this kind.
            filters: which of them, and in which order (:class:`~adderclient.Filters`).

        Returns:
            The jobs; each page is fetched when it is reached.

        Raises:
            InvalidRequestError: a filter is none.
        """
        params = [*given(status=status, kind=kind), *listing(filters)]
        return walk(self._transport, "/v1/jobs", params, self._job)

    async def edit(
        self,
        job_id: str,
        *,
        name: str | None = None,
        notes: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        starred: bool | None = None,
    ) -> AsyncJob:
        """Changes what is kept with a job; what is None stays.

        Args:
            job_id: the job's id.
            name: a title on one line, at most 100 characters; empty: none.
            notes: any text of at most 4000 characters; empty: none.
            labels: labels to set by their names; the value None takes one away. Others stay.
            starred: whether it has a star.

        Returns:
            The job as it is now.

        Raises:
            InvalidRequestError: a text is too long or has control characters; ``errors`` names each bad field.
            ConflictError: it would have more than 32 labels, or a label that its sweep gave would change.
            NotFoundError: there is no such job.
        """
        body = changes(name, notes, labels, starred)
        return self._job(await self._transport.json("PATCH", job_path(job_id), json=body, repeatable=True))

    async def cancel(self, job_id: str) -> AsyncJob:
        """Asks the job to stop for good; cancelling it twice is no error.

        Args:
            job_id: the job's id.

        Returns:
            The job, which may be ``cancelling`` for a moment.

        Raises:
            ConflictError: it has already succeeded or failed.
            NotFoundError: there is no such job.
        """
        return await self._act(job_id, "cancel", repeatable=True)

    async def pause(self, job_id: str) -> AsyncJob:
        """Asks the job to save a checkpoint and stop until it is resumed.

        Args:
            job_id: the job's id.

        Returns:
            The job, which may be ``pausing`` for a moment.

        Raises:
            ConflictError: it does not run.
            NotFoundError: there is no such job.
        """
        return await self._act(job_id, "pause")

    async def resume(self, job_id: str) -> AsyncJob:
        """Puts a paused job back into the queue.

        Args:
            job_id: the job's id.

        Returns:
            The queued job.

        Raises:
            ConflictError: it is not paused.
            NotFoundError: there is no such job.
        """
        return await self._act(job_id, "resume")

    async def retry(self, job_id: str, from_: Literal["start", "checkpoint"] = "start") -> AsyncJob:
        """Makes a new job with the spec of a finished one.

        Args:
            job_id: the finished job's id.
            from_: whether to begin anew or at the last checkpoint.

        Returns:
            The new job; its ``retry_of`` is ``job_id``.

        Raises:
            ConflictError: the job has not ended, or has no checkpoint.
            NotFoundError: there is no such job.
        """
        return await self._act(job_id, "retry", params=[("from", from_)])

    async def continue_training(
        self, job_id: str, epochs: int, lr: float | None = None, idempotency_key: str | None = None
    ) -> AsyncJob:
        """Trains a finished training on for more epochs, from its last checkpoint.

        Weights, batch statistics and momentum are kept; the learning rate follows the spec's schedule anew.

        Args:
            job_id: the finished training's id.
            epochs: number of further epochs.
            lr: learning rate at their beginning; None: the finished training's.
            idempotency_key: as for :meth:`submit`.

        Returns:
            The new job; its ``continued_from`` is ``job_id``.

        Raises:
            ConflictError: the job has not ended, is no training, or its checkpoints are no longer kept.
            InvalidRequestError: a bad number of epochs or learning rate; ``errors`` names it.
            NotFoundError: there is no such job.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = {"epochs": epochs} if lr is None else {"epochs": epochs, "lr": lr}
        path = f"{job_path(job_id)}/continue"
        return self._job(await self._transport.json("POST", path, json=body, headers=headers, repeatable=True))

    async def delete(self, job_id: str) -> None:
        """Deletes a finished job with all that it stored; its model stays.

        Args:
            job_id: the job's id.

        Raises:
            ConflictError: it has not ended.
            NotFoundError: there is no such job.
        """
        await self._transport.request("DELETE", job_path(job_id))

    async def metrics(
        self,
        job_id: str,
        names: Iterable[str] = (),
        after_seq: int = 0,
        limit: int | None = None,
    ) -> builtins.list[MetricPoint]:
        """Asks for a job's metrics.

        Args:
            job_id: the job's id.
            names: only these metrics, such as ``val/accuracy``; none named: all but ``system/cpu`` (cores in use),
                ``system/memory_bytes``, ``system/gpu`` (GPUs in use) and ``system/gpu_memory_bytes``, whose steps are
                seconds.
            after_seq: only points after the one with this ``seq``.
            limit: at most so many points; None: all.

        Returns:
            The points in order of ``seq``.

        Raises:
            NotFoundError: there is no such job.
        """
        return await job_data.points(self._transport, job_id, names, after_seq, limit)

    async def events(self, job_id: str) -> builtins.list[Event]:
        """Asks for a job's state changes and notable moments.

        Args:
            job_id: the job's id.

        Returns:
            The events in order.

        Raises:
            NotFoundError: there is no such job.
        """
        return [one async for one in listed(self._transport, job_id, "events", Event.from_json)]

    async def attempts(self, job_id: str) -> builtins.list[Attempt]:
        """Asks where each attempt at a job ran and why it ended.

        Args:
            job_id: the job's id.

        Returns:
            The attempts in order.

        Raises:
            NotFoundError: there is no such job.
        """
        return [one async for one in listed(self._transport, job_id, "attempts", Attempt.from_json)]

    async def run_seconds(self, job: JobRecord) -> float | None:
        """How long a job ran: all its attempts together, without the time in which it was queued or paused.

        Args:
            job: the job; a server that does not say its ``run_seconds`` is asked for the attempts.

        Returns:
            Seconds; None where no attempt has ended yet.

        Raises:
            NotFoundError: the job is deleted by now.
        """
        if job.run_seconds is not None or not job.attempt:
            return job.run_seconds
        return ran(await self.attempts(job.id))

    async def logs(self, job_id: str, tail: int | None = None, follow: bool = False) -> AsyncIterator[str]:
        """Reads a job's log.

        Args:
            job_id: the job's id.
            tail: only so many lines at the end; None: all.
            follow: go on with the lines to come until the job has ended.

        Returns:
            The lines, without their ends.

        Raises:
            NotFoundError: there is no such job.
            ConnectionFailed: the server cannot be reached, or the connection broke.
        """
        params = given(tail=tail, follow="true" if follow else None)
        headers, patience = {"Accept": "text/plain"}, None if follow else 60.0
        path = f"{job_path(job_id)}/logs"
        with self._transport.connected():
            async with self._transport.stream(path, params=params, headers=headers, read_timeout=patience) as response:
                async for line in response.aiter_lines():
                    yield line

    def stream(self, job_id: str, last_event_id: str | None = None) -> AsyncIterator[StreamEvent]:
        """Follows a job: its metrics, events and statuses as they happen, to the final status.

        A connection that drops is opened again, and nothing is lost or comes twice.

        Args:
            job_id: the job's id.
            last_event_id: begin after this event; None: at the job's start.

        Returns:
            The events, the last of them the final status.

        Raises:
            NotFoundError: there is no such job.
            ConnectionFailed: the connection broke too often in a row.
        """

        async def finished() -> bool:
            return (await self.get(job_id)).finished

        return stream.events(self._transport, f"{job_path(job_id)}/stream", last_event_id, finished)

    async def wait(
        self,
        job_id: str,
        timeout: float | None = None,
        *,
        check: bool = True,
        progress: Progress[JobRecord] = False,
    ) -> AsyncJob:
        """Waits until the job has ended. A paused job is waited for until somebody resumes it.

        Args:
            job_id: the job's id.
            timeout: seconds to wait at most; None: without limit.
            check: whether a job that does not succeed is an error.
            progress: true shows a line on stderr; a function is called with the job at each look.

        Returns:
            The ended job.

        Raises:
            JobFailed: it failed or was cancelled, and ``check`` is true.
            WaitTimeout: it did not end within ``timeout`` seconds.
            NotFoundError: there is no such job.
            ConnectionFailed: the server could not be reached for two minutes.
        """
        last = await ended(lambda: self.get(job_id), timeout, progress)
        if check and last.status != "succeeded":
            raise JobFailed(last)
        return last

    async def artifacts(self, job_id: str) -> builtins.list[Artifact]:
        """Asks for the files that a job published.

        Args:
            job_id: the job's id.

        Returns:
            What there is to download, with size and sha256.

        Raises:
            NotFoundError: there is no such job.
        """
        return [one async for one in listed(self._transport, job_id, "artifacts", Artifact.from_json)]

    async def download(
        self,
        job_id: str,
        name: str,
        to: str | Path,
        *,
        progress: Callable[[Transfer], None] | None = None,
    ) -> Path:
        """Downloads an artifact; goes on where an earlier call was interrupted, and verifies the sha256.

        Args:
            job_id: the job's id.
            name: the artifact's name.
            to: a file, or a folder (it exists, or ends in ``/``).
            progress: is called after each piece.

        Returns:
            Where the file lies.

        Raises:
            NotFoundError: the job has no such artifact, or there is no such job.
            ChecksumMismatch: the bytes are not those that were published; what came of them is deleted.
            ConnectionFailed: the connection broke too often; the next call goes on.
        """
        return await job_data.download(self._transport, job_id, name, to, progress)

    async def export(self, job_id: str, format: str, to: str | Path, *, license: str = "unknown") -> str:
        """Writes a job for another tool.

        Args:
            job_id: the job's id.
            format: ``tensorboard`` (an event file, in a folder of the job's id), ``mlflow`` (a run with parameters,
                metrics, tags and files), or ``hf`` (its model, as a folder with a model card for the Hugging Face Hub).
            to: a folder; for ``mlflow`` also a tracking URI, such as ``http://…`` or ``sqlite:///…``.
            license: of the model's weights, for ``hf``, as the Hub names them.

        Returns:
            The folder, or the id of MLflow's run.

        Raises:
            AdderClientError: there is no such format, the extra that writes it is not installed, MLflow refused the
                run, or the job has no model for ``hf``.
            NotFoundError: there is no such job.
            ConnectionFailed: the server cannot be reached.
        """
        return await export_job(self._transport, job_id, format, to, license)

    async def _act(
        self, job_id: str, action: str, *, params: Params | None = None, repeatable: bool = False
    ) -> AsyncJob:
        return self._job(
            await self._transport.json("POST", f"{job_path(job_id)}/{action}", params=params, repeatable=repeatable)
        )
