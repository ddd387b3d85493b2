"""Backends by name. An argument or the environment selects one, or the default runs; what ran is recorded."""

import os
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch

from addercore.ops import c, triton
from addercore.ops.backend import Backend
from addercore.ops.portable import Portable
from addercore.ops.reference import Reference

ENVIRONMENT: Final = "ADDER_BACKEND"
C: Final = "c"
"""Selects the best instruction set of this machine. The record has the concrete name, such as c-avx2."""

_ORDINARY: Final[dict[str, Backend]] = {backend.name: backend for backend in (Portable(), Reference())}
_warned = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The selected backend, and why it is not the preferred one (None if it is)."""

    backend: Backend
    note: str | None = None


@cache
def _c() -> dict[str, Backend]:
    """The C backends of this machine, best first; empty if the library was not built."""
    return c.backends()


def _why_no_c() -> str | None:
    return c.missing()


@cache
def _triton() -> Backend | None:
    """Triton's backend if Triton is installed. Only this function loads Triton."""
    return triton.backend()


def _why_no_triton() -> str | None:
    return triton.missing()


def _has_use_for_triton() -> bool:
    """Whether there is a GPU, or Triton's interpreter is on."""
    return torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"


def available() -> tuple[str, ...]:
    """Names of the backends that this installation can run, concrete ones only."""
    gpu = _triton() if _has_use_for_triton() else None
    return (*_c(), *(() if gpu is None else (gpu.name,)), *_ORDINARY)


def get(name: str) -> Backend:
    """The backend called `name`; `c` is the best of the C ones. `ValueError` says what there is, and the remedy."""
    if name in _ORDINARY:
        return _ORDINARY[name]
    compiled = _c()
    if name == C and compiled:
        return next(iter(compiled.values()))
    if name in compiled:
        return compiled[name]
    gpu = _triton() if name == "triton" else None
    if gpu is not None:
        return gpu
    why = None
    if name.partition("-")[0] == C and not compiled:
        why = _why_no_c()
    elif name == "triton":
        why = _why_no_triton()
    why = f" ({why})" if why else ""
    raise ValueError(
        f"unknown backend {name!r}{why}; this installation has {', '.join(available())}: "
        f"pass one of them as backend=… or set {ENVIRONMENT} to it"
    )


def select(device: torch.device, dtype: torch.dtype, name: str | None = None) -> Choice:
    """The backend for tensors of `dtype` on `device`: `name`'s, else the one of ADDER_BACKEND, else the default.

    Defaults: the C kernels for float32 on a CPU, Triton's on a CUDA device, `portable` for everything else. A named
    backend that cannot take such tensors is a `ValueError`; a default that is missing is replaced by `portable` and
    the choice says why, as does one warning a process.
    """
    global _warned
    choice = _select(device, dtype, name)
    if choice.note is not None and not _warned:
        _warned = True
        warnings.warn(f"adder layers run on the slower portable backend: {choice.note}", stacklevel=2)
    return choice


def _select(device: torch.device, dtype: torch.dtype, name: str | None) -> Choice:
    named = name or os.environ.get(ENVIRONMENT)
    if named:
        backend = get(named)
        refusal = backend.refusal(device, dtype)
        if refusal is not None:
            raise ValueError(f"backend {named!r} cannot take {dtype} tensors on {device}: {refusal}")
        return Choice(backend)
    portable = _ORDINARY["portable"]
    if dtype == torch.float64:
        return Choice(portable)
    if device.type == "cuda":
        gpu = _triton()
        refusal = _why_no_triton() if gpu is None else gpu.refusal(device, dtype)
        return Choice(portable, refusal) if gpu is None or refusal is not None else Choice(gpu)
    if device.type == "cpu":
        compiled = _c()
        return Choice(next(iter(compiled.values()))) if compiled else Choice(portable, _why_no_c())
    return Choice(portable)


def choose(device: torch.device, dtype: torch.dtype, name: str | None = None) -> Backend:
    """`select`'s backend."""
    return select(device, dtype, name).backend
