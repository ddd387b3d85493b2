"""The training loop (Algorithm 1), with the state, the metrics and the checkpoints that make a run resumable."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from addercore.config import InvalidConfig, TrainConfig, dataset
from addercore.data import Source
from addercore.errors import CheckpointError, Diverged, RankLost, Stopped
from addercore.train import checkpoint
from addercore.train.batches import Batches, Shard
from addercore.train.callbacks import Callbacks
from addercore.train.distillation import Teacher
from addercore.train.environment import EXACT
from addercore.train.evaluation import EvaluationBatches, score
from addercore.train.history import History
from addercore.train.isolation import rng_state, set_rng_state
from addercore.train.loader import Loader
from addercore.train.pace import Pace
from addercore.train.ranks import Ranks
from addercore.train.reports import MetricPoint, Progress
from addercore.train.snapshot import Snapshot
from addercore.train.state import Best, Position, RunningMetrics
from addercore.train.stepping import Stepper
from addercore.train.writer import CheckpointWriter

PROGRESS_SECONDS = 0.5
StartRanks = Callable[[Stepper, Position], Ranks]
"""Starts the processes of the other ranks at a position, with the state that the stepper has."""


class Trainer:
    """One run, or rank 0 of one. Steps are optimizer steps, each over `accumulate` batches.

    Datasets that fit are kept on `device`. With `loader_workers`, processes make the training's batches ahead of time,
    and the validation's if that split does not fit.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        train: Source,
        validation: Source,
        device: torch.device,
        folder: Path,
        callbacks: Callbacks,
        environment: dict[str, Any],
        loader_workers: int = 0,
        teacher: Teacher | None = None,
        shard: Shard = Shard(),
        start_ranks: StartRanks | None = None,
    ) -> None:
        self.config, self.model, self.device, self.teacher = config, model, device, teacher
        self.folder, self.callbacks, self.environment = folder, callbacks, environment
        self.batches = Batches(train if loader_workers else train.to(device), config, device, shard)
        self.stepper = Stepper(config, model, self.batches, device, teacher)
        self.optimizer = self.stepper.optimizer
        self.validation = EvaluationBatches(validation, self.batches.preprocess, device, loader_workers)
        self.classes = len(dataset(config.dataset.name).classes)
        self.loader_workers = loader_workers
        self.loader: Loader | None = None
        self._start_ranks = start_ranks
        self.ranks: Ranks | None = None
        self.steps = self.stepper.steps
        self.position = Position()
        self.window, self.whole_epoch = RunningMetrics(device), RunningMetrics(device)
        self.history = History()
        self.metrics: dict[str, float] = {}  # of the last epoch
        self.best: Best | None = None
        self.threshold: float | None = None  # val/accuracy that early stopping wants to see beaten
        self.stopped = False
        now = time.monotonic()
        self._saved_at = self._told_at = now
        self._saved: Position | None = None  # of the newest checkpoint
        self._due = False
        self._snapshot = Snapshot(device)
        self._writer = CheckpointWriter(folder, config.checkpoint.keep, callbacks.on_checkpoint)
        self.pace = Pace()

    # --- the loop

    def run(self) -> None:
        """Trains from the current state to the last epoch, to early stopping, or until the callbacks ask to stop.

        The last checkpoint has been written when this returns.
        """
        try:
            if self._start_ranks is not None and not self.position.finished:
                self.ranks = self._start_ranks(self.stepper, self.position)
            self._start_loader()
            while not self.position.finished and not self.stopped:
                self._epoch()
            if self.position.finished and self._saved != self.position:
                self.save()
            self._writer.wait()
        except RankLost as error:
            raise error if self.ranks is None else self.ranks.cause(error) from error
        finally:
            if self.ranks is not None:
                self.ranks.close()
            self._writer.close()
            if self.loader is not None:
                self.loader.close()

    def _start_loader(self) -> None:
        if self.loader_workers and not self.position.finished:
            first = self.position.step_in_epoch * self.config.optimizer.accumulate
            self.loader = Loader.of_training(self.batches, self.loader_workers, self.position.epoch, first)

    def _epoch(self) -> None:
        """Does the rest of the current epoch: its steps and the validation."""
        order = self.batches.permutation(self.position.epoch)
        self.callbacks.on_phase("training")
        while self.position.step_in_epoch < self.batches.steps_per_epoch and not self.stopped:
            with self.pace.running():
                self._step(order)
            self._between_steps(epoch_ended=False)
        if self.stopped:
            return
        try:
            self._end_epoch()
        except Stopped:
            return  # resumed, the run begins with this validation
        self._between_steps(epoch_ended=True)

    def _step(self, order: Tensor) -> None:
        """Does one optimizer step and counts what it saw."""
        number, take = self.position.step_in_epoch, None if self.loader is None else self.loader.take
        sums = self.stepper.step(self.position.epoch, number, order, take)
        for metrics in (self.window, self.whole_epoch):
            for one in sums:
                metrics.add(one.loss, one.correct, one.images, one.distilled)
        self.position.step += 1
        self.position.step_in_epoch += 1
        due = self.position.step % self.config.metrics_every_steps == 0
        means = self.window.means() if due else None  # waits for a GPU, so that its time counts as the step's
        self.pace.count(self.batches.images_in(number))
        if means is not None:
            self._emit_training(*means)

    def _end_epoch(self) -> None:
        """Validates and ends the epoch. Raises `Stopped`, with the state unchanged, if that is asked for meanwhile."""
        with self.pace.running():
            loss, accuracy = self.whole_epoch.means()  # waits for the steps that a GPU still computes
        self._check_finite(loss)
        self.callbacks.on_phase("validating")
        self.stepper.set_power(self.position.step)
        found = score(self.model, self.validation, self.classes, self.config.precision, self._between_batches)
        val_accuracy = found.accuracy
        validated = {"val/loss": found.loss, "val/accuracy": val_accuracy}
        if found.top5 is not None:
            validated["val/top5"] = found.top5
        self.metrics = {"train/loss": loss, "train/accuracy": accuracy, **validated}
        self._emit(validated)
        self._check_finite(found.loss)
        self.position.epoch += 1
        self.position.step_in_epoch = 0
        self.whole_epoch.reset()
        # A network that computes another power is none that could be published, or that a later one should beat.
        if (
            self.config.publish == "best"
            and self.stepper.p == 1
            and (self.best is None or val_accuracy > self.best.metrics["val/accuracy"])
        ):
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = Best(self.position.epoch, dict(self.metrics), weights)
        self.position.finished = self._stale(val_accuracy) or self.position.epoch == self.config.epochs
        if self.position.finished and self.window.images:
            self._emit_training(*self.window.means())

    def _stale(self, accuracy: float) -> bool:
        """Whether early stopping ends the run after this epoch."""
        rule = self.config.early_stop
        if rule is None or self.stepper.p != 1:
            return False
        if self.threshold is None or accuracy > self.threshold + rule.min_delta:
            self.threshold, self.position.stale = accuracy, 0
            return False
        self.position.stale += 1
        if self.position.stale < rule.patience:
            return False
        self.callbacks.on_event(
            "early_stop",
            f"val/accuracy has not risen above {self.threshold:.4f} for {rule.patience} epochs: "
            f"stopped after epoch {self.position.epoch}",
            {"epoch": self.position.epoch, "step": self.position.step, "best": self.threshold},
        )
        return True

    def _between_steps(self, epoch_ended: bool) -> None:
        """Reports progress, saves a checkpoint if one is due, and asks whether to stop."""
        self._tell_progress(epoch_ended)
        busy = self._writer.busy()
        rule = self.config.checkpoint
        if epoch_ended and rule.every_epochs is not None and self.position.epoch % rule.every_epochs == 0:
            self._due = True
        if rule.every_seconds is not None and time.monotonic() - self._saved_at >= rule.every_seconds:
            self._due = True
        # One that is due while another is being written is put off until that is done: training never waits for a disk,
        # and the state that is saved then is a newer one.
        if self._due and not busy and self._saved != self.position:
            self.save()
        if self.callbacks.should_stop() and not self.position.finished:
            if self._saved != self.position:
                self.save()
            self.stopped = True
            data = {"step": self.position.step, "epoch": self.position.epoch}
            self.callbacks.on_event("stopped", f"stopped on request after step {self.position.step}", data)

    def _between_batches(self, done: int, batches: int) -> None:
        """Between batches of a validation the state is that of the last step: it can be saved, and the run stopped."""
        if done < batches:
            self._between_steps(epoch_ended=False)
            if self.stopped:
                raise Stopped

    # --- metrics

    @property
    def epoch_begun(self) -> int:
        """The epoch of points that are emitted now, from 1."""
        return min(self.position.epoch + 1, self.config.epochs)

    def _emit_training(self, loss: float, accuracy: float) -> None:
        rate, (lr, filter_lr) = self.pace.lap(), self.stepper.rates
        values = {
            "train/loss": loss,
            **({} if self.teacher is None else {"train/distill_loss": self.window.distilled_mean()}),
            "train/accuracy": accuracy,
            "lr": lr,
            **({} if self.config.optimizer.filter_lr is None else {"filter_lr": filter_lr}),
            **({} if self.config.model.p_schedule is None else {"p": self.stepper.p}),
            **({} if rate is None else {"images_per_second": rate}),
        }
        values |= {f"grad_norm/{name}": value for name, value in self.optimizer.grad_norms().items()}
        values |= {f"local_lr/{name}": value for name, value in self.optimizer.local_rates().items()}
        self._emit(values)
        self.window.reset()
        self._check_finite(loss)

    def _emit(self, values: dict[str, float]) -> None:
        """Reports and records finite values. One that is not ends the run elsewhere (`_check_finite`)."""
        stamp = time.time_ns() // 1_000_000
        epoch = self.position.epoch if self.position.finished else self.epoch_begun
        points = [
            MetricPoint(name, self.position.step, epoch, value, stamp)
            for name, value in values.items()
            if isfinite(value)
        ]
        self.history.add(points)
        if points:
            self.callbacks.on_metrics(points)

    def _check_finite(self, loss: float) -> None:
        if not isfinite(loss):
            raise Diverged(
                f"the loss became {loss} by step {self.position.step} (epoch {self.epoch_begun}); "
                f"try a smaller optimizer.lr than {self.config.optimizer.lr} or set optimizer.clip_norm"
            )

    def _tell_progress(self, always: bool) -> None:
        now = time.monotonic()
        if not always and now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        left = 0 if self.position.finished else self.steps - self.position.step
        self.callbacks.on_progress(
            Progress(
                epoch=self.position.epoch if always else self.epoch_begun,
                epochs=self.config.epochs,
                step=self.position.step,
                steps=self.steps,
                fraction=1.0 if self.position.finished else self.position.step / self.steps,
                images_per_second=self.pace.images_per_second(),
                eta_seconds=self.pace.seconds_for(left),
            )
        )

    # --- state

    def save(self) -> None:
        """Starts to write a checkpoint, after the one that is being written; never of a diverged run."""
        if self.window.images:
            with self.pace.running():
                loss, _ = self.window.means()  # waits for the steps that a GPU still computes
            self._check_finite(loss)
        self._writer.wait()
        position = replace(self.position)
        validated = position.finished or position.step_in_epoch < self.batches.steps_per_epoch
        path = checkpoint.path_for(self.folder, position.step, validated)
        self._saved, self._saved_at, self._due = position, time.monotonic(), False
        self._writer.start(path, position.step, position.epoch, self._freeze())

    def _freeze(self) -> Callable[[], dict[str, Any]]:
        """Copies the current state; the function that is returned assembles it, on another thread."""
        state = {
            "format": 1,
            "config": self.config.to_dict(),
            "environment": self.environment,
            "teacher": None if self.teacher is None else self.teacher.sha256,
            **self._snapshot.take(self._tensors()),
            "rng": rng_state(self.device),
            "place": asdict(self.position),
            "p": self.stepper.p,
            "window": self.window.state_dict(),
            "whole_epoch": self.whole_epoch.state_dict(),
            "pace": self.pace.state_dict(),
            "metrics": self.metrics,  # replaced as a whole by the next epoch, and so is the best one
            "threshold": self.threshold,
            "best": None
            if self.best is None
            else {"epoch": self.best.epoch, "metrics": self.best.metrics, "weights": self.best.weights},
        }
        history = self.history.snapshot()
        return lambda: {**state, "history": history.state_dict()}

    def _tensors(self) -> dict[str, Any]:
        """What the run has learnt."""
        found: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.teacher is not None and self.teacher.companion is not None:
            found["companion"] = self.teacher.companion.state_dict()
        return found

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restores the state of a checkpoint. Raises `CheckpointError` if it belongs to another configuration."""
        self._require_format(state, source)
        mine, its = self.config.to_dict(), _completed(state["config"])
        free = {"checkpoint"}  # how often to save does not change what is computed
        different = sorted(key for key in mine if key not in free and mine[key] != its.get(key))
        if different:
            raise CheckpointError(f"checkpoint {source} is of another configuration: {', '.join(different)} differ")
        if self.teacher is not None and self.teacher.sha256 != state["teacher"]:
            raise CheckpointError(
                f"checkpoint {source} learns from a teacher with sha256 {state['teacher']}, not {self.teacher.sha256}"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.teacher is not None and self.teacher.companion is not None:
            self.teacher.companion.load_state_dict(state["companion"])
        self.position = Position(**state["place"])
        self.stepper.p = state.get("p", 1.0)  # an older checkpoint does not tell; the next step sets it by its position
        self.window.load_state_dict(state["window"])
        self.whole_epoch.load_state_dict(state["whole_epoch"])
        if "pace" in state:  # a checkpoint of an older version lacks it; the lap then begins here
            self.pace.load_state_dict(state["pace"])
        self.history.load_state_dict(state["history"])
        self.metrics, self.threshold = state["metrics"], state["threshold"]
        self.best = None if state["best"] is None else Best(**state["best"])
        set_rng_state(state["rng"], self.device)
        self._saved = replace(self.position)
        self._tell_resumed(state["environment"], source)

    def continue_from(self, state: dict[str, Any], source: Path) -> None:
        """Takes over what another run has learnt: weights, batch statistics, momentum and random generators.

        Its position, metrics and learning rate do not count: this run begins with its first epoch.

        Raises:
            CheckpointError: the checkpoint is of another network, dataset or format.
        """
        self._require_format(state, source)
        mine, its = self.config.to_dict(), _completed(state["config"])
        if different := [key for key in ("model", "dataset") if mine[key] != its.get(key)]:
            raise CheckpointError(f"checkpoint {source} has another {' and '.join(different)} than this training")
        self.model.load_state_dict(state["model"])
        settings = [{key: group[key] for key in group if key != "params"} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)
        set_rng_state(state["rng"], self.device)
        where = {"step": state["place"]["step"], "epoch": state["place"]["epoch"]}
        message = f"goes on from step {where['step']} (epoch {where['epoch']}) of another run"
        self.callbacks.on_event("continued", message, where)

    @staticmethod
    def _require_format(state: dict[str, Any], source: Path) -> None:
        if state.get("format") != 1:
            raise CheckpointError(f"checkpoint {source} has format {state.get('format')!r}; this addercore reads 1")

    def _tell_resumed(self, before: dict[str, Any], source: Path) -> None:
        where = {"step": self.position.step, "epoch": self.position.epoch}
        self.callbacks.on_event("resumed", f"resumed from {source.name} after step {self.position.step}", where)
        changed = {
            key: {"before": before[key], "now": self.environment[key]}
            for key in EXACT
            if key in before and before[key] != self.environment[key]  # an older checkpoint may not tell
        }
        if changed:
            listed = ", ".join(f"{key} {item['before']} → {item['now']}" for key, item in changed.items())
            self.callbacks.on_event(
                "resume_inexact",
                f"the environment has changed ({listed}): results may differ in the last bits",
                changed,
            )


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a checkpoint, with the fields that it lacks since it is of an older version."""
    try:
        return TrainConfig.from_dict(config).to_dict()
    except InvalidConfig:
        return config
