"""Random numbers, thread count and determinism of a run; the caller's settings are restored afterwards."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_FILLING: Any = torch.utils.deterministic  # a module object whose attribute is a property, unknown to type checkers


def rng_state(device: torch.device) -> dict[str, Any]:
    """The states of all generators of the process, as tensors and plain values."""
    python = random.getstate()
    numpy = np.random.get_state(legacy=False)
    return {
        "python": [python[0], list(python[1]), python[2]],
        "numpy": {
            "key": torch.tensor(numpy["state"]["key"].astype(np.int64)),  # 624 words of 32 bits, Mersenne twister
            "pos": int(numpy["state"]["pos"]),
            "has_gauss": int(numpy["has_gauss"]),
            "gauss": float(numpy["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    version, values, gauss = state["python"]
    random.setstate((version, tuple(values), gauss))
    words = state["numpy"]
    key = words["key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, words["pos"], words["has_gauss"], words["gauss"]))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def isolated(seed: int, device: torch.device, threads: int | None) -> Iterator[None]:
    """Sets deterministic algorithms, `threads` threads and freshly seeded generators; restores all of it afterwards."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its bits only with this
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = _FILLING.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    before = torch.get_num_threads()
    kept = rng_state(device)
    try:
        torch.use_deterministic_algorithms(True)
        _FILLING.fill_uninitialized_memory = False  # costs a pass over every fresh tensor
        torch.backends.cudnn.benchmark = False
        if threads is not None:
            torch.set_num_threads(threads)
        seed_all(seed)
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        _FILLING.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = benchmark
        torch.set_num_threads(before)
        set_rng_state(kept, device)
