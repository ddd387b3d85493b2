"""The layer on NVIDIA GPUs, in Triton; on CPU tensors in Triton's interpreter (TRITON_INTERPRET=1), for tests."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from addercore.ops.backend import Backend

NEEDED: Final = (3, 9)
"""Oldest release of Triton whose Gluon these kernels were compiled with."""


def missing() -> str | None:
    """Why there is no backend, with the remedy; None where there is one. Does not import Triton."""
    try:
        installed = version("triton")
    except PackageNotFoundError:
        return f"triton is not installed; pip install 'triton>={NEEDED[0]}.{NEEDED[1]}'"
    if tuple(int(part) for part in installed.split(".")[:2]) < NEEDED:
        return f"triton {installed} is too old; pip install 'triton>={NEEDED[0]}.{NEEDED[1]}'"
    return None


def backend() -> Backend | None:
    """The backend, or None where `missing()` says why not."""
    return None if missing() is not None else _backend()


@cache
def _backend() -> Backend:
    from addercore.ops.triton.methods import TritonBackend

    return TritonBackend()
