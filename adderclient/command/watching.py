"""Following jobs: their states and latest metrics, as live bars on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adderclient.client import Client
from adderclient.command import copied
from adderclient.command.output import STYLES
from adderclient.command.terminal import errors_console
from adderclient.formats import duration, percent
from adderclient.records import Job, Sweep
from adderclient.waiting import looks

METRICS = ("train/loss", "val/loss", "val/accuracy", "images_per_second")
PLAIN_SECONDS = 5.0
"""Least time between two plain lines of the same status."""
TROUBLE = "server does not answer, trying again"
PATIENCE = 30.0
"""Seconds for which a queued job is watched that no live worker can run; a worker may be starting."""
NARROW = 110
"""Columns of a terminal below which the bar is short."""


@dataclass
class View:
    """A job and the latest value of each metric worth showing."""

    job: Job
    metrics: dict[str, float] = field(default_factory=dict)
    trouble: str = ""
    """Why the view is not up to date."""
    ran: float | None = None
    """Seconds for which it ran, once it has ended."""
    rests: bool = False
    """Whether it does not go on by itself."""

    @property
    def seen(self) -> Job:
        """What is watched."""
        return self.job

    @property
    def fraction(self) -> float:
        """The part that is done, 0 to 1."""
        return 1.0 if self.job.status == "succeeded" else self.job.progress.fraction or 0.0

    @property
    def state(self) -> tuple[object, ...]:
        """What is told as soon as it changes."""
        return (self.job.status, self.job.waiting_for, self.trouble)

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
    startable = time.monotonic()

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
        job = found.seen
        if job.waiting_for is None:
            startable = time.monotonic()
        rests = job.status == "paused" or time.monotonic() - startable > PATIENCE
        yield View(job, metrics, TROUBLE if found.trouble else "", ran, rests)


class Watched(Protocol):
    """What a display shows of a job or a sweep."""

    @property
    def seen(self) -> Job | Sweep: ...

    @property
    def fraction(self) -> float: ...

    @property
    def state(self) -> tuple[object, ...]: ...

    @property
    def rests(self) -> bool: ...

    def text(self) -> str: ...


class Display(Protocol):
    """Where views are shown."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, views: Mapping[str, Watched]) -> None:
        """Shows the newest views by their titles."""


class LiveDisplay:
    """Bars that move, one below the other, for terminals."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)
        self._bar = 24 if console.width >= NARROW else 8

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, views: Mapping[str, Watched]) -> None:
        """Redraws the bars."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(width=self._bar)
        grid.add_column(no_wrap=True, justify="right", min_width=5)
        grid.add_column()
        for title, view in views.items():
            grid.add_row(
                Text(title, style="bold"),
                ProgressBar(total=1.0, completed=view.fraction, width=self._bar),
                percent(view.fraction, 0),
                Text(view.text(), style=STYLES.get(view.seen.status, ""), no_wrap=True, overflow="ellipsis"),
            )
        self._live.update(grid)


class PlainDisplay:
    """A line whenever a status has changed, and every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, tuple[tuple[object, ...], float, str]] = {}
        """Of each title the state, time and text of the last line."""

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, views: Mapping[str, Watched]) -> None:
        """Prints a line for each that has something new to say."""
        now = time.monotonic()
        for title, view in views.items():
            line = view.text()
            state, at, last = self._said.get(title, ((), 0.0, ""))
            if line != last and (view.state != state or now - at >= PLAIN_SECONDS or view.seen.finished):
                share = percent(view.fraction, 0)
                self._console.print(f"{title}  {share:>5}  {line}", markup=False, soft_wrap=True)
                self._said[title] = (view.state, now, line)


def display() -> Display:
    """The display that suits stderr."""
    console = errors_console()
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def follow_all(watched: Mapping[str, Iterator[Watched]], interval: float) -> dict[str, Watched]:
    """Shows jobs and sweeps on stderr until each has ended, or does not go on by itself.

    Args:
        watched: the views of each by its title; they do not sleep.
        interval: seconds between two looks.

    Returns:
        The last view of each.
    """
    going = dict(watched)
    last: dict[str, Watched] = {}
    with display() as shown:
        while True:
            for title, found in list(going.items()):
                last[title] = next(found)
                if last[title].seen.finished or last[title].rests:
                    del going[title]
            shown.show(last)
            if not going:
                return last
            time.sleep(interval)


def follow(client: Client, job_id: str, title: str | None = None, interval: float = 0.5) -> View:
    """Shows a job on stderr until it has ended, or until it does not go on by itself, and returns its last view."""
    name = title or job_id
    last = follow_all({name: views(client, job_id, 0.0)}, interval)[name]
    if not isinstance(last, View):
        raise AssertionError("views of a job are views of a job")
    return last


def why_it_waits(client: Client, job: Job) -> str:
    """Says what a job that does not go on by itself waits for, and what can be done."""
    if job.status != "paused":
        again = copied.adder("watch", job.id)
        return f"{job.id} is queued and cannot start: {job.waiting_for}. Watch it again: {again}"
    attempts = client.jobs.attempts(job.id)
    told = attempts[-1].message if attempts and attempts[-1].cause not in (None, "paused") else None
    reason = f" ({told.rstrip('.')})" if told else ""
    return f"{job.id} is paused{reason} and goes on when it is resumed: {copied.adder('resume', job.id)}"
