"""One optimizer step, by one process or by several that each compute their part of every batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.config import TrainConfig
from addercore.nn import AdderLayer
from addercore.nn.synced import synchronise
from addercore.optim import AdderSGD
from addercore.train.batches import Batches
from addercore.train.distillation import Teacher
from addercore.train.rates import share_of_rates

Take = Callable[[], Tensor]
"""Returns the pixels of the next batch from loader processes."""


class Together(Protocol):
    """The processes that take each step together; `addercore.train.exchange.Exchange` is one of them."""

    shares: Sequence[int]
    """Images that each has of the batch at hand."""

    def gather(self, values: Tensor) -> Tensor:
        """(processes, *shape): the tensors of all, in order."""
        ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces the tensors by their sums over all processes, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Sums:
    """Over the images of a batch, or of a step: the loss, the teacher's part of it if there is one, and hits."""

    loss: Tensor
    correct: Tensor
    images: int
    distilled: Tensor | None = None


class Stepper:
    """The network with its optimizer, and the batches that it learns from."""

    def __init__(
        self, config: TrainConfig, model: nn.Module, batches: Batches, device: torch.device, teacher: Teacher | None
    ) -> None:
        self.config, self.model, self.batches, self.device, self.teacher = config, model, batches, device, teacher
        if teacher is not None:
            teacher.watch(model)
        o = config.optimizer
        self.layers = [module for module in model.modules() if isinstance(module, AdderLayer)]
        for layer in self.layers:
            layer.clip = o.clip_input_gradient
        self.p = 1.0
        """The power of the adder layers."""
        self.steps = config.epochs * batches.steps_per_epoch
        self.optimizer = AdderSGD(
            model,
            o.lr,
            o.momentum,
            o.nesterov,
            o.weight_decay,
            o.adaptive_lr,
            o.eta,
            o.clip_norm,
            o.filter_lr,
            o.filter_weight_decay,
        )
        self.exchange: Together | None = None

    def join(self, exchange: Together) -> None:
        """From now on the steps are taken together with other processes, in the same order in all of them."""
        self.exchange = exchange
        if self.config.model.sync_batchnorm:
            synchronise(self.model, exchange)

    @property
    def rates(self) -> tuple[float, float]:
        """(γ of everything but adder filters, γ of adder filters) of the last step; of a new run `lr`."""
        groups = self.optimizer.param_groups
        return groups[0]["lr"], groups[-1]["lr"]

    def set_rates(self, step: int) -> None:
        """Sets the learning rates of `step` (from 0) of the run."""
        o = self.config.optimizer
        share = share_of_rates(o, self.config.epochs, step, self.batches.steps_per_epoch)
        first = (o.lr, o.lr if o.filter_lr is None else o.filter_lr)
        for group, lr in zip(self.optimizer.param_groups, first, strict=False):  # there may be no adder filters
            group["lr"] = lr * share

    def set_power(self, step: int) -> None:
        """Sets the power of the adder layers for what comes after `step` steps of the run."""
        schedule = self.config.model.p_schedule
        self.p = 1.0 if schedule is None else schedule.power(step, self.steps)
        for layer in self.layers:
            layer.p = self.p

    def step(self, epoch: int, number: int, order: Tensor, take: Take | None = None) -> list[Sums]:
        """Does step `number` of `epoch` (from 0): the mean gradient over all images of its batches, then the update.

        Args:
            order: of the epoch's images, from `Batches.permutation`.
            take: see `Take`; None: the batches are made here.

        Returns:
            One process: the sums of each batch. Several: those of the step, over the images of all.
        """
        self.model.train()
        place = epoch * self.batches.steps_per_epoch + number
        self.set_power(place)
        self.set_rates(place)
        total = self.batches.images_in(number)
        self.optimizer.zero_grad(set_to_none=True)
        companion = None if self.teacher is None else self.teacher.companion
        if companion is not None:
            companion.zero_grad()
        sums = []
        for index in self.batches.indices(number):
            if self.exchange is not None:
                self.exchange.shares = self.batches.shard.sizes(self.batches.size(index))
            if self.batches.own(index):
                sums.append(self._batch(*self.batches.part(epoch, order, index, take), total))
            elif take is not None:
                take()  # of no image
        if self.exchange is not None:
            sums = [self._add_up(self.exchange, sums, total)]
        self.optimizer.step()
        if companion is not None:
            companion.step(self.optimizer.param_groups[0]["lr"])
        return sums

    def _batch(self, images: Tensor, labels: Tensor, total: int) -> Sums:
        """Adds the gradient of these images, of `total` in the step, to those of the parameters."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            scores = self.model(images)
        scores = scores.float()
        count = labels.shape[0]
        objective = loss = nnf.cross_entropy(scores, labels)
        distilled: Tensor | None = None
        if self.teacher is not None:
            distilled = self.teacher.loss(images, scores, labels, count / total)
            objective, distilled = self.teacher.objective(loss, distilled), distilled.detach()
        (objective * (count / total)).backward()  # type: ignore[no-untyped-call]
        correct = (scores.detach().argmax(1) == labels).sum()
        return Sums(loss.detach() * count, correct, count, None if distilled is None else distilled * count)

    def _add_up(self, exchange: Together, own: list[Sums], total: int) -> Sums:
        """Adds up gradients and sums over all processes, in one exchange."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # none of the step's images is this process's
                parameter.grad = torch.zeros_like(parameter)
        kind, zero = parameters[0].dtype, torch.zeros((), device=self.device)
        numbers = torch.stack([
            sum((one.loss for one in own), zero),
            sum((one.correct for one in own), zero),
            sum((one.distilled for one in own if one.distilled is not None), zero),
        ]).to(kind)  # fmt: skip
        exchange.add_up([*(p.grad for p in parameters if p.grad is not None), numbers])
        loss, correct, distilled = numbers.unbind()
        return Sums(loss, correct.to(torch.int64), total, None if self.teacher is None else distilled)
