"""The environment on which the bytes of a result depend, as one string. A job keeps to one; a worker offers several."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

MAX_LENGTH = 120
"""Length of the column that holds the key."""


def environment_key(environment: Mapping[str, Any]) -> str | None:
    """`device|backend|kernels|torch|cpu capability` from the environment that a training reports; None if one is
    missing.

    The device is `cpu` or a GPU's name. `kernels` is the build of compiled kernels, empty where torch computes.
    """
    if not all(environment.get(name) for name in ("device", "backend", "torch", "cpu_capability", "threads")):
        return None
    parts = (environment.get(name) for name in ("device", "backend", "kernels", "torch", "cpu_capability"))
    key = "|".join("" if part is None else str(part) for part in parts)
    return key if len(key) <= MAX_LENGTH else f"{key[:100]}…{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def device_of(key: str) -> str:
    """`cpu`, or the name of the GPU that a key names."""
    return key.split("|")[0]


def backend_of(key: str) -> str:
    """The kernel backend that a key names."""
    return key.split("|")[1]
