"""`python -m benchmarks.gpu` on a machine with an NVIDIA GPU: the additions' ceiling, the layers against it, steps.

Everything is timed by the GPU's own clock (CUDA events), after a warm-up that also compiles and tunes. A sample is
the mean of as many launches as fill SAMPLE_MS. Nothing here has been run on a GPU yet: see docs/kernels-gpu.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nnf
import triton
import triton.language as tl

from addercore.ops import get
from addercore.ops.backend import Backend
from addercore.optim import AdderSGD
from benchmarks import rows
from benchmarks.kernels.shapes import Layer, groups
from benchmarks.kernels.steps import RESNET20, Method, Task, model
from benchmarks.rows import Row

SAMPLE_MS = 2.0
SAMPLES = 20
FADD_BLOCK, FADD_UNROLL, FADD_ROUNDS, FADD_WARPS = 2048, 64, 2000, 4
FADD_PER_ELEMENT = 2
"""Instructions of a term |x − f| added, and of a term of the input gradient: each issues one FADD-rate slot."""
BATCHES = (8, 64)
STEP_BATCH = 256


@triton.jit  # type: ignore[untyped-decorator]
def fadd_kernel(out, w, rounds, BLOCK: tl.constexpr, UNROLL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Nothing but FADD with an absolute value as operand, BLOCK independent chains: acc ← |acc| − w."""
    acc = tl.arange(0, BLOCK).to(tl.float32)
    for _ in range(rounds):
        for _ in tl.static_range(UNROLL):
            acc = tl.abs(acc) - w
    tl.store(out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), acc)


Clock = Callable[[Callable[[], object]], list[float]]


def gpu_clock(run: Callable[[], object]) -> list[float]:
    """Milliseconds of one `run`, SAMPLES times."""
    for _ in range(3):
        run()
    once = _between(run, 1)
    loops = max(1, round(SAMPLE_MS / max(once, 1e-3)))
    return [_between(run, loops) / loops for _ in range(SAMPLES)]


def _between(run: Callable[[], object], loops: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(loops):
        run()
    end.record()
    end.synchronize()
    elapsed: float = begin.elapsed_time(end)
    return elapsed


def about(device: torch.device) -> dict[str, Any]:
    """What a row says about the GPU; the row itself names the host."""
    found = torch.cuda.get_device_properties(device)
    return {
        "gpu": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "triton": triton.__version__,
    }


def ceiling(device: torch.device, clock: Clock, told: dict[str, Any]) -> Row:
    """T FADD/s of registers alone: eight programs of four warps a multiprocessor."""
    programs = 8 * told["multiprocessors"]
    out = torch.empty(programs * FADD_BLOCK, device=device)

    def run() -> None:
        fadd_kernel[(programs,)](
            out, 0.5, FADD_ROUNDS, BLOCK=FADD_BLOCK, UNROLL=FADD_UNROLL, num_warps=FADD_WARPS, enable_fp_fusion=False
        )

    load = os.getloadavg()
    additions = programs * FADD_BLOCK * FADD_UNROLL * FADD_ROUNDS
    return Row("FADD ceiling", "registers only", "T/s", [additions / ms / 1e9 for ms in clock(run)], load, told)


def layers() -> Iterator[Layer]:
    """ResNet-18's adder layers at every batch of BATCHES, each distinct shape once."""
    for group in groups():
        if group.title.startswith("resnet18"):
            for batch in BATCHES:
                yield from (replace(layer, batch=batch) for layer in group.layers)


def of_layer(
    layer: Layer, backend: Backend, device: torch.device, clock: Clock, peak: float, told: dict[str, Any]
) -> Iterator[Row]:
    """Forward, both gradients, and cuDNN's convolution of the same shape; `peak` in T FADD/s."""
    made = torch.Generator(device).manual_seed(0)
    x = torch.randn(layer.batch, layer.inputs, *layer.size, device=device, generator=made)
    weight = torch.randn(layer.filters, layer.inputs, *layer.kernel, device=device, generator=made)
    grad = torch.randn(layer.batch, layer.filters, *layer.output, device=device, generator=made)
    place = layer.geometry
    ours: dict[str, Callable[[], object]] = {
        "forward": lambda: backend.forward(x, weight, place),
        "forward with moments": lambda: backend.forward_moments(x, weight, place),
        "input gradient": lambda: backend.grad_input(grad, x, weight, place),
        "filter gradient": lambda: backend.grad_weight(grad, x, weight, place, False),
        "convolution, fp32": lambda: nnf.conv2d(x, weight, None, place.stride, place.padding, place.dilation),
    }
    for what, run in ours.items():
        load = os.getloadavg()
        values = clock(run)
        rate = FADD_PER_ELEMENT * layer.elements / statistics.median(values) / 1e9  # T FADD/s
        settings = told | {"batch": layer.batch, "elements": layer.elements}
        if what in ("forward", "forward with moments", "input gradient"):
            settings["share_of_fadd_ceiling"] = round(rate / peak, 4)
        yield Row(f"GPU layer, {what}", str(layer), "ms", values, load, settings)


def training(device: torch.device, clock: Clock, told: dict[str, Any]) -> Iterator[Row]:
    """ResNet-20's whole step, eagerly, batch STEP_BATCH, the adder network and its convolutional twin."""
    task = replace(RESNET20, batch=STEP_BATCH)
    methods: tuple[Method, ...] = ("adder", "conv")
    for method in methods:
        run = _step(task, method, device)
        load = os.getloadavg()
        torch.cuda.reset_peak_memory_stats(device)
        values = clock(run)
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        settings = told | {"method": method, "batch": task.batch, "peak_mib": round(peak, 1)}
        yield Row("GPU training step", f"{task}, {method}", "ms", values, load, settings)


def _step(task: Task, method: Method, device: torch.device) -> Callable[[], None]:
    network = model(task, method, "triton" if method == "adder" else None).to(device).train()
    optimizer = AdderSGD(network, lr=0.01)
    made = torch.Generator(device).manual_seed(0)
    images = torch.randn(task.batch, *task.shape, device=device, generator=made)
    labels = torch.randint(task.classes, (task.batch,), device=device, generator=made)

    def step() -> None:
        optimizer.zero_grad()
        nnf.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def measure(parts: tuple[str, ...], device: torch.device, clock: Clock = gpu_clock) -> Iterator[Row]:
    # cuDNN's convolutions in full float32, as ours are; TF32 would compare two precisions.
    torch.backends.cudnn.allow_tf32 = False
    told = about(device)
    top = ceiling(device, clock, told)
    yield top
    if "layers" in parts:
        for layer in layers():
            yield from of_layer(layer, get("triton"), device, clock, top.median, told)
    if "training" in parts:
        yield from training(device, clock, told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("ceiling", "layers", "training"), nargs="+", default=["layers", "training"])
    parser.add_argument("--write", action="store_true", help="append the rows to --out")
    parser.add_argument("--out", type=Path, default=rows.RESULTS / "gpu.jsonl")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(
            "no CUDA GPU here, so nothing is measured; `python -m benchmarks.gpu_code` reads the machine code instead"
        )
        return 2
    found = []
    for row in measure(tuple(arguments.only), torch.device("cuda", torch.cuda.current_device())):
        found.append(row)
        share = row.settings.get("share_of_fadd_ceiling")
        of = "" if share is None else f", {100 * share:.0f} % of the FADD ceiling"
        print(f"{row.benchmark}: {row.variant}: {row.median:.4g} {row.unit}{of}", flush=True)
    if arguments.write:
        rows.write(found, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
