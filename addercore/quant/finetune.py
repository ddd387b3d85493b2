"""Quantisation-aware fine-tuning: a float network trains on with the integers that it will have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.errors import Diverged
from addercore.optim import AdderSGD
from addercore.quant.calibrate import kept_images
from addercore.quant.fake import FakeNetwork
from addercore.quant.graph import Graph, floats
from addercore.quant.plan import Plan, Tell, untold
from addercore.runtime.program import SCORES

State = dict[str, Any]
"""{"epoch": epochs done, "model": …, "optimizer": …, "settings": …}: tensors and plain values."""
STATISTICS_IMAGES: Final = 256
"""From which the fixed statistics of the normalisations are taken."""
MOMENTUM: Final = 0.9


@dataclass(frozen=True, slots=True)
class Finetune:
    """How to fine-tune.

    Attributes:
        epochs: over all images, ≥ 1.
        lr: at the start; it falls to 0 along a cosine.
        batch_size: images of a step.
        eta: η of eq. 13, of the filters of adder layers; a tenth of a training's, for filters that are nearly right.
        distill: weight of the float model's scores (0…1) against the labels.
    """

    epochs: int = 2
    lr: float = 0.01
    batch_size: int = 64
    eta: float = 0.02
    distill: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"finetune.{name} must be an integer ≥ 1, got {value!r}")
        for name in ("lr", "eta"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"finetune.{name} must be > 0, got {getattr(self, name)!r}")
        if not 0 <= self.distill <= 1:
            raise ValueError(f"finetune.distill must be from 0 to 1, got {self.distill!r}")

    @classmethod
    def of(cls, values: Finetune | Mapping[str, Any]) -> Finetune:
        """From a mapping of its fields; `ValueError` names one that is unknown."""
        if isinstance(values, Finetune):
            return values
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown finetune field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        return cls(**values)


def finetuned(
    graph: Graph,
    plan: Plan,
    teacher: Graph,
    images: Tensor,
    labels: Tensor | None,
    settings: Finetune,
    seed: int,
    resume: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
    tell: Tell = untold,
) -> Graph:
    """Trains weights, gains and offsets; scales and grids stay.

    Args:
        graph, plan: where it begins: the corrected network.
        teacher: the float network.
        images: uint8 (N, C, H, W).
        labels: int64 (N,), or None to follow the teacher alone.
        settings: epochs, rates and so on.
        seed: draws the order of the images.
        resume: the state after some epoch, from the same call.
        on_epoch: is told the state after each epoch.
        tell: is told what part is done, before each step.

    Returns:
        `graph` with the trained numbers.

    Raises:
        Diverged: the loss became NaN or infinite.
        ValueError: `resume` is of other settings.
    """
    network = FakeNetwork(graph, plan, kept_images(graph, images)[:STATISTICS_IMAGES])
    optimizer = AdderSGD(network, settings.lr, momentum=MOMENTUM, nesterov=True, weight_decay=0.0, eta=settings.eta)
    done = 0
    if resume is not None:
        if resume["settings"] != asdict(settings):
            raise ValueError(f"resume is of other settings: {resume['settings']}; give the same or start anew")
        done = int(resume["epoch"])
        network.load_state_dict(resume["model"])
        optimizer.load_state_dict(resume["optimizer"])
    parts = [
        floats(teacher, part, lambda *_: None)[SCORES].flatten(1) for part in torch.split(images, settings.batch_size)
    ]
    wanted = torch.cat(parts).log_softmax(1)
    steps = math.ceil(len(images) / settings.batch_size)
    for epoch in range(done, settings.epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        for step, chosen in enumerate(torch.split(order, settings.batch_size)):
            part = (epoch * steps + step) / (settings.epochs * steps)
            tell("fine-tuning", part)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * (1 + math.cos(math.pi * part)) / 2
            optimizer.zero_grad(set_to_none=True)
            scores = network(images[chosen])
            loss = _loss(scores, wanted[chosen], None if labels is None else labels[chosen], settings.distill)
            if not torch.isfinite(loss):
                raise Diverged(f"the loss of fine-tuning became {loss.item()} in epoch {epoch + 1}; try a smaller lr")
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if on_epoch is not None:
            on_epoch(_state(network, optimizer, epoch + 1, settings))
    return network.current()


def _loss(scores: Tensor, wanted: Tensor, labels: Tensor | None, distill: float) -> Tensor:
    followed = nnf.kl_div(scores.log_softmax(1), wanted, reduction="batchmean", log_target=True)
    if labels is None:
        return followed
    return distill * followed + (1 - distill) * nnf.cross_entropy(scores, labels)


def _state(network: FakeNetwork, optimizer: AdderSGD, epoch: int, settings: Finetune) -> State:
    """A copy, so that it can be written while training goes on."""
    model = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    kept = optimizer.state_dict()
    state = {
        key: {name: one.clone() if isinstance(one, Tensor) else one for name, one in values.items()}
        for key, values in kept["state"].items()
    }
    return {"epoch": epoch, "model": model, "optimizer": {**kept, "state": state}, "settings": asdict(settings)}
