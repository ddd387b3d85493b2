"""What a training run tells its owner while it goes on."""

from pathlib import Path
from typing import Any

from addercore.train.reports import Artifact, MetricPoint, Progress


class Callbacks:
    """Override what you need; `on_checkpoint` is called on the thread that writes them, all else on the training's."""

    def on_start(self, environment: dict[str, Any]) -> None:
        """Once, before the first step: device, backend, versions, threads."""

    def on_metrics(self, points: list[MetricPoint]) -> None:
        """New points. A resumed run repeats those that followed its checkpoint, with the same (name, step)."""

    def on_progress(self, progress: Progress) -> None:
        """About twice a second, and at the end of every epoch."""

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        """A notable moment: `resumed`, `resume_inexact`, `checkpoint_lost`, `early_stop`, `stopped`, `no_curves`."""

    def on_failed(self, artifacts: list[Artifact]) -> None:
        """A run that ends with `Diverged` or `BadData` has written its metrics, its summary and its curves."""

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        """A checkpoint lies at `path`, complete and synced to disk; older ones are removed when this returns.

        The points of its steps were reported before, those of a few later steps may have been too.
        """

    def should_stop(self) -> bool:
        """Asked after every step and between batches of a validation; True saves a checkpoint and ends the run."""
        return False
