"""The filters of the job list, as they stand in the address of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.states import Status


@dataclass(frozen=True)
class Filters:
    """Jobs must match all of these; an empty field filters nothing."""

    status: tuple[str, ...] = ()
    kind: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def query(self, **more: str) -> str:
        """The address of the list with these filters and the parameters `more`."""
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
    """The filters of a query string. Raises ValueError with a sentence about the first one that is malformed."""
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
