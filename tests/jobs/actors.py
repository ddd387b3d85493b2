"""Who acts in `test_state_machine.py`: workers of three kinds, what users submit, how attempts end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from jobs.environment import environment_key
from jobs.states import FINAL, Cause, Status
from tests.support.specs import train_body

NAMES = {"cuda:0": "H200", "cuda:1": "H200"}
"""What the GPUs are called."""


def environment(device: str) -> dict[str, Any]:
    """What a training says that it runs on; `device` is `cpu` or a GPU's name."""
    return {"device": device, "backend": "c-avx2", "torch": "2.13.0", "cpu_capability": "AVX2", "threads": 2}


@dataclass(frozen=True)
class Kind:
    """A worker; `takes` are the demands for a device that it can meet."""

    devices: tuple[str, ...]
    takes: tuple[str, ...]
    memory_mb: int
    runs_on: tuple[str, ...]

    @property
    def gpus(self) -> bool:
        return "cuda" in self.takes

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(environment_key(environment(device)) or "" for device in self.runs_on)


WORKERS = {
    "worker_a": Kind(("cpu",), ("auto", "cpu"), 1024, ("cpu",)),
    "worker_b": Kind(("cuda:0", "cpu"), ("auto", "cpu", "cuda"), 8192, ("H200", "cpu")),
    "worker_c": Kind(("cuda:1",), ("auto", "cuda"), 8192, ("H200",)),
}
bodies = st.builds(
    lambda priority, device, memory, exact, attempts, user: train_body(
        priority=priority,
        resources={"device": device, "memory_gb": memory, "exact": exact},
        limits={"max_attempts": attempts},
        labels={"user": user},
    ),
    st.sampled_from([0, 0, 5]),
    st.sampled_from(["auto", "auto", "cpu", "cuda"]),
    st.sampled_from([None, None, 4]),
    st.sampled_from([True, True, False]),
    st.integers(1, 3),
    st.sampled_from(["ann", "bob"]),
)

FINISHES: dict[Status, set[Status]] = {
    Status.RUNNING: {Status.SUCCEEDED, Status.FAILED},
    Status.PAUSING: {Status.SUCCEEDED, Status.FAILED},
    Status.CANCELLING: {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
}
SUSPENDS = {Status.RUNNING, Status.PAUSING}
HANDS_BACK: dict[Status, set[Status]] = {
    Status.RUNNING: {Status.QUEUED},
    Status.PAUSING: {Status.QUEUED, Status.PAUSED},
    Status.CANCELLING: set(),
}
RELEASED = {
    Status.RUNNING: Status.QUEUED,
    Status.PAUSING: Status.PAUSED,
    Status.CANCELLING: Status.CANCELLED,
}
RELEASE_CAUSES = {
    Status.RUNNING: Cause.HANDED_BACK,
    Status.PAUSING: Cause.PAUSED,
    Status.CANCELLING: Cause.CANCELLED,
}
ends = st.sampled_from(
    [
        *(("finish", status) for status in sorted(FINAL)),
        *(("hand_back", status) for status in (Status.QUEUED, Status.PAUSED)),
        *(("suspend", cause) for cause in (Cause.DISK_FULL, Cause.STORE_LOST)),
        *(("release", None), ("fault", None)),
    ]
)
