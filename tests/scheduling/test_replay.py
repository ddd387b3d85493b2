"""Two users, three priorities, mixed capabilities: who gets what, in which order, and whether they were told so."""

from __future__ import annotations

from collections import defaultdict

import pytest

from jobs.database import Database
from tests.scheduling.replay import Machine, Queued, Request, Site, Start, trace
from worker.slots import Slots


def site(database: Database) -> Site:
    """A small machine, one with much memory, and one with two GPUs."""
    return Site(
        database,
        [
            Machine("worker_a", Slots(("cpu", "cpu"), 8 * 1024)),
            Machine("worker_b", Slots(("cpu",), 64 * 1024)),
            Machine("worker_c", Slots(("cuda:0", "cuda:1", "cpu"), 32 * 1024)),
        ],
    )


@pytest.fixture
def played(database: Database) -> Site:
    """The trace, once for each database; what is shown of positions and starts is checked on the way."""
    place = site(database)
    told: dict[str, float] = {}
    last = max(request.at for request in trace())

    def look(site: Site) -> None:
        if site.now != last and len(site.starts) % 3:  # a third of the moments will do
            return
        forecast = site.forecast()
        jobs = {job.id: job for job in forecast.waiting}
        assert set(jobs) == set(site.waiting)
        for job in site.waiting.values():
            before = [other for other in site.waiting.values() if other.order < job.order and compete(site, other, job)]
            assert forecast.position(jobs[job.id]) == 1 + len(before)
            assert forecast.waiting_for(jobs[job.id].needs) is None
        if site.now == last:  # nobody comes after this: what is foretold can come true
            for id, job in jobs.items():
                seconds = forecast.start_in(job)
                assert seconds is not None
                told[id] = site.now + seconds

    place.play(trace(), look)
    assert len(told) > 20
    for id, time in told.items():
        assert place.starts[id].time == pytest.approx(time, abs=1e-6), place.starts[id].job
    return place


def compete(site: Site, a: Queued, b: Queued) -> bool:
    return any(machine.could_take(a.request) and machine.could_take(b.request) for machine in site.machines)


def test_the_trace(played: Site) -> None:
    starts = sorted(played.starts.values(), key=lambda start: start.time)
    assert len(starts) == len(trace()), "every job ran: none starved"
    for start in starts:
        assert start.job in start.could, "it ran where it may"
        assert start.job.order == min(job.order for job in start.could), "highest priority, then its turn"
    never_more_than_there_is(played)
    for pool in ("cpu", "cuda"):
        shares(starts, pool)


def never_more_than_there_is(site: Site) -> None:
    assert not site.running
    for machine in site.machines:
        free = machine.slots.free()
        assert free is not None
        assert (free.memory_mb, free.idle) == (machine.slots.memory_mb, True)


def shares(starts: list[Start], pool: str) -> None:
    """While both users wait for the same kind of device, what was started of either differs by a maximal job of each.

    That is Golestani's bound for self-clocked fair queueing over any interval, in started work. Jobs that were passed
    by, as no worker with enough memory was free, have not started: they are added to it.
    """
    mine = [s for s in starts if s.job.request.priority == 0 and s.job.request.device == pool]
    most = sum(max(s.job.work for s in mine if s.job.request.user == user) for user in ("ann", "bob"))
    given: dict[str, int] = defaultdict(int)
    since, tried = 0, 0
    for start in mine:
        rivals = [job for job in start.could if job.request.priority == 0 and job.request.device == pool]
        if {job.request.user for job in rivals} != {"ann", "bob"}:
            given.clear()  # one of them does not wait: the other may have it all
            continue
        if not given:
            since = start.job.turn
        if start.job.turn >= since:  # else it was passed by before both waited
            given[start.job.request.user] += start.job.work
        passed = [s.job.work for s in mine if s.job.turn < start.job.turn and s.job.request.at <= start.time < s.time]
        assert abs(given["ann"] - given["bob"]) <= most + sum(passed)
        tried += 1
    assert tried >= 10


def test_a_newcomer_waits_for_no_more_than_its_own_work_and_one_job(database: Database) -> None:
    place = Site(database, [Machine("worker_a", Slots(("cpu",), 8 * 1024))])
    many = [Request(0, "ann", 0, "cpu", None, epochs) for epochs in (5, 9, 7, 3, 8, 6, 9, 4, 7, 8, 5, 9)]
    late = [Request(150, "bob", 0, "cpu", None, 5), Request(150, "bob", 0, "cpu", None, 5)]
    place.play([*many, *late])
    starts = sorted(place.starts.values(), key=lambda start: start.time)
    most = max(start.job.work for start in starts)
    for start in starts:
        if start.job.request.user == "bob":
            since = [s.job.work for s in starts if 150 <= s.time < start.time and s.job.request.user == "ann"]
            own = sum(s.job.work for s in starts if s.job.request.user == "bob" and s.time <= start.time)
            assert sum(since) <= own + most


def test_who_was_idle_gets_no_credit_for_it(database: Database) -> None:
    """ann has had the workers for long; bob, who comes now, shares them from here on and does not catch up."""
    place = Site(database, [Machine("worker_a", Slots(("cpu",), 8 * 1024))])
    long_ago = [Request(0, "ann", 0, "cpu", None, 10) for _ in range(10)]
    now = [Request(1200, user, 0, "cpu", None, 10) for _ in range(5) for user in ("ann", "bob")]
    place.play([*long_ago, *now])
    starts = sorted(place.starts.values(), key=lambda start: start.time)
    order = [start.job.request.user for start in starts if start.job.request.at == 1200]
    assert sorted(order[:4]) == ["ann", "ann", "bob", "bob"]
    assert sorted(order[4:8]) == ["ann", "ann", "bob", "bob"]


def test_asking_in_two_ways_gives_no_second_share(database: Database) -> None:
    """On workers without GPUs `auto` and `cpu` want the same slots: who uses both stands in line once."""
    place = Site(database, [Machine("worker_a", Slots(("cpu",), 8 * 1024))])
    both = [Request(0, "ann", 0, device, None, 10) for _ in range(6) for device in ("auto", "cpu")]
    one = [Request(0, "bob", 0, "cpu", None, 10) for _ in range(6)]
    place.play([*both, *one])
    order = [s.job.request.user for s in sorted(place.starts.values(), key=lambda s: s.time)][1:11]
    assert abs(order.count("ann") - order.count("bob")) <= 1


def test_what_waits_for_a_gpu_puts_off_nothing_else(database: Database) -> None:
    """ann waits for the one GPU with much; her job for a CPU is not charged with it."""
    place = Site(database, [Machine("worker_a", Slots(("cuda:0", "cpu"), 8 * 1024))])
    gpu = [Request(0, "ann", 0, "cuda", None, 50) for _ in range(6)]
    cpu = [Request(1, "bob", 0, "cpu", None, 5) for _ in range(5)]
    place.play([*gpu, *cpu, Request(2, "ann", 0, "cpu", None, 5)])
    order = [s.job.request.user for s in sorted(place.starts.values(), key=lambda s: s.time) if s.device == "cpu"]
    assert "ann" in order[:3]
