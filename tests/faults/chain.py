"""The training that the fault suite runs by the hundred: a chain of hashes, whose end is a function of the spec alone.

A state is 32 bytes; step n hashes the state before it with the seed and n. Whoever resumes from a wrong state, leaves
a step out or does one twice ends with other bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

METRIC = "train/loss"


@dataclass(frozen=True)
class Task:
    """What a chain job shall do, as its spec's labels say it (all of them text)."""

    seed: int = 0
    steps: int = 40
    ms: float = 40.0
    """Milliseconds of one step."""
    every: int = 5
    """Steps between checkpoints."""
    stop_ms: float = 0.0
    """Milliseconds that it takes to stop when that is asked."""
    checkpoint_kb: int = 4
    result_kb: int = 4
    eat_mb: int = 0
    """Memory that it takes at its first step and keeps."""

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Task:
        kinds = {field.name: type(field.default) for field in fields(cls)}
        return cls(**{name: kinds[name](value) for name, value in labels.items() if name in kinds})

    def labels(self) -> dict[str, str]:
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


def start(task: Task) -> bytes:
    return hashlib.sha256(f"start {task.seed}".encode()).digest()


def after(state: bytes, task: Task, step: int) -> bytes:
    return hashlib.sha256(state + f"{task.seed}:{step}".encode()).digest()


def value(state: bytes) -> float:
    """The metric of a state, in [0, 1), exactly representable."""
    return int.from_bytes(state[:4], "big") / 2**32


def filler(state: bytes, kilobytes: int) -> bytes:
    """Bytes that depend on the whole chain and do not compress."""
    blocks = (hashlib.sha256(state + number.to_bytes(4, "big")).digest() for number in range(32))
    return b"".join(blocks) * kilobytes


def states(task: Task) -> Iterator[tuple[int, bytes]]:
    """`(step, state after it)` of the whole chain."""
    state = start(task)
    for step in range(1, task.steps + 1):
        state = after(state, task, step)
        yield step, state


def result_bytes(state: bytes, task: Task) -> bytes:
    return state.hex().encode() + b"\n" + filler(state, task.result_kb)
