"""A bounded buffer in memory between the child's pipes and the database. It keeps the order.

While the database is away it fills up. When it is full, `put` blocks, the pipe fills up and the training waits, so that
no point is lost. If this process dies, nothing is lost either: the next attempt resumes from a checkpoint, which was
published only after everything that the child had sent before it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """Full at `items` items or at `size` bytes, whichever comes first."""

    def __init__(self, items: int, size: int) -> None:
        self._most_items = items
        self._most_bytes = size
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item, size: int) -> None:
        """Adds an item of `size` bytes. Blocks while the spool is full. After `close` it drops items."""
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
        """Removes and returns all items."""
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
