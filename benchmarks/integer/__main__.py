"""The integer engine: layers against the processor's peak, networks against ONNX Runtime (benchmarks/README.md)."""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from addercore.arch import network
from addercore.latency import twin as rival
from addercore.latency.processor import processor
from addercore.runtime import engines
from benchmarks.integer import native, networks
from benchmarks.rows import RESULTS, Row, machine, table, write

PARTS = ("layers", "networks", "imagenet", "threads", "opening")
ROUNDS = {"layers": 15, "networks": 15, "imagenet": 5, "threads": 15, "opening": 15}
SAMPLE_SECONDS = 8e-3
LAYERS = ((16, 32), (32, 16), (64, 8))
CHAIN = (2, 18)
NETWORKS = {"resnet20": (3, 32, 32), "lenet5_bn": (1, 32, 32)}
IMAGENET = {"resnet18": (3, 224, 224), "resnet50": (3, 224, 224)}
VERSIONS = ("python", "adderworks", "numpy")
"""Of the row's versions; ONNX Runtime's is in its settings."""

Load = tuple[float, float, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.integer", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, separated by commas; of {', '.join(PARTS)}")
    parser.add_argument("--engines", help="engines, separated by commas; default: all of this processor but generic")
    parser.add_argument("--quick", action="store_true", help="two rounds; to see that all works")
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/integer.jsonl")
    parser.add_argument("--out", type=Path, help="append rows to this file")
    options = parser.parse_args()
    chosen = [name for name, runs in engines().items() if runs and name != "generic"]
    chosen = options.engines.split(",") if options.engines else chosen
    if rival.available() is None:
        print(rival.MISSING, file=sys.stderr)
    rows: list[Row] = []
    for part in options.only.split(","):
        rounds = 2 if options.quick else ROUNDS[part]
        rows += MEASURED[part](chosen, rounds)
    print(table(rows))
    target = options.out or (RESULTS / "integer.jsonl" if options.write else None)
    if target:
        write(rows, target, versions=[name for name in VERSIONS if name in machine()["versions"]])
    return 0


def settings(**more: Any) -> dict[str, Any]:
    """What every row says: the processor's instructions, and the rival's version."""
    return {"features": processor()["features"], "onnxruntime": rival.available(), **more}


def layers(chosen: list[str], rounds: int) -> Iterator[Row]:
    """3×3 layers, requantisation included: the difference of long and short chains of equal layers."""
    load = os.getloadavg()
    for channels, side in LAYERS:
        terms = channels * channels * 9 * side * side * (CHAIN[1] - CHAIN[0])
        for residual in (False, True):
            name = f"{channels}×{side}×{side}, 3×3{', residual' if residual else ''}"
            programs = [networks.layers(channels, side, count, residual=residual) for count in CHAIN]
            for engine in chosen:
                short, long = (native.c_caller(native.opened(program, engine), 30) for program in programs)
                rates, shares = [], []
                for _ in range(rounds):
                    before = native.peak(engine)
                    rates.append(terms * 30 / (long(30) - short(30)))
                    after = native.peak(engine)
                    if before and after:
                        shares.append(100 * rates[-1] / ((before + after) / 2))
                about = settings(engine=engine, channels=channels, side=side, residual=residual)
                yield Row("integer layer", f"{name}, {engine}", "G terms/s", [r / 1e9 for r in rates], load, about)
                if shares:
                    yield Row("integer layer", f"{name}, {engine}", "% of peak", shares, load, about)


def small(chosen: list[str], rounds: int) -> Iterator[Row]:
    """The small networks, batch 1, one thread."""
    for arch, shape in NETWORKS.items():
        yield from compared(arch, shape, 10, chosen, rounds)


def imagenet(chosen: list[str], rounds: int) -> Iterator[Row]:
    """ResNets at 224×224."""
    for arch, shape in IMAGENET.items():
        yield from compared(arch, shape, 1000, chosen, rounds)


def compared(arch: str, shape: tuple[int, int, int], classes: int, chosen: list[str], rounds: int) -> Iterator[Row]:
    """A network by every engine and by ONNX Runtime, in turn; every second round backwards."""
    first_last = "adder" if arch.startswith("lenet") else "conv"
    adder = networks.program_of(arch, shape, classes, "adder", first_last)
    twin = networks.program_of(arch, shape, classes, "conv", "conv")
    callers: dict[str, Callable[[int], float]] = {}
    for engine in chosen:
        model = native.opened(adder, engine)
        callers[f"adder, {engine}, C"] = native.c_caller(model, 200)
        callers[f"adder, {engine}, numpy"] = native.numpy_caller(model)
        callers[f"int8 convolution, {engine}, C"] = native.c_caller(native.opened(twin, engine), 200)
    if rival.available():
        callers["ONNX Runtime, empty graph"] = rival.caller(rival.empty_model(shape), shape, 1)
        for name, content in rival.models(network(arch, shape, classes)).items():
            callers[f"ONNX Runtime, {name}"] = rival.caller(content, shape, 1)
    load = os.getloadavg()
    samples = interleaved(callers, rounds)
    empty = samples.get("ONNX Runtime, empty graph")
    net = {
        name: [max(value - cost, 0) for value, cost in zip(values, empty, strict=True)]
        if empty and name.startswith("ONNX Runtime") and values is not empty
        else values
        for name, values in samples.items()
    }
    about = settings(arch=arch, batch=1, threads=1, input_shape=shape)
    for name, values in net.items():
        yield Row(f"{arch} {shape[1]}×{shape[2]}", name, "ms", [1e3 * value for value in values], load, about)
    yield from ratios(arch, shape, net, load, about)


def ratios(
    arch: str, shape: tuple[int, int, int], net: dict[str, list[float]], load: Load, about: dict[str, Any]
) -> Iterator[Row]:
    """How many times faster than the rival's fp32 and its best int8, round by round."""
    rivals = {name: values for name, values in net.items() if name.startswith("ONNX Runtime, int8")}
    if not rivals:
        return
    best = min(rivals, key=lambda name: statistics.median(rivals[name]))
    for other in ("ONNX Runtime, fp32", best):
        for name, values in net.items():
            if name.startswith("adder"):
                times = [theirs / ours for theirs, ours in zip(net[other], values, strict=True)]
                yield Row(f"{arch} {shape[1]}×{shape[2]}", f"{other} / {name}", "×", times, load, about)


def interleaved(callers: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each, in rounds; a sample is as many calls as fill `SAMPLE_SECONDS`."""
    times = {}
    for name, run in callers.items():
        run(1)
        times[name] = min(200, max(1, math.ceil(SAMPLE_SECONDS / max(run(1), 1e-6))))
    samples: dict[str, list[float]] = {name: [] for name in callers}
    for number in range(rounds):
        for name in list(callers)[:: -1 if number % 2 else 1]:
            callers[name](1)
            samples[name].append(callers[name](times[name]) / times[name])
    return samples


def threads(chosen: list[str], rounds: int) -> Iterator[Row]:
    """ResNet-20, batch 8: two threads against one, on the clock."""
    load = os.getloadavg()
    for engine in chosen:
        model = native.opened(networks.resnet20(), engine)
        images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)

        def seconds(count: int, model: Any = model, images: Any = images) -> float:
            began = time.perf_counter()
            for _ in range(10):
                model.run(images, threads=count)
            return (time.perf_counter() - began) / 10

        seconds(2)
        pairs = [(seconds(1), seconds(2)) for _ in range(rounds)]
        about = settings(engine=engine, batch=8)
        yield Row("resnet20, batch 8", f"{engine}, 1 thread", "ms", [1e3 * one for one, _ in pairs], load, about)
        yield Row("resnet20, batch 8", f"{engine}, 1 thread / 2", "×", [one / two for one, two in pairs], load, about)


def opening(chosen: list[str], rounds: int) -> Iterator[Row]:
    """Opening ResNet-20, and the memory that it takes."""
    load, program = os.getloadavg(), networks.resnet20()
    values = [1e3 * native.opening_seconds(program, chosen[0]) for _ in range(rounds)]
    model = native.opened(program, chosen[0])
    yield Row("opening resnet20", "from the page cache", "ms", values, load, settings())
    sizes = {"file": model.file_bytes, "workspace a thread": model.workspace_bytes, "tables": model.table_bytes}
    for name, size in sizes.items():
        yield Row("memory of resnet20", name, "KiB", [size / 1024], load, settings())


MEASURED: dict[str, Callable[[list[str], int], Iterator[Row]]] = {
    "layers": layers, "networks": small, "imagenet": imagenet, "threads": threads, "opening": opening,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
