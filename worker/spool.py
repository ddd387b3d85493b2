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
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Blocks while the spool is full. After `close` items are dropped: nobody owns them any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self._closed)
            if not self._closed:
                self._items.append(item)

    def take(self) -> list[Item]:
        """Everything that is there."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
