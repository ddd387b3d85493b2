"""The interface by which a run reports while it goes on, and asks whether to stop."""

from pathlib import Path
from typing import Any

from addercore.train.reports import Artifact, MetricPoint, Phase, Progress


class Callbacks:
    """Reports of a run; override the methods you need.

    `on_checkpoint` is called on the thread that writes checkpoints, all others on the thread that trains. An exception
    in one of them ends the run.
    """

    def on_start(self, environment: dict[str, Any]) -> None:
        """Called once, before the first step.

        Args:
            environment: what the numbers depend on beside the configuration: device, backend, versions, threads.
        """

    def on_phase(self, phase: Phase) -> None:
        """Called when the run turns to something else.

        Args:
            phase: `reading_data`, `calibrating` (scales of an integer model), `training`, `validating`,
                `measuring` (a benchmark's latency), or `storing` while the files of a finished run are written.
        """

    def on_metrics(self, points: list[MetricPoint]) -> None:
        """Called with new points of metrics.

        Args:
            points: in order. A resumed run repeats those that followed its checkpoint, with the same name and step.
        """

    def on_progress(self, progress: Progress) -> None:
        """Called about twice a second, and at the end of every epoch.

        Args:
            progress: how far the run is.
        """

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        """Called when something notable happens.

        Args:
            type: `resumed`, `resume_inexact`, `checkpoint_lost`, `early_stop`, `stopped`, `no_curves`, or in an
                analysis `run_diverged`.
            message: a sentence for people.
            data: the same as plain values, such as the step.
        """

    def on_failed(self, artifacts: list[Artifact]) -> None:
        """Called before `Diverged` or `BadData` is raised, once the record of the failed run is written.

        Args:
            artifacts: its metrics, its summary and its curves.
        """

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        """Called when a checkpoint is complete and synced to disk. Older ones are removed when this returns.

        The points of its steps have been reported before; those of a few later steps may have been, too.

        Args:
            path: the checkpoint's file.
            step: optimizer steps done.
            epoch: epochs completed.
            sha256: of the file, in hexadecimal.
        """

    def should_stop(self) -> bool:
        """Asked after every step and between the batches of a validation. True saves a checkpoint and ends the run."""
        return False
