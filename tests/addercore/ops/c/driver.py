"""Builds and runs the C test of the kernels (tests/addercore/c) in three ways; shared by the tests of C."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from addercore.ops.c import build

FOLDER = Path(__file__).parent / "src"
DRIVER = "driver"
NOT_HERE = 77  # the driver's exit status for an instruction set that this processor lacks
# The library's scratch memory comes from buffers.c: NaN in all of it, and hard edges.
SCRATCH = [f"-D{name}=scratch_{name}" for name in ("malloc", "aligned_alloc", "calloc", "posix_memalign", "free")]


def compile_driver(
    tools: build.Toolchain,
    folder: Path,
    instrument: Sequence[str] = (),
    defines: Sequence[str] = (),
    sources: Path = build.SOURCES,
) -> None:
    """Makes `DRIVER` in `folder`: a program of the library's units with the flags `instrument`, and the checks."""
    units = build.objects(tools, folder, [*SCRATCH, "-g1", *instrument], sources)
    program = folder / DRIVER
    openmp = [build.OPENMP] if tools.openmp else []
    checks = sorted(str(path) for path in FOLDER.glob("*.c"))
    run = [*tools.command, "-std=c11", "-O2", "-g", "-Wall", "-Wextra", *defines, f"-I{sources}", *checks]
    run += [*map(str, units), *instrument, *openmp, "-o", str(program), "-lm", "-lpthread"]
    done = subprocess.run(run, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr


def run_driver(program: Path, isa: str, cases: int, seed: int, under: Sequence[str] = ()) -> None:
    """Runs `cases` random shapes beside the fixed ones; skips where the processor has no `isa`."""
    command = [*under, str(program), isa, str(cases), str(seed)]
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive"
    }  # more threads than cores here: waiting ones must not spin
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, env=environment
    )
    if done.returncode == NOT_HERE:
        pytest.skip(f"this processor has no {isa}")
    assert done.returncode == 0, f"{' '.join(command)} → {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"
    assert ", 0 blocks of scratch kept" in done.stdout, done.stdout
