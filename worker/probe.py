"""`python -m worker.probe`: what this machine offers, as JSON; a process of its own, as the worker loads no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def probe() -> dict[str, Any]:
    """Asks a fresh process. Raises CalledProcessError with its stderr when torch cannot be loaded."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.probe"], capture_output=True, text=True, check=True, timeout=300
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _look() -> dict[str, Any]:
    import torch

    import addercore
    from addercore.ops import registry

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "backends": list(registry.available()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "addercore": addercore.__version__,
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    json.dump(_look(), sys.stdout)
