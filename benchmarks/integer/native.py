"""The benchmark's own C and the engine's call on prepared memory: what neither Python nor numpy adds to."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from addercore.runtime import IntegerModel, format, load
from addercore.runtime.program import Program

FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
PROBE_STEPS = 40_000
AVX2_PROBES = ("peak_avx2", "peak_avx2_four")
PROBES = {"avx2": AVX2_PROBES, "avx512": (*AVX2_PROBES, "peak_avx512", "peak_avx512_four")}
"""By engine: what its kernels may be made of; the fastest one is the peak."""


@cache
def probes() -> ctypes.CDLL | None:
    """peaks.c as a library; None without gcc or on another processor than x86-64."""
    if not shutil.which("gcc"):
        return None
    with tempfile.TemporaryDirectory(prefix="adder-bench-") as folder:
        target = Path(folder, "peaks.so")
        source = Path(__file__).with_name("peaks.c")
        done = subprocess.run(["gcc", *FLAGS, str(source), "-o", str(target)], capture_output=True, text=True)
        if done.returncode != 0:
            return None
        library = ctypes.CDLL(str(target))
    for names in PROBES.values():
        for name in names:
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_double
    return library


def peak(engine: str) -> float | None:
    """Terms a second of `vpsadbw` and `vpaddd`, all in registers, now; None where there is no probe."""
    names = PROBES.get(engine.removesuffix("vnni"))
    library = probes()
    if names is None or library is None:
        return None
    return max(float(getattr(library, name)(PROBE_STEPS)) for name in names)


def opened(program: Program, engine: str) -> IntegerModel:
    """The program through a file, as it is used."""
    with tempfile.TemporaryDirectory(prefix="adder-bench-") as folder:
        format.write(program, Path(folder, "model.adder"))
        return load(Path(folder, "model.adder"), engine)


def opening_seconds(program: Program, engine: str) -> float:
    """Seconds on the clock that opening takes, the file being in the page cache."""
    with tempfile.TemporaryDirectory(prefix="adder-bench-") as folder:
        format.write(program, Path(folder, "model.adder"))
        began = time.perf_counter()
        load(Path(folder, "model.adder"), engine)
        return time.perf_counter() - began


def c_caller(model: IntegerModel, most: int) -> Callable[[int], float]:
    """A function: so many images, at most `most`, one after the other in C → seconds of thread CPU time."""
    images = np.random.default_rng(0).integers(0, 256, (most, *model.input_shape), dtype=np.uint8)
    scores = np.empty((most, len(model.classes)), np.float32)
    workspace = np.empty(model.workspace_bytes, np.uint8)

    def run(times: int) -> float:
        began = time.thread_time()
        model._library.adder_run(model._model, images.ctypes.data, times, scores.ctypes.data, workspace.ctypes.data)
        return time.thread_time() - began

    return run


def numpy_caller(model: IntegerModel) -> Callable[[int], float]:
    """The same through `IntegerModel.run` with one image a call."""
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape), dtype=np.uint8)

    def run(times: int) -> float:
        began = time.thread_time()
        for _ in range(times):
            model.run(image)
        return time.thread_time() - began

    return run
