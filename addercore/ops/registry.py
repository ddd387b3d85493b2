"""Backends by name. The one that runs is chosen by argument, by the environment, or is the default; never silently."""

import os
from typing import Final, Protocol

from torch import Tensor

from addercore.ops.geometry import Geometry
from addercore.ops.portable import Portable
from addercore.ops.reference import Reference

ENVIRONMENT: Final = "ADDER_BACKEND"
DEFAULT: Final = "portable"


class Backend(Protocol):
    """An implementation of the layer; tensors are checked, of one floating type and on one device when it is called."""

    name: str

    def forward(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor: ...

    def grad_input(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor: ...

    def grad_weight(self, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, sign: bool) -> Tensor: ...


_BACKENDS: Final[dict[str, Backend]] = {backend.name: backend for backend in (Portable(), Reference())}


def available() -> tuple[str, ...]:
    """Names of the backends that this installation can run."""
    return tuple(_BACKENDS)


def get(name: str | None = None) -> Backend:
    """The backend called `name`, else the one that ADDER_BACKEND names, else the default; `ValueError` if unknown."""
    chosen = name or os.environ.get(ENVIRONMENT) or DEFAULT
    if chosen not in _BACKENDS:
        raise ValueError(
            f"unknown backend {chosen!r}; this installation has {', '.join(_BACKENDS)}: "
            f"pass one of them as backend=… or set {ENVIRONMENT} to it"
        )
    return _BACKENDS[chosen]
