"""Peak memory of a training step, as the kernel counts it (VmHWM), each in a process of its own. Linux only.

python -m benchmarks.kernels.memory adder|conv BACKEND THREADS       # prints JSON; what `measure` starts
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch

from benchmarks.kernels.steps import RESNET20, Method, step
from benchmarks.rows import ROOT

FEW = 2  # images of the step before the baseline
STEPS = 3
SECONDS = 300.0
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Peak:
    """MiB of resident memory."""

    baseline: float
    """After a step of 2 images, which loads code, starts threads and makes gradients and momenta."""
    peak: float
    """The largest during 3 whole steps that follow on 3 others."""

    @property
    def grown(self) -> float:
        return self.peak - self.baseline


def of_step(method: Method, backend: str, threads: int) -> Peak:
    """The peak of this process, which has to be a fresh one: what is freed need not go back to the system."""
    torch.set_num_threads(threads)
    one = step(RESNET20, method, backend)
    one(FEW)
    baseline = _mib("VmRSS")
    for _ in range(STEPS):
        one(RESNET20.batch)
    RESET.write_text("5")  # proc(5): sets the peak back to what is resident now
    for _ in range(STEPS):
        one(RESNET20.batch)
    return Peak(baseline, _mib("VmHWM"))


def measure(method: Method, backend: str, threads: int) -> Peak:
    """`of_step` in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, method, backend, str(threads)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return Peak(**json.loads(done.stdout))


def _mib(field: str) -> float:
    for line in STATUS.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) / 1024  # the file has kB, which are KiB
    raise RuntimeError(f"{STATUS} has no {field}: this needs Linux")


def main(arguments: list[str]) -> int:
    method, backend, threads = arguments
    if method not in get_args(Method):
        raise ValueError(f"unknown method {method!r}; known: {', '.join(get_args(Method))}")
    found = of_step(cast(Method, method), backend, int(threads))
    print(json.dumps({"baseline": found.baseline, "peak": found.peak}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
