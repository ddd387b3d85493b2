"""Whole networks in evaluation: by modules, by a plan, and the convolutional twin in torch and in ONNX Runtime."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from addercore.arch import network
from addercore.latency import twin
from addercore.nn.plan import Planned
from benchmarks.kernels.operations import CONV, Call, Repeated, repeated
from benchmarks.kernels.peaks import quartiles
from benchmarks.kernels.steps import LENET, RESNET20, SEED, Method, Task, model
from benchmarks.kernels.timing import Variant, cores, take
from benchmarks.rows import Row

ROUNDS, QUICK_ROUNDS = 15, 2
ROUNDS_ON_TWO = 5
"""By the clock, which a busy machine stretches beyond use."""
SAMPLE_SECONDS = 20e-3
RESNET18 = Task("resnet18", (3, 224, 224), 1000, "conv", 1)
MOBILENET = Task("mobilenet_v2", (3, 224, 224), 1000, "conv", 1)
TASKS = (
    *(replace(RESNET20, batch=batch) for batch in (1, 8, 64)),
    *(replace(LENET, batch=batch) for batch in (1, 256)),
    *(RESNET18, MOBILENET),
)
METHODS: tuple[Method, ...] = ("adder", "conv")
MODULES, PLAN, RIVAL = "modules", "plan", "ONNX Runtime"
"""How a network is computed; with "conv", the twin in torch."""


def measure(backend: str, quick: bool, said: Callable[[str], None]) -> Iterator[Row]:
    """Milliseconds a call, adder layers by `backend`; on one thread CPU time, on two the clock."""
    for task in TASKS[:1] if quick else TASKS:
        said(f"evaluation, {task}")
        yield from _of_one(task, backend, QUICK_ROUNDS if quick else ROUNDS)


def _of_one(task: Task, backend: str, rounds: int) -> Iterator[Row]:
    load = os.getloadavg()
    variants = [
        Variant("evaluation", name, threads, run, rounds if threads == 1 else min(rounds, ROUNDS_ON_TWO))
        for threads in range(1, min(2, cores()) + 1)
        for name, run in _runs(task, backend, threads).items()
    ]
    take(variants, rounds, SAMPLE_SECONDS)
    for threads in sorted({variant.threads for variant in variants}):
        found = {variant.backend: variant for variant in variants if variant.threads == threads}
        for name, variant in found.items():
            yield _row(task, backend, variant, _ratios(found[PLAN], variant) if name != PLAN else None, load)


def _ratios(plan: Variant, other: Variant) -> float:
    """Times faster the plan is, in the median of the rounds."""
    return statistics.median(b / a for a, b in zip(plan.samples, other.samples, strict=True))


def _runs(task: Task, backend: str, threads: int) -> dict[str, Repeated]:
    adder, conv = (_settled(task, method, backend) for method in METHODS)
    x = torch.randn(task.batch, *task.shape, generator=torch.Generator().manual_seed(SEED))
    planned = Planned(adder)
    calls = {MODULES: lambda: adder(x), PLAN: lambda: planned(x), CONV: lambda: conv(x)}
    runs = {name: repeated(_without_gradient(call)) for name, call in calls.items()}
    if twin.available() is not None:
        content = twin.float_model(network(task.arch, task.shape, task.classes)).SerializeToString()
        session, feed = twin.session(content, threads, task.batch), {"image": x.numpy()}
        runs[RIVAL] = repeated(lambda: session.run(None, feed))
    return runs


def _settled(task: Task, method: Method, backend: str) -> nn.Module:
    """In evaluation, with the statistics of a batch: so outputs neither die out nor grow from layer to layer."""
    module = model(task, method, backend).train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.momentum = None  # the plain average
    with torch.no_grad():
        module(torch.randn(4, *task.shape, generator=torch.Generator().manual_seed(SEED + 1)))
    return module.eval()


def _without_gradient(call: Call) -> Call:
    def run() -> object:
        with torch.inference_mode():
            return call()

    return run


def _row(task: Task, backend: str, variant: Variant, ratio: float | None, load: tuple[float, float, float]) -> Row:
    values, name, threads = [1e3 * one for one in variant.samples], variant.backend, variant.threads
    settings = {
        "network": task.arch, "batch": task.batch, "how": name, "threads": threads,
        "backend": backend if name in (MODULES, PLAN) else None, "clock": "cpu" if threads == 1 else "wall",
        "first_last": task.first_last if name in (MODULES, PLAN) else CONV,
        "onnxruntime": twin.available() if name == RIVAL else None, "quartiles": quartiles(values),
    } | ({} if ratio is None else {"times_the_plan": round(ratio, 3)})  # fmt: skip
    shown = f"{name}, {backend}" if name in (MODULES, PLAN) else f"{name}, convolution" if name == RIVAL else name
    return Row("network evaluation", f"{task}, {shown}, {threads} threads", "ms", values, load, settings)
