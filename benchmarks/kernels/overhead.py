"""What a call costs beside the kernel: whole calls on a layer of one element, where the kernel has nothing to do."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator

import torch
import torch.nn.functional as nnf

from addercore.ops import Geometry, adder_conv2d, get
from benchmarks.kernels import peaks, raw
from benchmarks.kernels.operations import CONV, Call, Repeated, adder_call, data, repeated
from benchmarks.kernels.shapes import Layer
from benchmarks.kernels.timing import Variant, take
from benchmarks.rows import Row

TINY = Layer(1, 1, (1, 1), 1, (1, 1), Geometry())
ROUNDS, QUICK_ROUNDS = 25, 3
KERNEL = "kernel alone"


def measure(backend: str, quick: bool) -> Iterator[Row]:
    """Microseconds a call; of the adder's the kernel's own time is taken off in each round, where it can be called."""
    load = os.getloadavg()
    rounds = QUICK_ROUNDS if quick else ROUNDS
    variants = [Variant(what, name, 1, run, rounds) for (name, what), run in _calls(backend).items()]
    take(variants, rounds)
    kernel = next((variant.samples for variant in variants if variant.operation == KERNEL), None)
    for variant in variants:
        off = kernel if kernel is not None and variant.backend != CONV and variant.operation != KERNEL else None
        samples = [seconds - (off[number] if off else 0) for number, seconds in enumerate(variant.samples)]
        values = [1e6 * seconds for seconds in samples]
        settings = {
            "backend": variant.backend, "operation": variant.operation, "threads": 1, "clock": "cpu",
            "less_kernel_us": None if off is None else round(1e6 * statistics.median(off), 3),
            "calls_a_sample": variant.loops, "quartiles": peaks.quartiles(values),
        }  # fmt: skip
        yield Row("call overhead", f"{variant.backend}: {variant.operation}", "us", values, load, settings)


def _calls(backend: str) -> dict[tuple[str, str], Repeated]:
    of = data(TINY)
    x, weight = of.x.clone().requires_grad_(), of.weight.clone().requires_grad_()
    one = torch.ones(1, 1, 1, 1)

    def without_gradient(call: Call) -> Call:
        def run() -> object:
            with torch.no_grad():
                return call()

        return run

    def step(forward: Call) -> Call:
        def run() -> object:
            y = forward()
            assert isinstance(y, torch.Tensor)
            return torch.autograd.grad(y, (x, weight), one)

        return run

    def adder() -> object:
        return adder_conv2d(x, weight, backend=backend)

    def conv() -> object:
        return nnf.conv2d(x, weight)

    found: dict[tuple[str, str], Repeated] = {}
    kernel = raw.repeated(backend, "forward", of, threads=1)
    if kernel is not None:
        found[backend, KERNEL] = kernel
    found[backend, "backend's method"] = repeated(adder_call(get(backend), "forward", of))
    for name, call in ((backend, adder), (CONV, conv)):
        operator = "adder_conv2d" if name == backend else "conv2d"
        found[name, f"{operator}, no gradients"] = repeated(without_gradient(call))
        found[name, f"{operator}, gradients wanted"] = repeated(call)
        found[name, f"{operator}, forward and backward"] = repeated(step(call))
    return found
