"""Copies the tensors of a state, so that training can go on while a checkpoint is written."""

from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """Copies a state into main memory (pinned for a GPU), into the same buffers each time.

    There is one copy: `take` overwrites the previous one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[tuple[Any, ...], Tensor] = {}

    def take(self, tree: Any) -> Any:
        """`tree` (dictionaries, lists, tensors, plain values) with all tensors copied; waits for a GPU's copies."""
        copied = self._copy(tree, ())
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return copied

    def _copy(self, part: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(part, Tensor):
            return self._buffer(part, path).copy_(part.detach(), non_blocking=True)
        if isinstance(part, dict):
            return {key: self._copy(value, (*path, key)) for key, value in part.items()}
        if isinstance(part, list):
            return [self._copy(value, (*path, index)) for index, value in enumerate(part)]
        return part

    def _buffer(self, tensor: Tensor, path: tuple[Any, ...]) -> Tensor:
        found = self._buffers.get(path)
        if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
            pinned = self._device.type == "cuda"
            found = self._buffers[path] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
        return found
