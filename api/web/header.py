"""What every page needs: the state of the service for the header, filters from the query string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from jobs.repository import recovery
from jobs.settings import Settings
from jobs.states import Status

PAGE_SIZE = 25


@dataclass(frozen=True)
class WorkerView:
    hostname: str
    device: str
    slots: int
    details: str
    draining: bool


@dataclass(frozen=True)
class Health:
    """The line at the top of every page."""

    counts: Mapping[str, int]
    workers: Sequence[WorkerView]

    @property
    def queued(self) -> int:
        return self.counts[Status.QUEUED]

    @property
    def running(self) -> int:
        return sum(self.counts[status] for status in Status if status.owned)

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.workers)


def health(session: Session, settings: Settings) -> Health:
    workers = [
        WorkerView(row.hostname, row.device, row.slots, _details(row.info), row.draining is not None)
        for row in recovery.live_workers(session, settings.alive_ms)
    ]
    return Health(recovery.depth(session), workers)


def _details(info: Mapping[str, Any]) -> str:
    return " · ".join(f"{key} {value}" for key, value in info.items() if isinstance(value, str | int | float))


@dataclass(frozen=True)
class Filters:
    """The list's filters, as they stand in the address."""

    status: tuple[str, ...] = ()
    kind: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def query(self, **more: str) -> str:
        pairs = [("status", status) for status in self.status]
        pairs += [("kind", self.kind)] if self.kind else []
        pairs += [("label", f"{key}:{value}") for key, value in self.labels]
        pairs += [(key, value) for key, value in more.items() if value]
        return "?" + urlencode(pairs) if pairs else "/"

    def with_status(self, status: Sequence[str]) -> Filters:
        return Filters(tuple(status), self.kind, self.labels)

    def with_label(self, key: str, value: str) -> Filters:
        labels = self.labels if (key, value) in self.labels else (*self.labels, (key, value))
        return Filters(self.status, self.kind, labels)

    def without_label(self, key: str, value: str) -> Filters:
        return Filters(self.status, self.kind, tuple(label for label in self.labels if label != (key, value)))

    def __bool__(self) -> bool:
        return bool(self.status or self.kind or self.labels)


def parse_filters(status: Sequence[str], kind: str, label: Sequence[str]) -> Filters:
    """Raises ValueError with a sentence about the first filter that makes no sense."""
    for value in filter(None, status):
        if value not in set(Status):
            raise ValueError(f"There is no status {value!r}; known: {', '.join(Status)}.")
    labels = []
    for text in filter(None, label):
        key, colon, value = text.partition(":")
        if not (key and colon) or "\0" in text:
            raise ValueError(f"A label filter reads key:value, got {text!r}.")
        labels.append((key, value))
    return Filters(tuple(filter(None, status)), kind, tuple(labels))
