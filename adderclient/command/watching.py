"""Following one job: what it says by now, drawn as a live bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adderclient.client import Client
from adderclient.command.output import STYLES, duration
from adderclient.errors import ConnectionFailed, ServerError
from adderclient.records import Job

METRICS = ("train/loss", "val/loss", "val/accuracy", "images_per_second")
OUTAGE = 120.0
"""Seconds for which a server that does not answer is borne."""
PLAIN_SECONDS = 5.0
"""Least time between two plain lines of the same status."""


@dataclass
class View:
    """A job and the latest value of each metric worth showing."""

    job: Job
    metrics: dict[str, float] = field(default_factory=dict)
    trouble: str = ""

    def text(self) -> str:
        """One line that says it all."""
        job, progress = self.job, self.job.progress
        parts = [job.status]
        if job.status == "queued" and job.queue_position is not None:
            parts.append(f"position {job.queue_position}")
        if progress.epochs:
            parts.append(f"epoch {progress.epoch or 0}/{progress.epochs}")
        if "train/loss" in self.metrics:
            parts.append(f"loss {self.metrics['train/loss']:.4f}")
        if "val/accuracy" in self.metrics:
            parts.append(f"val accuracy {self.metrics['val/accuracy']:.2%}")
        rate = progress.images_per_second or self.metrics.get("images_per_second")
        if rate and not job.finished:
            parts.append(f"{rate:.0f} images/s")
        if progress.eta_seconds is not None and job.status == "running":
            parts.append(f"{duration(progress.eta_seconds)} left")
        if job.finished and job.seconds is not None:
            parts.append(f"took {duration(job.seconds)}")
        if self.trouble:
            parts.append(self.trouble)
        return "  ".join(parts)


def views(client: Client, job_id: str, interval: float) -> Iterator[View]:
    """The job every ``interval`` seconds until it ended, the last one with its final status and all its metrics."""
    view = View(client.jobs.get(job_id))
    cursor = 0
    heard = time.monotonic()
    while True:
        try:
            job = client.jobs.get(job_id)
            for point in client.jobs.metrics(job_id, METRICS, after_seq=cursor):
                cursor = point.seq
                if point.value is not None:
                    view.metrics[point.name] = point.value
            view.job, view.trouble, heard = job, "", time.monotonic()
        except (ConnectionFailed, ServerError):
            if time.monotonic() - heard > OUTAGE:
                raise
            view.trouble = "server does not answer, trying again"
        yield view
        if view.job.finished:
            return
        time.sleep(interval)


class Display(Protocol):
    """Where views are shown."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, view: View) -> None:
        """Shows the newest view."""


class LiveDisplay:
    """A bar that moves, for terminals."""

    def __init__(self, console: Console, title: str) -> None:
        self._live = Live(console=console, refresh_per_second=8)
        self._title = title

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, view: View) -> None:
        """Redraws the bar."""
        fraction = 1.0 if view.job.status == "succeeded" else view.job.progress.fraction or 0.0
        row = Table.grid(padding=(0, 1))
        row.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=1.0, completed=fraction, width=24),
            Text(f"{fraction:4.0%}"),
            Text(view.text(), style=STYLES.get(view.job.status, "")),
        )
        self._live.update(row)


class PlainDisplay:
    """A line whenever the status changed, and every few seconds."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._last: tuple[object, ...] = ()
        self._time = 0.0
        self._line = ""

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, view: View) -> None:
        """Prints a line if there is something new to say."""
        state = (view.job.status, view.trouble)
        now, line = time.monotonic(), view.text()
        if line != self._line and (state != self._last or now - self._time >= PLAIN_SECONDS or view.job.finished):
            percent = f"{view.job.progress.fraction or 0:4.0%}"
            self._console.print(f"{self._title}  {percent}  {line}", markup=False, soft_wrap=True)
            self._last, self._time, self._line = state, now, line


def display(title: str) -> Display:
    """The display that suits stderr."""
    console = Console(file=sys.stderr, highlight=False)
    return LiveDisplay(console, title) if console.is_terminal else PlainDisplay(console, title)


def follow(client: Client, job_id: str, title: str | None = None, interval: float = 0.5) -> View:
    """Shows a job on stderr until it ended, and returns its last view."""
    with display(title or job_id) as shown:
        view = None
        for view in views(client, job_id, interval):
            shown.show(view)
    if view is None:
        raise AssertionError("a job has at least one view")
    return view
