"""Builds programs in C of the engine's sources, with sanitizers or for another processor."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from addercore.ops.c import build

FOLDER = Path(__file__).parent / "src"
NOT_HERE = 77


def compile_program(tools: build.Toolchain, folder: Path, name: str, instrument: Sequence[str] = ()) -> None:
    """Makes the program `name` in `folder` of `src/NAME.c` and the engine."""
    tools = replace(tools, openmp=False)
    parts = build.objects(tools, folder, ["-g1", *instrument], part=build.ENGINE)
    run = [*tools.command, "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1", "-g", "-Wall", "-Wextra"]
    run += [f"-I{build.ENGINE.sources}", str(FOLDER / f"{name}.c"), *map(str, parts), *instrument]
    done = subprocess.run([*run, "-o", str(folder / name), "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
