"""The state of a run between two steps, beside model and optimizer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class RunningMetrics:
    """Sums of loss, correct predictions and images since the last reset, on the device, so that `add` never waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self.distilled = torch.zeros((), dtype=torch.float64, device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.images = 0

    def add(self, loss: Tensor, correct: Tensor, images: int, distilled: Tensor | None = None) -> None:
        """Adds `images`; `loss` and `distilled` (the teacher's part, if there is one) are sums over them."""
        self.loss += loss
        if distilled is not None:
            self.distilled += distilled
        self.correct += correct
        self.images += images

    def means(self) -> tuple[float, float]:
        """(loss, accuracy)"""
        return self.loss.item() / self.images, self.correct.item() / self.images

    def distilled_mean(self) -> float:
        return self.distilled.item() / self.images

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss": self.loss.item(),
            "distilled": self.distilled.item(),
            "correct": int(self.correct.item()),
            "images": self.images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loss.fill_(state["loss"])
        self.distilled.fill_(state.get("distilled", 0.0))  # an older checkpoint does not tell
        self.correct.fill_(state["correct"])
        self.images = state["images"]


@dataclass(slots=True)
class Position:
    """How far a run is."""

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
