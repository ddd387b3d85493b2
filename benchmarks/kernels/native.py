"""The benchmark's own C: compiled when it is needed, loaded, nothing left on disk."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def compiler() -> list[str]:
    """The C compiler's command: CC, else gcc or cc; `RuntimeError` where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    found = named or next(([name] for name in ("gcc", "cc") if shutil.which(name)), [])
    if not found or not shutil.which(found[0]):
        missing = " ".join(named) or "gcc"
        raise RuntimeError(
            f"the benchmark measures with C programs of its own, and {missing} was not found: "
            "install gcc, or name a C compiler in CC"
        )
    return found


@cache
def compiler_version() -> str:
    """First line of what the compiler answers to --version."""
    done = subprocess.run([*compiler(), "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


@cache
def compiled(name: str) -> ctypes.CDLL:
    """A source beside this file as a library; half a second, once a process."""
    with tempfile.TemporaryDirectory(prefix="adder-bench-") as folder:
        target = Path(folder) / "library.so"
        command = [*compiler(), *FLAGS, str(HERE / name), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"{name} does not compile: {done.stderr[-2000:]}")
        return ctypes.CDLL(str(target))
