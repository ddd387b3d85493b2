"""Algorithm 1 with everything around it that makes a run resumable: its state, its metrics, its checkpoints."""

import time
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.data import Examples
from addercore.errors import CheckpointError, Diverged
from addercore.optim import AdderSGD
from addercore.spec import TrainConfig
from addercore.train import checkpoint
from addercore.train.batches import Batches, learning_rate
from addercore.train.callbacks import Callbacks, MetricPoint, Progress
from addercore.train.environment import EXACT
from addercore.train.evaluation import score
from addercore.train.history import History
from addercore.train.isolation import rng_state, set_rng_state

PROGRESS_SECONDS = 0.5


class Sums:
    """Loss, right answers and images since the last reset; on the device, so that adding never waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.images = 0

    def add(self, loss: Tensor, correct: Tensor, images: int) -> None:
        self.loss += loss * images
        self.correct += correct
        self.images += images

    def means(self) -> tuple[float, float]:
        """(loss, accuracy)"""
        return self.loss.item() / self.images, self.correct.item() / self.images

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss.item(), "correct": int(self.correct.item()), "images": self.images}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loss.fill_(state["loss"])
        self.correct.fill_(state["correct"])
        self.images = state["images"]


@dataclass(slots=True)
class Place:
    """How far a run is, between two steps."""

    epoch: int = 0  # epochs completed
    step: int = 0  # optimizer steps done
    step_in_epoch: int = 0
    stale: int = 0  # epochs since early stopping's best
    finished: bool = False


@dataclass(slots=True)
class Best:
    """The epoch with the highest val/accuracy so far (the earliest of equals), and its weights."""

    epoch: int
    metrics: dict[str, float]
    weights: dict[str, Tensor]


class Trainer:
    """One run; `step` in its state counts optimizer steps, each over `accumulate` batches."""

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        train: Examples,
        validation: Examples,
        device: torch.device,
        folder: Path,
        callbacks: Callbacks,
        environment: dict[str, Any],
    ) -> None:
        self.config, self.model, self.device = config, model, device
        self.validation, self.folder, self.callbacks, self.environment = validation, folder, callbacks, environment
        o = config.optimizer
        self.optimizer = AdderSGD(
            model, o.lr, o.momentum, o.nesterov, o.weight_decay, o.adaptive_lr, o.eta, o.clip_norm
        )
        self.batches = Batches(train, config)
        self.steps = config.epochs * self.batches.steps_per_epoch
        self.place = Place()
        self.window, self.whole_epoch = Sums(device), Sums(device)
        self.history = History()
        self.metrics: dict[str, float] = {}  # of the last epoch
        self.best: Best | None = None
        self.threshold: float | None = None  # val/accuracy that early stopping wants to see beaten
        self.stopped = False
        now = time.monotonic()
        self._saved_at = self._told_at = self._window_at = now
        self._saved_step = -1
        self._busy, self._busy_images, self._busy_steps = 0.0, 0, 0  # seconds, images, steps in training proper

    # --- the loop

    def run(self) -> None:
        """From where the state is to the last epoch, to early stopping, or to a stop asked for by the callbacks."""
        while not self.place.finished and not self.stopped:
            order = self.batches.permutation(self.place.epoch)
            lr = learning_rate(self.config.optimizer, self.place.epoch, self.config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            while self.place.step_in_epoch < self.batches.steps_per_epoch and not self.stopped:
                self._step(order, lr)
                if self.place.step_in_epoch == self.batches.steps_per_epoch:
                    self._end_epoch(lr)
                    self._between_steps(epoch_ended=True)
                    break
                self._between_steps(epoch_ended=False)
        if self.place.finished and not self.stopped and self._saved_step != self.place.step:
            self.save()

    def _step(self, order: Tensor, lr: float) -> None:
        """One optimizer step: the mean gradient over all images of its batches, then the update."""
        began = time.monotonic()
        self.model.train()
        total = self.batches.images_in(self.place.step_in_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        for images, labels in self.batches.group(self.place.epoch, order, self.place.step_in_epoch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                scores = self.model(images)
            scores = scores.float()
            loss = nnf.cross_entropy(scores, labels)
            (loss * (labels.shape[0] / total)).backward()  # type: ignore[no-untyped-call]
            correct = (scores.detach().argmax(1) == labels).sum()
            for sums in (self.window, self.whole_epoch):
                sums.add(loss.detach(), correct, labels.shape[0])
        self.optimizer.step()
        self.place.step += 1
        self.place.step_in_epoch += 1
        if self.place.step % self.config.metrics_every_steps == 0:
            self._emit_training(lr)
        self._busy += time.monotonic() - began
        self._busy_images += total
        self._busy_steps += 1

    def _end_epoch(self, lr: float) -> None:
        loss, accuracy = self.whole_epoch.means()
        self._check_finite(loss)
        val_loss, val_accuracy = score(self.model, self.validation, self.config.precision)
        self.metrics = {
            "train/loss": loss,
            "train/accuracy": accuracy,
            "val/loss": val_loss,
            "val/accuracy": val_accuracy,
        }
        self._emit({"val/loss": val_loss, "val/accuracy": val_accuracy})
        self._check_finite(val_loss)
        self.place.epoch += 1
        self.place.step_in_epoch = 0
        self.whole_epoch.reset()
        if self.config.publish == "best" and (self.best is None or val_accuracy > self.best.metrics["val/accuracy"]):
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = Best(self.place.epoch, dict(self.metrics), weights)
        self.place.finished = self._stale(val_accuracy) or self.place.epoch == self.config.epochs
        if self.place.finished and self.window.images:
            self._emit_training(lr)

    def _stale(self, accuracy: float) -> bool:
        """Whether early stopping ends the run after this epoch."""
        rule = self.config.early_stop
        if rule is None:
            return False
        if self.threshold is None or accuracy > self.threshold + rule.min_delta:
            self.threshold, self.place.stale = accuracy, 0
            return False
        self.place.stale += 1
        if self.place.stale < rule.patience:
            return False
        self.callbacks.on_event(
            "early_stop",
            f"val/accuracy has not risen above {self.threshold:.4f} for {rule.patience} epochs: "
            f"stopped after epoch {self.place.epoch}",
            {"epoch": self.place.epoch, "step": self.place.step, "best": self.threshold},
        )
        return True

    def _between_steps(self, epoch_ended: bool) -> None:
        """Progress, checkpoints, and the question whether to stop."""
        self._tell_progress(epoch_ended)
        rule = self.config.checkpoint
        due = epoch_ended and rule.every_epochs is not None and self.place.epoch % rule.every_epochs == 0
        if rule.every_seconds is not None:
            due = due or time.monotonic() - self._saved_at >= rule.every_seconds
        if due:
            self.save()
        if self.callbacks.should_stop() and not self.place.finished:
            if self._saved_step != self.place.step:
                self.save()
            self.stopped = True
            data = {"step": self.place.step, "epoch": self.place.epoch}
            self.callbacks.on_event("stopped", f"stopped on request after step {self.place.step}", data)

    # --- metrics

    @property
    def epoch_begun(self) -> int:
        """Epochs begun, from 1: what a point of this moment belongs to."""
        return min(self.place.epoch + 1, self.config.epochs)

    def _emit_training(self, lr: float) -> None:
        loss, accuracy = self.window.means()
        now = time.monotonic()
        values = {
            "train/loss": loss,
            "train/accuracy": accuracy,
            "lr": lr,
            "images_per_second": self.window.images / max(now - self._window_at, 1e-9),
        }
        values |= {f"grad_norm/{name}": value for name, value in self.optimizer.grad_norms().items()}
        values |= {f"local_lr/{name}": value for name, value in self.optimizer.local_rates().items()}
        self._emit(values)
        self.window.reset()
        self._window_at = now
        self._check_finite(loss)

    def _emit(self, values: dict[str, float]) -> None:
        """Hands on the finite ones; a value that is NaN or infinite ends the run, see `_check_finite`."""
        stamp = time.time_ns() // 1_000_000
        epoch = self.place.epoch if self.place.finished else self.epoch_begun
        points = [
            MetricPoint(name, self.place.step, epoch, value, stamp) for name, value in values.items() if isfinite(value)
        ]
        self.history.add(points)
        if points:
            self.callbacks.on_metrics(points)

    def _check_finite(self, loss: float) -> None:
        if not isfinite(loss):
            raise Diverged(
                f"the loss became {loss} by step {self.place.step} (epoch {self.epoch_begun}); "
                f"try a smaller optimizer.lr than {self.config.optimizer.lr} or set optimizer.clip_norm"
            )

    def _tell_progress(self, always: bool) -> None:
        now = time.monotonic()
        if not always and now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        known = self._busy > 0 and self._busy_steps > 0
        left = 0 if self.place.finished else self.steps - self.place.step
        self.callbacks.on_progress(
            Progress(
                epoch=self.place.epoch if always else self.epoch_begun,
                epochs=self.config.epochs,
                step=self.place.step,
                steps=self.steps,
                fraction=1.0 if self.place.finished else self.place.step / self.steps,
                images_per_second=self._busy_images / self._busy if known else None,
                eta_seconds=left * self._busy / self._busy_steps if known else None,
            )
        )

    # --- state

    def save(self) -> None:
        """A checkpoint of this moment; never of a run that has diverged."""
        if self.window.images:
            self._check_finite(self.window.means()[0])
        path, checksum = checkpoint.save(self.folder, self.place.step, self.state_dict(), self.config.checkpoint.keep)
        self._saved_step, self._saved_at = self.place.step, time.monotonic()
        self.callbacks.on_checkpoint(path, self.place.step, self.place.epoch, checksum)

    def state_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "config": self.config.to_dict(),
            "environment": self.environment,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": rng_state(self.device),
            "place": asdict(self.place),
            "window": self.window.state_dict(),
            "whole_epoch": self.whole_epoch.state_dict(),
            "history": self.history.state_dict(),
            "metrics": self.metrics,
            "threshold": self.threshold,
            "best": None
            if self.best is None
            else {"epoch": self.best.epoch, "metrics": self.best.metrics, "weights": self.best.weights},
        }

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Takes up the run of a checkpoint; `CheckpointError` if it is another configuration's."""
        if state.get("format") != 1:
            raise CheckpointError(f"checkpoint {source} has format {state.get('format')!r}; this addercore reads 1")
        mine, its = self.config.to_dict(), state["config"]
        free = {"checkpoint"}  # how often to save does not change what is computed
        different = sorted(key for key in mine if key not in free and mine[key] != its.get(key))
        if different:
            raise CheckpointError(f"checkpoint {source} is of another configuration: {', '.join(different)} differ")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.place = Place(**state["place"])
        self.window.load_state_dict(state["window"])
        self.whole_epoch.load_state_dict(state["whole_epoch"])
        self.history.load_state_dict(state["history"])
        self.metrics, self.threshold = state["metrics"], state["threshold"]
        self.best = None if state["best"] is None else Best(**state["best"])
        set_rng_state(state["rng"], self.device)
        self._saved_step = self.place.step
        self._tell_resumed(state["environment"], source)

    def _tell_resumed(self, before: dict[str, Any], source: Path) -> None:
        where = {"step": self.place.step, "epoch": self.place.epoch}
        self.callbacks.on_event("resumed", f"resumed from {source.name} after step {self.place.step}", where)
        changed = {
            key: {"before": before.get(key), "now": self.environment[key]}
            for key in EXACT
            if before.get(key) != self.environment[key]
        }
        if changed:
            listed = ", ".join(f"{key} {item['before']} → {item['now']}" for key, item in changed.items())
            self.callbacks.on_event(
                "resume_inexact",
                f"the environment has changed ({listed}): results may differ in the last bits",
                changed,
            )
