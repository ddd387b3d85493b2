"""Environment variables of processes that compute: of a job's process, and of the template that it is forked from."""

from __future__ import annotations

from collections.abc import Mapping

SECRETS = (
    "ADDER_DATABASE_URL",
    "ADDER_BROKER_URL",
    "ADDER_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


def child_environment(
    inherited: Mapping[str, str], threads: int, device: str = "cpu", backend: str | None = None
) -> dict[str, str]:
    """The worker's environment variables without its secrets, with the thread count that numeric libraries read."""
    environment = {name: value for name, value in inherited.items() if name not in SECRETS}
    environment |= {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's; it starts its threads when it is loaded, which the template must not
        "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits must not use a core that another job needs
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic cuBLAS; read when CUDA starts
        "CUDA_VISIBLE_DEVICES": _visible(inherited.get("CUDA_VISIBLE_DEVICES"), device),
    }
    return environment | ({} if backend is None else {"ADDER_BACKEND": backend})


def _visible(inherited: str | None, device: str) -> str:
    """CUDA_VISIBLE_DEVICES of a child: its one GPU, by its number among those that the worker itself may see."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return ""
    return number if inherited is None else inherited.split(",")[int(number)].strip()
