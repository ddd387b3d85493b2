"""The environment of a run: everything beside the configuration that its numbers depend on."""

import hashlib
from importlib.resources import files
from typing import Any

import torch

from addercore.ops.backend import Backend
from addercore.ops.c.backend import CBackend
from addercore.ops.c.library import LIBRARY
from addercore.version import __version__, commit

EXACT = ("device", "backend", "kernels", "torch", "threads", "processes", "cpu_capability")
"""Entries that must be equal for a resumed run to end with the same bytes."""


def _kernels(backend: Backend) -> str | None:
    """Compiler and beginning of the file's sha256 of compiled kernels: another build may round differently."""
    if not isinstance(backend, CBackend):
        return None  # torch, and Triton that is pinned by it, compute
    digest = hashlib.sha256((files("addercore.ops.c") / LIBRARY).read_bytes()).hexdigest()
    return f"{backend.compiler}, sha256 {digest[:12]}"


def describe(
    device: torch.device, backend: Backend | None, note: str | None = None, processes: int = 1
) -> dict[str, Any]:
    """What is recorded with a run; `backend` is the one that computes, `note` why it is not the device's usual one,
    `processes` how many compute together, with so many threads each.

    `backend` is None for work that runs no network.
    """
    name = "cpu" if device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"
    return {
        "device": name,
        "backend": None if backend is None else backend.name,
        "kernels": None if backend is None else _kernels(backend),
        **({} if note is None else {"backend_note": note}),
        "torch": str(torch.__version__),  # a str subclass that a checkpoint could not hold
        "addercore": __version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "commit": commit(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
