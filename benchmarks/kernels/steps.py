"""Whole training steps: network, loss, gradients and update, on random images in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import nn

from addercore import networks
from addercore.arch.networks import network
from addercore.optim import AdderSGD
from benchmarks.kernels.broadcast import broadcast_network

Method = Literal["adder", "conv", "broadcast"]
SEED = 0


@dataclass(frozen=True)
class Task:
    """A network to train: input shape (c, h, w); `first_last` is what method "adder" makes of those two layers."""

    arch: str
    shape: tuple[int, int, int]
    classes: int
    first_last: Literal["adder", "conv"]
    batch: int

    def __str__(self) -> str:
        return f"{self.arch}, batch {self.batch}"


RESNET20 = Task("resnet20", (3, 32, 32), 10, "conv", 64)
LENET = Task("lenet5_bn", (1, 32, 32), 10, "adder", 128)


def model(task: Task, method: Method, backend: str | None) -> nn.Module:
    net = network(task.arch, task.shape, task.classes)
    if method == "broadcast":
        return broadcast_network(net, SEED)
    return networks.build(net, method=method, first_last=task.first_last, backend=backend, seed=SEED)


def step(task: Task, method: Method, backend: str | None = None) -> Callable[[int], float]:
    """A function that does one step on the first so many images, and returns the loss.

    Adder network and twin have the same optimizer class; for the twin it is SGD, as it has no adder filters.
    """
    network_ = model(task, method, backend).train()
    optimizer = AdderSGD(network_, lr=0.01)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(task.batch, *task.shape, generator=generator)
    labels = torch.randint(task.classes, (task.batch,), generator=generator)

    def one(count: int) -> float:
        optimizer.zero_grad()
        loss = nnf.cross_entropy(network_(images[:count]), labels[:count])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return one
