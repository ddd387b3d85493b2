"""Speeds and remaining times: images and seconds belong to the same steps, and to the attempt that took them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from addercore import AnalyzeConfig, analyze, fit
from addercore.train import pace
from addercore.train.batches import Batches
from addercore.train.pace import Pace

STEP_SECONDS = 0.5


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The pace's clock: making a training batch takes half a second, all else no time."""
    found = Clock()
    monkeypatch.setattr(pace, "monotonic", found)
    images = Batches.images

    def timed(self: Batches, *arguments: Any) -> Any:
        found.now += STEP_SECONDS
        return images(self, *arguments)

    monkeypatch.setattr(Batches, "images", timed)
    return found


def speeds(points: list[Any]) -> dict[int, float]:
    return {point.step: point.value for point in points if point.name == "images_per_second"}


def test_a_speed_counts_neither_validations_nor_checkpoints(
    tmp_path: Path, config: Any, recorder: Any, clock: Clock
) -> None:
    class Slow(recorder):  # type: ignore[misc]
        def should_stop(self) -> bool:  # asked between the batches of a validation too
            clock.now += 100.0
            return bool(super().should_stop())

    seen = Slow()
    spec = config(epochs=2, batch_size=100, metrics_every_steps=4, checkpoint={"every_epochs": 1})
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    # 1,437 images: 14 batches of 100 and one of 37 in each epoch, the fifteenth step and the thirtieth
    whole, with_short = 100 / STEP_SECONDS, 337 / 4 / STEP_SECONDS
    assert speeds(seen.points) == {
        step: pytest.approx(with_short if step == 16 else whole) for step in range(4, 29, 4)
    } | {30: pytest.approx(137 / 2 / STEP_SECONDS)}
    last = seen.progress[-1]
    assert last.images_per_second == pytest.approx(2 * 1437 / (30 * STEP_SECONDS))


def test_after_a_resume_a_speed_is_that_of_the_steps_it_counts(
    tmp_path: Path, config: Any, recorder: Any, clock: Clock
) -> None:
    spec = config(epochs=1, batch_size=100, metrics_every_steps=5)
    first = recorder(stop_at=4)  # after the fourth step, one before the first point
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=first)
    assert speeds(first.points) == {}
    clock.now += 1e6
    second = recorder()
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=second, resume_from=tmp_path / "checkpoints")
    assert speeds(second.points)[5] == pytest.approx(100 / STEP_SECONDS)
    assert second.progress[-1].images_per_second == pytest.approx((1437 - 400) / (11 * STEP_SECONDS))


def test_the_clock_runs_only_in_its_block(clock: Clock) -> None:
    pace = Pace()
    assert (pace.lap(), pace.images_per_second(), pace.seconds_for(3)) == (None, None, None)
    with pace.running():
        clock.now += 2
        pace.count(30)
        assert pace.lap() == pytest.approx(15)
        clock.now += 1  # belongs to the next lap
    clock.now += 50
    with suppress(KeyError), pace.running():
        clock.now += 1
        raise KeyError
    with pace.running():
        clock.now += 2
        pace.count(10)
    stored = pace.state_dict()
    assert pace.lap() == pytest.approx(10 / 4)
    assert pace.images_per_second() == pytest.approx(40 / 6)
    assert pace.seconds_for(4) == pytest.approx(12)
    other = Pace()
    other.load_state_dict(stored)
    assert other.images_per_second() is None, "what another process did is not this one's"
    assert other.lap() == pytest.approx(10 / 4)


def test_an_analysis_foresees_its_end_by_the_work_of_its_own_attempt(
    tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One training of 23 steps, stopped after 12: the second attempt has done one step when it has done one step."""
    from addercore.analysis import trainings

    options: dict[str, Any] = {"recipe": "mnist", "methods": ["conv"], "seeds": [0], "epochs": 2}
    config = AnalyzeConfig.from_dict({**options, "checkpoint": {"every_epochs": None, "every_seconds": None}})
    clock = Clock()
    monkeypatch.setattr(trainings, "monotonic", clock)
    monkeypatch.setattr("addercore.train.trainer.PROGRESS_SECONDS", 0.0)

    class Steady(recorder):  # type: ignore[misc]
        def on_progress(self, progress: Any) -> None:
            clock.now += 1.0
            super().on_progress(progress)

    first = Steady(stop_at=12)
    assert analyze(config, workdir=tmp_path, device="cpu", threads=1, callbacks=first).stopped
    second = Steady()
    analyze(config, workdir=tmp_path, device="cpu", threads=1, callbacks=second, resume_from=tmp_path / "checkpoints")
    steps = second.progress[-1].steps
    begun = first.progress[-1].step
    for number, progress in enumerate(second.progress):
        if begun < progress.step < steps:
            done = progress.step - begun
            assert progress.eta_seconds == pytest.approx(number * (steps - progress.step) / done)
