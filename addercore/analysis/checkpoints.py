"""Checkpoints of an analysis: the findings of finished trainings, and the newest checkpoint of the current one.

They are files of `addercore.train.checkpoint`, written, verified and pruned like those of a training.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from addercore.analysis.findings import Finding
from addercore.config import AnalyzeConfig, InvalidConfig
from addercore.errors import CheckpointError
from addercore.files import write_atomic
from addercore.train import checkpoint
from addercore.train.callbacks import Callbacks

FORMAT: Final = 1


class AnalysisCheckpoints:
    """Wraps each checkpoint of a training into one of the analysis, and reports it to the analysis' callbacks."""

    def __init__(self, folder: Path, config: AnalyzeConfig, callbacks: Callbacks) -> None:
        self._folder, self._config, self._callbacks = folder, config, callbacks
        self._whole: set[Path] = set()
        for left in folder.glob(".checkpoint-*.tmp"):
            left.unlink(missing_ok=True)  # of a process that was killed while it wrote

    def save(self, run: str, inner: Path, findings: Iterable[Finding], step: int, epoch: int) -> None:
        """Saves `inner`, the checkpoint of `run`, with the findings; `step` and `epoch` count over all trainings."""
        state = {
            "format": FORMAT,
            "config": self._config.to_dict(),
            "findings": [finding.state_dict() for finding in findings],
            "run": run,
            "inner": torch.frombuffer(bytearray(inner.read_bytes()), dtype=torch.uint8),
        }
        path = checkpoint.path_for(self._folder, step, validated="-unvalidated" not in inner.name)
        digest = checkpoint.save(path, state)
        self._whole.add(path)
        self._callbacks.on_checkpoint(path, step, epoch, digest)
        checkpoint.prune(self._folder, self._config.checkpoint.keep, self._whole)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A loaded checkpoint: findings of finished trainings, and the current run with the bytes of its checkpoint."""

    findings: list[Finding]
    run: str
    inner: bytes

    def write(self, folder: Path) -> Path:
        """Writes the run's checkpoint as a file in `folder`."""
        path = folder / "resumed.adderck"
        write_atomic(path, self.inner)
        return path


def resume(path: Path, config: AnalyzeConfig, callbacks: Callbacks) -> Resumed:
    """Loads a checkpoint, or the newest whole one of a folder. `CheckpointError` if it is of another analysis."""
    found = checkpoint.load(path)
    for error in found.lost:
        callbacks.on_event("checkpoint_lost", f"a checkpoint cannot be used: {error}", {})
    state = found.state
    if "findings" not in state or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {found.path} is not of an analysis, or of another version of addercore")
    different = _different(config.to_dict(), _completed(state["config"]))
    if different:
        raise CheckpointError(f"checkpoint {found.path} is of another analysis: {', '.join(different)} differ")
    findings = [Finding.from_state_dict(part) for part in state["findings"]]
    return Resumed(findings, state["run"], state["inner"].numpy().tobytes())


def _completed(spec: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's configuration with the fields that came later at their defaults; as it is if it is none now."""
    try:
        return AnalyzeConfig.from_dict(spec).to_dict()
    except InvalidConfig:
        return spec


def _different(mine: dict[str, Any], its: dict[str, Any]) -> list[str]:
    """Fields that differ, but for `checkpoint`: how often to save does not change what is computed."""
    return sorted(key for key in mine if key != "checkpoint" and mine[key] != its.get(key))
