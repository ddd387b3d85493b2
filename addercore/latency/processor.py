"""The processor that measures: its name and the instructions on which latency depends."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Final

FLAGS: Final = ("avx2", "avx512bw", "avx_vnni", "avx512_vnni", "asimd", "asimddp")


def processor() -> dict[str, Any]:
    """`name` as the system has it, and `features`, those of `FLAGS` that there are."""
    name, found = "", set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # another system than Linux
        lines = []
    for line in lines:
        if line.startswith("model name") and not name:
            name = line.partition(":")[2].strip()
        if line.startswith(("flags", "Features")):
            found |= set(line.split())
    return {
        "name": name or platform.processor() or platform.machine(),
        "features": [flag for flag in FLAGS if flag in found],
    }
