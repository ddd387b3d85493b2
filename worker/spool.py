"""Between the child's pipes and the database: a bounded buffer in memory, in order.

While the database is away it fills up; when it is full, `put` blocks, the pipe fills up, and the training waits: no
point is lost. If this process dies with it, nothing is lost either: an attempt goes on from a checkpoint that became
visible only after everything that was said before it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """Full at `items` items or `size` bytes, whichever comes first."""

    def __init__(self, items: int, size: int) -> None:
        self._most_items = items
        self._most_bytes = size
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item, size: int) -> None:
        """Blocks while the spool is full. After `close` items are dropped: nobody owns them any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._full or self._closed)
            if not self._closed:
                self._items.append(item)
                self._bytes += size

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._most_items or self._bytes >= self._most_bytes

    def __len__(self) -> int:
        return len(self._items)

    def take(self) -> list[Item]:
        """Everything that is there."""
        with self._changed:
            items = list(self._items)
            self._empty()
            return items

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._empty()

    def _empty(self) -> None:
        self._items.clear()
        self._bytes = 0
        self._changed.notify_all()
