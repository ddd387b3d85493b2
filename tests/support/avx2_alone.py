"""Runs tests as on a processor that has AVX2 and nothing beyond: `python -m tests.support.avx2_alone ARGUMENTS`.

The arguments are pytest's. Where this processor has nothing beyond AVX2 it says so and runs nothing, since the ordinary
run was the same.
"""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from addercore.ops import available

AVX2_ALONE = {"ADDER_CPU_CAPABILITY": "avx2", "ATEN_CPU_CAPABILITY": "avx2"}
"""For our kernels, and for PyTorch's."""


def reason_to_skip() -> str | None:
    """Why a run with `AVX2_ALONE` would show nothing new, or None."""
    ours, torchs = available()[0], torch.backends.cpu.get_cpu_capability()
    if "c-avx2" not in available():
        return f"the kernels for AVX2 do not run here ({ours} does)"
    if (ours, torchs) == ("c-avx2", "AVX2"):
        return "this processor has nothing beyond AVX2, so the tests above were that run"
    return None


def main() -> int:
    if reason := reason_to_skip():
        print(f"No second run on AVX2 alone: {reason}.")
        return 0
    print(f"Once more with {' '.join('='.join(pair) for pair in AVX2_ALONE.items())}:", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=os.environ | AVX2_ALONE).returncode


if __name__ == "__main__":
    sys.exit(main())
