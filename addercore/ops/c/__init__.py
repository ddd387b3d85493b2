"""The layer in C for the CPU: a kernel for each instruction set, chosen at run time (docs/kernels.md)."""

from functools import cache

from addercore.ops.backend import Backend
from addercore.ops.c.backend import CBackend
from addercore.ops.c.library import load, missing

__all__ = ["CBackend", "backends", "missing"]


@cache
def backends() -> dict[str, Backend]:
    """Backends of the instruction sets that this processor has, best first; empty where `missing()` says why."""
    if missing() is not None:
        return {}
    library = load()
    found = [
        CBackend(library, index) for index in range(library.adder_isa_count()) if library.adder_isa_supported(index)
    ]
    return {backend.name: backend for backend in found}
