"""Runs the trainings of an analysis one after the other, and reports them as one run."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

import torch

from addercore.analysis.checkpoints import AnalysisCheckpoints, Resumed
from addercore.analysis.findings import Finding
from addercore.analysis.images import shuffled_labels
from addercore.config import AnalyzeConfig, Run
from addercore.errors import Diverged, Stopped
from addercore.train.callbacks import Callbacks
from addercore.train.reports import MetricPoint, Phase, Progress
from addercore.train.run import fit

CURVES: Final = ("train/loss", "val/loss", "val/accuracy")
MUTED: Final = ("grad_norm/", "local_lr/")
"""Metrics of single layers, which an analysis does not report: of twenty trainings they would hide the rest."""

Measure = Callable[[Run, Path], tuple[dict[str, Any], dict[str, torch.Tensor]]]
"""Measures a trained model, given by its file: facts and tensors."""


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments of `fit` that all trainings share."""

    data_dir: Path | None
    device: str
    threads: int | None
    loader_workers: int
    backend: str | None


class _TrainingCallbacks(Callbacks):
    """Reports of one training as reports of the analysis: with the run's name in front, and steps of all trainings."""

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

    def on_phase(self, phase: Phase) -> None:
        if phase != "storing":  # the analysis stores, when all its trainings have ended
            self.owner.callbacks.on_phase(phase)

    def on_progress(self, progress: Progress) -> None:
        self.owner.tell_progress(self, progress)

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        if type == "resumed":
            self.owner.count_resumed(self.run, data["step"])
        moved = {"step": self.step, "epoch": self.epoch}
        data = {key: value + moved[key] if key in moved else value for key, value in data.items()}
        self.owner.callbacks.on_event(type, f"{self.run.name}: {message}", data)

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        self.owner.keep(self.run, path, self.step + step, self.epoch + epoch)

    def should_stop(self) -> bool:
        return self.owner.callbacks.should_stop()


class Trainings:
    """Runs the plan of `config`. `findings` has the finished trainings, in the order of the plan."""

    def __init__(
        self, config: AnalyzeConfig, workdir: Path, options: Options, callbacks: Callbacks, measure: Measure
    ) -> None:
        self.config, self.workdir, self.options, self.callbacks = config, workdir, options, callbacks
        self._measure = measure
        self.plan = config.runs()
        self.findings: dict[str, Finding] = {}
        self.begun: dict[str, tuple[int, int]] = {}  # run → steps and epochs of all runs before it
        steps = epochs = 0
        for run in self.plan:
            self.begun[run.name] = steps, epochs
            steps, epochs = steps + run.steps, epochs + run.config.epochs
        self._steps, self._epochs = steps, epochs
        self._work = {run.name: run.operations() for run in self.plan}
        self._checkpoints = AnalysisCheckpoints(workdir / "checkpoints", config, callbacks)
        self._began = monotonic()
        self._worked_before = 0.0  # operations that an earlier process did, finished trainings and part of one

    def run(self, resumed: Resumed | None) -> bool:
        """Runs what is left. False if the callbacks asked to stop; a checkpoint has been saved then."""
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
        """Trains and measures `run`; None if it was stopped. Removes its folder in the end."""
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
                callbacks=_TrainingCallbacks(self, run),
                resume_from=None if resumed is None else resumed.write(folder),
                teacher=self._teacher(run, folder),
                relabel=shuffled_labels if self.config.control == "permuted_labels" else None,
                curves=False,
            )
            if result.stopped:
                return None
            facts = {"epochs": result.epoch, "steps": result.step, "metrics": result.metrics}
            seen, tensors = self._measure(run, folder / "model.safetensors")
            return Finding(run.name, run.row, run.seed, facts | {"curves": _curves(folder)} | seen, tensors)
        except Stopped:
            return None  # while it was measured: it is measured again after its last checkpoint
        except Diverged as error:
            self.callbacks.on_event("run_diverged", f"{run.name}: {error}", {"run": run.name})
            return Finding(run.name, run.row, run.seed, {"curves": _curves(folder)}, diverged=str(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, run: Run, inner: Path, step: int, epoch: int) -> None:
        """Saves a checkpoint. Called on the thread that writes the training's, while `findings` does not change."""
        self._checkpoints.save(run.name, inner, list(self.findings.values()), step, epoch)

    def _teacher(self, run: Run, folder: Path) -> Path | None:
        """Writes the model file of the run that teaches this one; None if there is none."""
        if run.teacher is None:
            return None
        taught = self.findings[run.teacher]
        if taught.diverged is not None:
            raise Diverged(f"its teacher {run.teacher} diverged")
        path = folder / "teacher.safetensors"
        path.write_bytes(taught.tensors["model"].numpy().tobytes())
        return path

    def _forget_teacher(self, run: Run) -> None:
        """Drops the weights of a teacher whose students are done, so that later checkpoints do not have them."""
        left = (other.teacher for other in self.plan if other.name not in self.findings)
        if run.teacher is not None and run.teacher not in left:
            taught = self.findings[run.teacher]
            self.findings[run.teacher] = replace(taught, tensors={})

    def count_resumed(self, run: Run, step: int) -> None:
        """Notes that `run` resumes after `step`: what came before is the work of an earlier process."""
        self._worked_before += self._work[run.name] * step / run.steps

    def tell_progress(self, inner: _TrainingCallbacks, progress: Progress) -> None:
        """Reports the progress of one training as that of the analysis; trainings count by their operations."""
        total = max(1, sum(self._work.values()))
        before = sum(self._work[name] for name in self.findings)
        done = before + progress.fraction * self._work[inner.run.name]
        here = done - self._worked_before
        seconds = monotonic() - self._began
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
    """The metrics in `CURVES` as [epoch, value] at the end of each epoch; empty if a run failed before its first."""
    path = folder / "metrics.csv"
    last: dict[str, dict[int, float]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["name"] in CURVES:
                    last.setdefault(row["name"], {})[int(row["epoch"])] = float(row["value"])
    return {name: [[epoch, value] for epoch, value in points.items()] for name, points in last.items()}
