# Made from adderclient/_async/job.py by `python -m adderclient.make_sync`: change that file, not this one.
"""A job as a client gives it: the record, and what can be asked of it without naming it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from adderclient._sync import job_data
from adderclient._sync.transport import Transport
from adderclient._sync.waiting import ended
from adderclient.download import Transfer
from adderclient.errors import AdderClientError, JobFailed
from adderclient.metrics import MetricTable
from adderclient.progress import Progress
from adderclient.records import Json
from adderclient.records.jobs import Job as JobRecord


class Job(JobRecord):
    """One job as the server last saw it. It can be waited for, and asked for its metrics and files.

    A job that was read from JSON, unpickled or made by ``dataclasses.replace`` is a record alone: its methods raise
    :class:`~adderclient.AdderClientError`.
    """

    _transport: Transport | None = None

    @classmethod
    def of(cls, transport: Transport) -> Callable[[Json], Job]:
        """What reads jobs of one server.

        Args:
            transport: the way to it.

        Returns:
            A function that makes a job of its JSON object.

        Raises:
            KeyError: by that function; a field without which a job means nothing is missing.
        """

        def read(data: Json) -> Job:
            job = cls.from_json(data)
            job._transport = transport
            return job

        return read

    def refresh(self) -> Job:
        """Asks for the job again.

        Returns:
            The job as it is now. This one stays as it was.

        Raises:
            NotFoundError: it is deleted by now.
        """
        transport = self._server()
        return Job.of(transport)(transport.json("GET", job_data.job_path(self.id)))

    def wait(self, timeout: float | None = None, *, check: bool = True, progress: Progress[JobRecord] = False) -> Job:
        """Waits until the job has ended. A paused job is waited for until somebody resumes it.

        Args:
            timeout: seconds to wait at most; None: without limit.
            check: whether a job that does not succeed is an error.
            progress: true shows a line on stderr; a function is called with the job at each look.

        Returns:
            The ended job.

        Raises:
            JobFailed: it failed or was cancelled, and ``check`` is true.
            WaitTimeout: it did not end within ``timeout`` seconds.
            NotFoundError: it is deleted by now.
            ConnectionFailed: the server could not be reached for two minutes.
        """
        last = ended(self.refresh, timeout, progress)
        if check and last.status != "succeeded":
            raise JobFailed(last)
        return last

    def metrics(self, *names: str) -> MetricTable:
        """Asks for its metrics as a table.

        Args:
            names: only these, such as ``val/accuracy``; none named: all.

        Returns:
            Columns of one length, which ``pandas.DataFrame`` and ``polars.DataFrame`` take as they are.

        Raises:
            NotFoundError: it is deleted by now.
        """
        return MetricTable.of(job_data.points(self._server(), self.id, names, 0, None))

    def plot(
        self, names: Iterable[str] = (), *, axes: Sequence[Any] | None = None, label: str | None = None
    ) -> list[Any]:
        """Draws its learning curves with matplotlib, metrics of one kind into one picture.

        Args:
            names: metrics to draw; none named: losses and accuracies.
            axes: matplotlib axes to draw into, such as an earlier call returned; None: new ones.
            label: stands before the names in the legend; None: the names alone.

        Returns:
            The axes, one for each kind of metric.

        Raises:
            AdderClientError: matplotlib is not installed, or the job has none of these metrics.
            NotFoundError: it is deleted by now.
        """
        return (self.metrics(*names)).plot(axes=axes, label=label)

    def download(self, name: str, to: str | Path, *, progress: Callable[[Transfer], None] | None = None) -> Path:
        """Downloads an artifact; goes on where an earlier call was interrupted, and verifies the sha256.

        Args:
            name: the artifact's name.
            to: a file, or a folder (it exists, or ends in ``/``).
            progress: is called after each piece.

        Returns:
            Where the file lies.

        Raises:
            NotFoundError: it has no such artifact, or is deleted by now.
            ChecksumMismatch: the bytes are not those that were published; what came of them is deleted.
            ConnectionFailed: the connection broke too often; the next call goes on.
        """
        return job_data.download(self._server(), self.id, name, to, progress)

    def _server(self) -> Transport:
        if self._transport is None:
            raise AdderClientError(f"{self.id} was not given by a client: ask one, as in client.jobs.get({self.id!r})")
        return self._transport

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_transport"}
