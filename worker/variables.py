"""Environment variables of processes that compute: of a job's process, and of the template that it is forked from.

A list of what they need, and not of what they must not see: a worker's environment holds passwords of databases, keys
of clouds and tokens of programs that nobody here has heard of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jobs.scheduling import devices_of, kind_of

NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TEMP", "TMP",
        "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_BIND_NOW", "GLIBC_TUNABLES",
        "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CC", "CXX",
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE",
        "ADDER_BACKEND", "ADDER_COMMIT", "ADDER_CPU_CAPABILITY", "ADDER_TRITON_TUNE",
    }
)  # fmt: skip
"""Variables that a training or what it loads reads. Of the service's own, those that `addercore` reads."""
PREFIXES = (
    "LC_", "PYTHON", "MPL", "MALLOC_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "ONEDNN_", "DNNL_",
    "ATEN_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "GLOO_", "NCCL_",
    "CUDA_", "CUBLAS_", "CUDNN_", "HIP_", "HSA_", "ROCR_",
)  # fmt: skip
"""Families of variables by which libraries are set up."""
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH")
"""No variable of a family passes that is named like a secret."""


def passes(name: str, also: Sequence[str] = ()) -> bool:
    """Whether a process that computes sees a variable of its worker.

    Args:
        also: further names; one that ends with `*` stands for all that begin so.
    """
    if name in NAMES or (name.startswith(PREFIXES) and not SECRET.search(name)):
        return True
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in also)


def child_environment(
    inherited: Mapping[str, str],
    threads: int,
    device: str = "cpu",
    backend: str | None = None,
    also: Sequence[str] = (),
) -> dict[str, str]:
    """What a process that computes sees of the worker's variables, with the thread count that numeric libraries read.

    Args:
        inherited: the worker's variables.
        threads: of one job.
        device: the worker's device that it may use.
        backend: the kernel backend that it must use; None: it chooses.
        also: see `passes`.
    """
    environment = {name: value for name, value in inherited.items() if passes(name, also)}
    environment |= {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's; it starts its threads when it is loaded, which the template must not
        "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits must not use a core that another job needs
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic cuBLAS; read when CUDA starts
        "CUDA_VISIBLE_DEVICES": visible_gpus(inherited.get("CUDA_VISIBLE_DEVICES"), device),
    }
    return environment | ({} if backend is None else {"ADDER_BACKEND": backend})


def visible_gpus(inherited: str | None, device: str) -> str:
    """CUDA_VISIBLE_DEVICES of a child: its GPUs, by their numbers among those that the worker itself may see."""
    if kind_of(device) != "cuda":
        return ""
    numbers = [one.partition(":")[2] for one in devices_of(device)]
    return ",".join(numbers if inherited is None else (inherited.split(",")[int(one)].strip() for one in numbers))
