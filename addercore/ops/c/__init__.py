"""The layer in C for the CPU: a kernel for each instruction set, chosen at run time (docs/kernels.md)."""

import os
from functools import cache
from typing import Final

from addercore.ops.backend import Backend
from addercore.ops.c.backend import CBackend
from addercore.ops.c.library import load, missing

__all__ = ["CAPABILITY", "CBackend", "backends", "missing"]

CAPABILITY: Final = "ADDER_CPU_CAPABILITY"
"""Names the highest instruction set that is used, as PyTorch's ATEN_CPU_CAPABILITY does for its kernels."""


@cache
def backends() -> dict[str, Backend]:
    """Backends of the instruction sets that this processor has, best first; empty where `missing()` says why.

    Those beyond `CAPABILITY`, which is read once, are left out.

    Raises:
        ValueError: `CAPABILITY` names none of them.
    """
    if missing() is not None:
        return {}
    library = load()
    found = [
        CBackend(library, index) for index in range(library.adder_isa_count()) if library.adder_isa_supported(index)
    ]
    allowed = up_to(os.environ.get(CAPABILITY), [backend.name.partition("-")[2] for backend in found])
    return {backend.name: backend for backend in found[len(found) - len(allowed) :]}


def up_to(highest: str | None, instruction_sets: list[str]) -> list[str]:
    """Those of `instruction_sets`, best first, that are not beyond `highest`; all of them for None or "".

    Raises:
        ValueError: `highest` is none of them.
    """
    if not highest:
        return instruction_sets
    if highest not in instruction_sets:
        raise ValueError(f"{CAPABILITY} is {highest!r}: set it to one of {', '.join(instruction_sets)}, or unset it")
    return instruction_sets[instruction_sets.index(highest) :]
