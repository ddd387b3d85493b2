"""Following one job: its state and latest metrics, as a live bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

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
from adderclient.command.formats import duration, percent
from adderclient.command.output import STYLES
from adderclient.command.terminal import errors_console
from adderclient.records import Job
from adderclient.waiting import looks

METRICS = ("train/loss", "val/loss", "val/accuracy", "images_per_second")
PLAIN_SECONDS = 5.0
"""Least time between two plain lines of the same status."""
PATIENCE = 30.0
"""Seconds for which a queued job is watched that no live worker can run; a worker may be starting."""


@dataclass
class View:
    """A job and the latest value of each metric worth showing."""

    job: Job
    metrics: dict[str, float] = field(default_factory=dict)
    trouble: str = ""
    """Why the view is not up to date."""
    ran: float | None = None
    """Seconds for which it ran, once it has ended."""

    def text(self) -> str:
        """One line about all of it."""
        job, progress = self.job, self.job.progress
        parts = [job.status]
        if job.status == "queued":
            parts.append(job.waiting_for or f"position {job.queue_position}")
        if progress.phase and progress.phase != "training":
            parts.append(progress.phase.replace("_", " "))
        if progress.epochs:
            parts.append(f"epoch {progress.epoch or 0}/{progress.epochs}")
        if "train/loss" in self.metrics:
            parts.append(f"loss {self.metrics['train/loss']:.4f}")
        if "val/accuracy" in self.metrics:
            parts.append(f"val accuracy {percent(self.metrics['val/accuracy'])}")
        rate = progress.images_per_second or self.metrics.get("images_per_second")
        if rate and not job.finished:
            parts.append(f"{rate:.0f} images/s")
        if progress.eta_seconds is not None and job.status == "running":
            parts.append(f"{duration(progress.eta_seconds)} left")
        if self.ran is not None:
            parts.append(f"ran for {duration(self.ran)}")
        if self.trouble:
            parts.append(self.trouble)
        return "  ".join(parts)


def views(client: Client, job_id: str, interval: float) -> Iterator[View]:
    """The job every ``interval`` seconds until it has ended; the last view has its final status and all its metrics."""
    cursor = 0
    metrics: dict[str, float] = {}
    ran: float | None = None

    def look() -> Job:
        nonlocal cursor, ran
        job = client.jobs.get(job_id)
        for point in client.jobs.metrics(job_id, METRICS, after_seq=cursor):
            cursor = point.seq
            if point.value is not None:
                metrics[point.name] = point.value
        ran = client.jobs.run_seconds(job) if job.finished else None
        return job

    for found in looks(look, interval=interval):
        trouble = "" if found.trouble is None else "server does not answer, trying again"
        yield View(found.seen, metrics, trouble, ran)


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
            Text(f"{percent(fraction, 0):>5}"),
            Text(view.text(), style=STYLES.get(view.job.status, "")),
        )
        self._live.update(row)


class PlainDisplay:
    """A line whenever the status has changed, and every few seconds."""

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
        state = (view.job.status, view.job.waiting_for, view.trouble)
        now, line = time.monotonic(), view.text()
        if line != self._line and (state != self._last or now - self._time >= PLAIN_SECONDS or view.job.finished):
            share = percent(view.job.progress.fraction or 0, 0)
            self._console.print(f"{self._title}  {share:>5}  {line}", markup=False, soft_wrap=True)
            self._last, self._time, self._line = state, now, line


def display(title: str) -> Display:
    """The display that suits stderr."""
    console = errors_console()
    return LiveDisplay(console, title) if console.is_terminal else PlainDisplay(console, title)


def follow(client: Client, job_id: str, title: str | None = None, interval: float = 0.5) -> View:
    """Shows a job on stderr until it has ended, or until it does not go on by itself, and returns its last view."""
    startable = time.monotonic()
    with display(title or job_id) as shown:
        for view in views(client, job_id, interval):
            shown.show(view)
            if view.job.waiting_for is None:
                startable = time.monotonic()
            if view.job.status == "paused" or time.monotonic() - startable > PATIENCE:
                break
    return view


def why_it_waits(client: Client, job: Job) -> str:
    """Says what a job that does not go on by itself waits for, and what can be done."""
    if job.status != "paused":
        return f"{job.id} is queued and cannot start: {job.waiting_for}. Watch it again: adder watch {job.id}"
    attempts = client.jobs.attempts(job.id)
    told = attempts[-1].message if attempts and attempts[-1].cause not in (None, "paused") else None
    reason = f" ({told.rstrip('.')})" if told else ""
    return f"{job.id} is paused{reason} and goes on when it is resumed: adder resume {job.id}"
