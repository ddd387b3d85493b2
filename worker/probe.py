"""`python -m worker.probe`: prints what this machine offers, as JSON.

The worker itself loads no torch. So it asks its template, or where there may be a GPU this program: no process is
forked from one that has looked at GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs.environment import environment_key
from worker.variables import passes

GPU_FILES = ("nvidia[0-9]*", "dxg")
"""Device files in /dev that a machine with a GPU has: those of the driver, and of WSL."""
GPU_FIELDS = ("index", "utilization.gpu", "memory.used")


def may_have_gpu(folder: Path = Path("/dev")) -> bool:
    """Whether this machine may have a GPU, so that torch should be asked before the first job is taken (it takes
    seconds)."""
    return any(next(folder.glob(name), None) is not None for name in GPU_FILES)


def gpu_use() -> list[dict[str, int]]:
    """`{index, utilization (percent), memory_used_bytes}` of each GPU; empty if the driver's tool does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        rows = [[int(value) for value in line.split(",")] for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return [{"index": index, "utilization": busy, "memory_used_bytes": used * 1024**2} for index, busy, used in rows]


def probe() -> dict[str, Any]:
    """Asks a new process for versions, devices and backends, and for every `environment_key` that it offers (`offers`).

    Raises CalledProcessError with its stderr when torch cannot be loaded.
    """
    done = subprocess.run(
        [sys.executable, "-m", "worker.probe"],
        env={name: value for name, value in os.environ.items() if passes(name)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def describe_machine() -> dict[str, Any]:
    """What `probe` answers, found in this process, which loads torch."""
    import torch

    import addercore
    from addercore.ops import registry
    from addercore.train.environment import describe

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    devices = [torch.device("cpu"), *(torch.device("cuda", number) for number in range(len(gpus)))]
    offers = {
        environment_key(describe(device, backend))
        for name in registry.available()
        for device in devices
        if (backend := registry.get(name)).refusal(device, torch.float32) is None
    }
    return {
        "offers": sorted(offer for offer in offers if offer),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "backends": list(registry.available()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "addercore": addercore.__version__,
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m worker.probe", description=__doc__).parse_args()
    json.dump(describe_machine(), sys.stdout)
