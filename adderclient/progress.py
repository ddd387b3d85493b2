"""How far something is that is waited for: a line of text, or a call of the user's own function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from adderclient.formats import duration, percent
from adderclient.records import Dataset, Job, Sweep

W = TypeVar("W", bound=Job | Sweep | Dataset)

Progress = bool | Callable[[W], None]
"""True shows a line about each look on stderr, False nothing; a function is called with what was seen."""


@contextmanager
def shown(progress: Progress[W]) -> Iterator[Callable[[W], None]]:
    """Gives what to call with each look, and ends the line at last."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda seen: None
        return
    line = _Line(sys.stderr)
    try:
        yield lambda seen: line.write(described(seen))
    finally:
        line.end()


def described(seen: Job | Sweep | Dataset) -> str:
    """One line about how far a job, a sweep or an upload is, with nothing in it that steers a terminal."""
    if isinstance(seen, Dataset):
        parts = [seen.name, seen.status]
    elif isinstance(seen, Sweep):
        parts = [seen.id, seen.status, f"{seen.progress.get('done', 0)} of {seen.progress.get('total', '?')} done"]
    else:
        parts = [seen.id, seen.status, *_of_job(seen)]
    return "".join(letter if letter.isprintable() else "?" for letter in "  ".join(parts))


def _of_job(job: Job) -> Iterator[str]:
    far = job.progress
    if job.status == "queued":
        yield job.waiting_for or f"position {job.queue_position}"
    elif not job.finished:
        if far.phase and far.phase != "training":
            yield far.phase.replace("_", " ")
        if far.epochs:
            yield f"epoch {far.epoch or 0}/{far.epochs}"
        if far.fraction is not None:
            yield percent(far.fraction, 0)
        if job.status != "running":
            return
        if far.images_per_second:
            yield f"{far.images_per_second:.0f} images/s"
        if far.eta_seconds is not None:
            yield f"{duration(far.eta_seconds)} left"


class _Line:
    """A line that is written over on a terminal and in a notebook; elsewhere each change is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._over = stream.isatty() or "ipykernel" in sys.modules
        self._last = ""

    def write(self, text: str) -> None:
        if text == self._last:
            return
        self._stream.write(f"\r{text:<{len(self._last)}}" if self._over else f"{text}\n")
        self._stream.flush()
        self._last = text

    def end(self) -> None:
        if self._over and self._last:
            self._stream.write("\n")
