"""Work, pace, places: the pure part of the queue. That starts come true is shown in `tests/scheduling`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addercore import arch
from jobs.forecast import Forecast, Host, Needs, Pace, Running, Waiting, pace_of
from jobs.scheduling import MOST_WORK, last_chance, needs_memory_mb, placement, work_of
from jobs.spec import SPEC
from tests.api.attempt import MANIFEST
from tests.support.specs import train_spec


def test_work_is_operations_times_images_times_epochs() -> None:
    operations = arch.count(arch.network("lenet5_bn", (1, 32, 32), 10)).operations
    each = operations.add + operations.mul
    assert work_of(train_spec(epochs=7)) == 7 * each * (3 * 1437 + 360) // 1_000_000
    evaluate = SPEC.validate_python({"kind": "evaluate", "model_id": "model_x", "dataset": {"name": "digits"}})
    assert work_of(evaluate, MANIFEST) == each * 360 // 1_000_000
    assert work_of(evaluate) == 1, "its model is gone; the worker will say so"
    assert work_of(train_spec(epochs=7), MANIFEST) == 7 * each * (4 * 1437 + 360) // 1_000_000, "a teacher's passes too"
    assert work_of(train_spec(epochs=100_000, dataset={"name": "mnist"})) <= MOST_WORK


@pytest.mark.parametrize(("gigabytes", "mb"), [(None, 0), (1, 1024), (0.01, 64), (1.001, 1088)])
def test_memory_is_rounded_up(gigabytes: float | None, mb: int) -> None:
    assert needs_memory_mb(gigabytes) == mb


@pytest.mark.parametrize(
    ("faults", "most", "alone"), [(0, 1, False), (0, 2, False), (1, 2, True), (1, 3, False), (2, 3, True), (5, 6, True)]
)
def test_last_chance(faults: int, most: int, alone: bool) -> None:
    assert last_chance(faults, most) is alone


def test_placement() -> None:
    assert placement(["cpu"], gpus=False) == {"cpu": "cpu", "auto": "cpu"}
    assert placement(["cpu"], gpus=True) == {"cpu": "cpu"}
    assert placement(["cuda:1", "cuda:0", "cpu"], gpus=True) == {"cuda": "cuda:1", "cpu": "cpu", "auto": "cuda:1"}
    assert placement([], gpus=True) == {}


@given(st.floats(0, 100), st.floats(1e-3, 10), st.lists(st.integers(1, 10**6), min_size=2, max_size=20, unique=True))
def test_a_pace_is_found_from_jobs_that_keep_it(start: float, each: float, works: list[int]) -> None:
    pace = Pace(start, each)
    found = pace_of([(work, pace.seconds(work)) for work in works])
    assert found is not None
    for work in works:
        assert math.isclose(found.seconds(work), pace.seconds(work), rel_tol=0.02, abs_tol=1e-3)


@given(st.lists(st.tuples(st.integers(1, 10**12), st.floats(0, 10**6)), max_size=20))
def test_a_pace_is_never_negative(samples: list[tuple[int, float]]) -> None:
    found = pace_of(samples)
    if samples:
        assert found is not None
        assert found.start >= 0
        assert found.each >= 0
    else:
        assert found is None


def waiting(id: str, needs: Needs = Needs("auto"), priority: int = 0, turn: int = 0, work: int = 10) -> Waiting:
    return Waiting(id, priority, turn, needs, work)


PACES = {"cpu": Pace(0, 1.0), "cuda": Pace(0, 0.1)}


def test_starts_follow_what_runs() -> None:
    jobs = [waiting("a"), waiting("b"), waiting("c")]
    running = [Running("w", "cpu", 5.0), Running("w", "cpu", 8.0)]
    forecast = Forecast(jobs, [Host("w", ("cpu", "cpu"))], running, PACES)
    assert [forecast.start_in(job) for job in jobs] == [5.0, 8.0, 15.0]


def test_nothing_is_foretold_where_nothing_is_known() -> None:
    jobs = [waiting("a"), waiting("b")]
    assert Forecast(jobs, [Host("w")], [Running("w", "cpu", None)], PACES).start_in(jobs[0]) is None
    no_pace = Forecast(jobs, [Host("w", ("cpu",))])
    assert [no_pace.start_in(job) for job in jobs] == [0.0, None]


def test_a_job_that_must_be_alone_waits_for_an_idle_worker_and_closes_it() -> None:
    alone, after = waiting("a", Needs("cpu", alone=True)), waiting("b")
    forecast = Forecast([alone, after], [Host("w", ("cpu", "cpu"))], [Running("w", "cpu", 3.0)], PACES)
    assert (forecast.start_in(alone), forecast.start_in(after)) == (10.0, 0.0)
    closed = Forecast([after], [Host("w", ("cpu", "cpu"))], [Running("w", "cpu", 3.0, alone=True)], PACES)
    assert closed.start_in(after) == 3.0


def test_a_job_that_came_since_is_placed_too() -> None:
    forecast = Forecast([waiting("a"), waiting("b", turn=5)], [Host("w")], [], PACES)
    new = waiting("c", turn=9)
    assert (forecast.position(new), forecast.start_in(new)) == (3, 10.0)


def test_only_those_that_compete_count() -> None:
    jobs = [waiting("g", Needs("cuda")), waiting("c", Needs("cpu"), turn=1), waiting("x", Needs("auto"), turn=2)]
    hosts = [Host("gpu", ("cuda:0",)), Host("cpu", ("cpu",))]
    assert [Forecast(jobs, hosts).position(job) for job in jobs] == [1, 1, 3]
    assert [Forecast(jobs, []).position(job) for job in jobs] == [1, 1, 3], "without workers, by what they ask for"


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Needs("cpu"), None),
        (Needs("cuda"), "no live worker has a GPU"),
        (Needs("auto", 64 * 1024), "no live worker has 64 GiB of memory"),
        (Needs("cpu", 0, "cpu|x"), "no live worker offers cpu|x, on which the job began; "),
        (Needs("cpu", 0, "cpu|c"), None),
    ],
)
def test_what_is_missing_is_said(needs: Needs, said: str | None) -> None:
    hosts = [Host("w", ("cpu",), 8 * 1024, frozenset({"cpu|c"})), Host("d", ("cuda:0",), 2**40, draining=True)]
    found = Forecast([], hosts).waiting_for(needs)
    assert found is None if said is None else found is not None and found.startswith(said)


def test_no_worker_at_all_is_said() -> None:
    assert Forecast([], []).waiting_for(Needs("cpu")) == "there is no live worker"
    assert Forecast([], [Host("d", draining=True)]).waiting_for(Needs("cpu")) == "every live worker is being drained"
    only_gpu = Forecast([], [Host("g", ("cuda:0",))])
    assert only_gpu.waiting_for(Needs("cpu")) == "no live worker has a CPU to offer"
