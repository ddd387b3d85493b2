"""Shared by the library's tests: one thread (results and timings then do not depend on neighbours), small runs."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from addercore import Callbacks, MetricPoint, TrainConfig
from addercore.ops import select


@pytest.fixture(scope="session", autouse=True)
def told_of_a_missing_backend() -> None:
    """Where the C kernels are missing, the one warning of this process is not the first test's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        select(torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Recorder(Callbacks):
    """Keeps all that a run reports, and stops it when it asks for the `stop_at`-th time."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.asked = 0
        self.points: list[MetricPoint] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.checkpoints: list[Any] = []
        self.progress: list[Any] = []
        self.phases: list[str] = []
        self.environment: dict[str, Any] = {}
        self.left: list[Any] = []

    def on_start(self, environment: dict[str, Any]) -> None:
        self.environment = environment

    def on_phase(self, phase: str) -> None:
        self.phases.append(phase)

    def on_metrics(self, points: list[MetricPoint]) -> None:
        self.points += points

    def on_progress(self, progress: Any) -> None:
        self.progress.append(progress)

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        self.events.append((type, message, data))

    def on_checkpoint(self, path: Any, step: int, epoch: int, sha256: str) -> None:
        self.checkpoints.append((path, step, epoch, sha256))

    def on_failed(self, artifacts: list[Any]) -> None:
        self.left = artifacts

    def should_stop(self) -> bool:
        self.asked += 1
        return self.stop_at is not None and self.asked >= self.stop_at

    def rows(self) -> dict[tuple[str, int], tuple[int, float | None]]:
        """(name, step) → (epoch, value); a speed is not repeatable, so its value is left out."""
        return {(p.name, p.step): (p.epoch, None if p.name == "images_per_second" else p.value) for p in self.points}


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


def make_config(**changes: Any) -> TrainConfig:
    spec: dict[str, Any] = {
        "model": {"arch": "lenet5_bn"},
        "dataset": {"name": "digits"},
        "epochs": 2,
        "metrics_every_steps": 3,
    }
    for key, value in changes.items():
        spec[key] = {**spec.get(key, {}), **value} if isinstance(value, dict) else value
    return TrainConfig.from_dict(spec)


@pytest.fixture
def config() -> Any:
    return make_config
