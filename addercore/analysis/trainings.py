"""The trainings of an analysis, one after the other, reported as one run."""

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from addercore.analysis.findings import Finding
from addercore.analysis.images import shuffled_labels
from addercore.analysis.state import Keeper, Resumed
from addercore.config import AnalyzeConfig, Run
from addercore.errors import Diverged
from addercore.train.callbacks import Callbacks, MetricPoint, Progress
from addercore.train.run import fit

CURVES: Final = ("train/loss", "val/loss", "val/accuracy")
MUTED: Final = ("grad_norm/", "local_lr/")
"""Series of every layer: of a training alone they are worth a chart, of twenty trainings they hide the rest."""

Look = Callable[[Run, Path], tuple[dict[str, Any], dict[str, torch.Tensor]]]
"""What is kept of a trained model: facts and tensors."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where and with what the trainings run: the arguments of `fit` that are the same for all."""

    data_dir: Path | None
    device: str
    threads: int | None
    loader_workers: int
    backend: str | None


class _Inner(Callbacks):
    """What one training reports, in the analysis' terms: names begin with the run's, steps and epochs run on."""

    def __init__(self, owner: "Trainings", run: Run) -> None:
        self.owner, self.run = owner, run
        self.step, self.epoch = owner.begun[run.name]

    def on_metrics(self, points: list[MetricPoint]) -> None:
        told = [
            replace(p, name=f"{self.run.name}/{p.name}", step=self.step + p.step, epoch=self.epoch + p.epoch)
            for p in points
            if not p.name.startswith(MUTED)
        ]
        if told:
            self.owner.callbacks.on_metrics(told)

    def on_progress(self, progress: Progress) -> None:
        self.owner.tell_progress(self, progress)

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        moved = {"step": self.step, "epoch": self.epoch}
        data = {key: value + moved[key] if key in moved else value for key, value in data.items()}
        self.owner.callbacks.on_event(type, f"{self.run.name}: {message}", data)

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        self.owner.keep(self.run, path, self.step + step, self.epoch + epoch)

    def should_stop(self) -> bool:
        return self.owner.callbacks.should_stop()


class Trainings:
    """Runs the plan of `config`; `findings` has what is done, in the order of the plan."""

    def __init__(
        self, config: AnalyzeConfig, workdir: Path, options: Options, callbacks: Callbacks, look: Look
    ) -> None:
        self.config, self.workdir, self.options, self.callbacks = config, workdir, options, callbacks
        self._look = look
        self.plan = config.runs()
        self.findings: dict[str, Finding] = {}
        self.begun: dict[str, tuple[int, int]] = {}  # run → steps and epochs of all runs before it
        steps = epochs = 0
        for run in self.plan:
            self.begun[run.name] = steps, epochs
            steps, epochs = steps + run.steps, epochs + run.config.epochs
        self._steps, self._epochs = steps, epochs
        self._work = {run.name: run.operations() for run in self.plan}
        self._keeper = Keeper(workdir / "checkpoints", config, callbacks)
        self._began = time.monotonic()
        self._worked_before = 0  # operations that an earlier process did

    def run(self, resumed: Resumed | None) -> bool:
        """All that is left; False where the callbacks asked to stop, a checkpoint has been saved then."""
        if resumed is not None:
            self.findings = {finding.name: finding for finding in resumed.findings}
            self._worked_before = sum(self._work[name] for name in self.findings)
        for run in self.plan:
            if run.name in self.findings:
                continue
            mine = resumed is not None and run.name == resumed.run
            finding = self._train(run, resumed if mine else None)
            if finding is None:
                return False
            self.findings[run.name] = finding
            self._forget_teacher(run)
        return True

    def _train(self, run: Run, resumed: Resumed | None) -> Finding | None:
        """What `run` gave; None where it was stopped. Its folder is gone afterwards."""
        folder = self.workdir / "runs" / run.name
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir(parents=True)
        try:
            result = fit(
                run.config,
                workdir=folder,
                data_dir=self.options.data_dir,
                device=self.options.device,
                threads=self.options.threads,
                loader_workers=self.options.loader_workers,
                backend=self.options.backend,
                callbacks=_Inner(self, run),
                resume_from=None if resumed is None else resumed.write(folder),
                teacher=self._teacher(run, folder),
                relabel=shuffled_labels if self.config.control == "permuted_labels" else None,
                curves=False,
            )
            if result.stopped:
                return None
            facts = {"epochs": result.epoch, "steps": result.step, "metrics": result.metrics}
            seen, tensors = self._look(run, folder / "model.safetensors")
            return Finding(run.name, run.row, run.seed, facts | {"curves": _curves(folder)} | seen, tensors)
        except Diverged as error:
            self.callbacks.on_event("run_diverged", f"{run.name}: {error}", {"run": run.name})
            return Finding(run.name, run.row, run.seed, {"curves": _curves(folder)}, diverged=str(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, run: Run, inner: Path, step: int, epoch: int) -> None:
        """On the thread that writes the training's checkpoints; nothing changes `findings` meanwhile."""
        self._keeper.save(run.name, inner, list(self.findings.values()), step, epoch)

    def _teacher(self, run: Run, folder: Path) -> Path | None:
        """The model file of the run that teaches this one."""
        if run.teacher is None:
            return None
        taught = self.findings[run.teacher]
        if taught.diverged is not None:
            raise Diverged(f"its teacher {run.teacher} diverged")
        path = folder / "teacher.safetensors"
        path.write_bytes(taught.tensors["model"].numpy().tobytes())
        return path

    def _forget_teacher(self, run: Run) -> None:
        """A teacher whose pupil is done is not needed in later checkpoints."""
        if run.teacher is not None:
            taught = self.findings[run.teacher]
            self.findings[run.teacher] = replace(taught, tensors={})

    def tell_progress(self, inner: _Inner, progress: Progress) -> None:
        """`progress` of one training as that of all; the share of each is that of its operations."""
        total = max(1, sum(self._work.values()))
        before = sum(self._work[name] for name in self.findings)
        done = before + progress.fraction * self._work[inner.run.name]
        here = done - self._worked_before
        seconds = time.monotonic() - self._began
        last = inner.run is self.plan[-1] and progress.fraction == 1.0
        self.callbacks.on_progress(
            Progress(
                epoch=inner.epoch + progress.epoch,
                epochs=self._epochs,
                step=inner.step + progress.step,
                steps=self._steps,
                fraction=1.0 if last else done / total,
                images_per_second=progress.images_per_second,
                eta_seconds=0.0 if last else (total - done) * seconds / here if here > 0 else None,
            )
        )


def _curves(folder: Path) -> dict[str, list[list[float]]]:
    """Series → [epoch, value] at the end of each epoch; nothing of a run that failed before its first metrics."""
    path = folder / "metrics.csv"
    last: dict[str, dict[int, float]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["name"] in CURVES:
                    last.setdefault(row["name"], {})[int(row["epoch"])] = float(row["value"])
    return {name: [[epoch, value] for epoch, value in points.items()] for name, points in last.items()}
