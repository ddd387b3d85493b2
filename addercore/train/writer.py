"""Writes checkpoints on a thread: serialises, hashes, syncs and renames them, reports them, removes old ones."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from addercore.train import checkpoint

Report = Callable[[Path, int, int, str], None]
"""Path, step, epochs completed, sha256."""


class CheckpointWriter:
    """Writes one checkpoint at a time. `busy` and `wait` raise a failed write's error, on the training's thread."""

    def __init__(self, folder: Path, keep: int, report: Report) -> None:
        self._folder, self._keep, self._report = folder, keep, report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._write: Future[None] | None = None
        self._whole: set[Path] = set()
        for left in folder.glob(".checkpoint-*.tmp"):
            left.unlink(missing_ok=True)  # of a process that was killed while it wrote

    def busy(self) -> bool:
        """Whether a write is under way."""
        if self._write is not None and self._write.done():
            self.wait()
        return self._write is not None

    def wait(self) -> None:
        """Waits until nothing is being written."""
        if self._write is not None:
            write, self._write = self._write, None
            write.result()

    def start(self, path: Path, step: int, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Starts to write what `state` returns on the writer's thread; it must not change until that is done."""
        self.wait()
        self._write = self._thread.submit(self._save, path, step, epoch, state)

    def _save(self, path: Path, step: int, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        checksum = checkpoint.save(path, state())
        self._whole.add(path)
        self._report(path, step, epoch, checksum)
        checkpoint.prune(self._folder, self._keep, self._whole)  # only now: the one before was still needed

    def close(self) -> None:
        """Waits for a write that is under way, and ignores its error."""
        self._thread.shutdown(wait=True)
