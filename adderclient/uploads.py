"""What both clients know of uploads: a file that reports how much of it was sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from adderclient.download import Transfer


class Counted(io.FileIO):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, progress: Callable[[Transfer], None] | None) -> None:
        super().__init__(path)
        self._path, self._progress, self._total = path, progress, path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        if self._progress is not None:
            self._progress(Transfer(self._path, self.tell(), self._total))
        return data
