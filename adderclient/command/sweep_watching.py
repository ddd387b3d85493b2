"""Following a sweep, also to where all of its jobs wait for somebody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from adderclient.client import Client
from adderclient.command import copied, watching
from adderclient.command.sweep_text import best_of, counts_of
from adderclient.records import Job, Sweep
from adderclient.waiting import looks

SECONDS = 2.0
"""Between two looks at the jobs of a sweep that might all be waiting."""
MOST_NAMED = 5
"""Paused jobs that a remark names."""


@dataclass
class SweepView:
    """A sweep as it was last seen."""

    sweep: Sweep
    trouble: str = ""
    """Why the view is not up to date."""
    paused: tuple[str, ...] = ()
    """The ids of its paused jobs, where it rests."""
    waits: str | None = None
    """What its queued jobs ask for that no live worker has, where it rests."""
    rests: bool = False
    """Whether it does not go on by itself."""

    @property
    def seen(self) -> Sweep:
        """What is watched."""
        return self.sweep

    @property
    def fraction(self) -> float:
        """The part of its trials that have ended, 0 to 1."""
        counts = self.sweep.progress
        total = counts.get("total", 0)
        return (total - counts.get("running", 0) - counts.get("waiting", 0)) / total if total else 0.0

    @property
    def state(self) -> tuple[object, ...]:
        """What is told as soon as it changes."""
        return (self.text(),)

    def text(self) -> str:
        """One line about all of it."""
        line = f"{self.sweep.status}  {counts_of(self.sweep)}  best {best_of(self.sweep)}"
        return f"{line}  {self.trouble}" if self.trouble else line


def sweep_views(client: Client, sweep_id: str) -> Iterator[SweepView]:
    """The sweep again and again until it has ended; the caller sleeps."""
    going = looked = time.monotonic() - SECONDS
    unfinished: list[Job] = []
    for found in looks(lambda: client.sweeps.get(sweep_id), interval=0.0):
        view = SweepView(found.seen, watching.TROUBLE if found.trouble else "")
        now = time.monotonic()
        if not found.seen.finished and not found.trouble and now - looked >= SECONDS:
            looked = now
            unfinished = _held_up(client, found.seen)
            if not unfinished:
                going = now
        paused = tuple(job.id for job in unfinished if job.status == "paused")
        # What is paused stays so; a worker for the others, or a further trial, may be on its way.
        sure = len(paused) == len(unfinished) and not found.seen.progress.get("waiting")
        if unfinished and (sure or now - going > watching.PATIENCE):
            waits = next((job.waiting_for for job in unfinished if job.waiting_for), None)
            view = SweepView(found.seen, paused=paused, waits=waits, rests=True)
        yield view


def _held_up(client: Client, sweep: Sweep) -> list[Job]:
    """The unfinished jobs of a sweep, if none of them goes on by itself; else nothing."""
    running = sweep.progress.get("running", 0)
    held: list[Job] = []
    for status in ("paused", "queued") if running else ():
        for job in client.jobs.iterate(status=status, sweep=sweep.id):
            if status == "queued" and job.waiting_for is None:
                return []
            held.append(job)
    return held if len(held) == running else []


def why_it_waits(view: SweepView) -> str:
    """Says what a sweep that does not go on by itself waits for, and what can be done."""
    sweep = view.sweep
    said = []
    if view.paused:
        shown = view.paused if len(view.paused) <= MOST_NAMED else view.paused[:MOST_NAMED]
        others = f" (and {len(view.paused) - len(shown)} others)" if len(shown) < len(view.paused) else ""
        are = "job is" if len(view.paused) == 1 else "jobs are"
        said.append(f"{len(view.paused)} {are} paused: {copied.adder('resume', *shown)}{others}")
    if view.waits is not None:
        said.append(f"others are queued and cannot start: {view.waits}" if said else f"no job can start: {view.waits}")
    return f"{sweep.id} does not go on by itself. {'; '.join(said)}. Watch it again: {copied.adder('watch', sweep.id)}"
