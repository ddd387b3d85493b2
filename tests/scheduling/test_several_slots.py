"""Jobs of several processes: one claim takes all their slots, and a stream of small jobs does not starve them."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from addercore.config import explain
from jobs.database import Database
from jobs.scheduling import DEVICE_LENGTH, device_text, devices_of, room
from jobs.spec import SPEC
from tests.scheduling.replay import Machine, Request, Site, trace
from tests.support.specs import train_body, train_spec
from worker.slots import Slots


def test_devices_are_written_and_read() -> None:
    for text, devices in {
        "cpu": ("cpu",),
        "cpu:3": ("cpu",) * 3,
        "cuda:1": ("cuda:1",),
        "cuda:0-2,5": ("cuda:0", "cuda:1", "cuda:2", "cuda:5"),
    }.items():
        assert device_text(devices) == text
        assert devices_of(text) == devices


def test_what_a_job_gets_of_a_worker() -> None:
    cpus = ("cpu",) * 3
    assert room(cpus, cpus, "cpu", 2) == ("cpu", "cpu")
    assert room(("cpu",), cpus, "cpu", 2) is None
    assert room(("cpu",), ("cpu",), "cpu", 4) == ("cpu",), "all of a worker that has fewer"
    assert room((), ("cpu",), "cpu", 4) is None
    gpus = ("cuda:0", "cuda:0", "cuda:3", "cuda:3", "cpu")
    assert room(gpus, gpus, "cuda", 2) == ("cuda:0", "cuda:3"), "each a GPU of its own"
    assert room(gpus, gpus, "cuda", 3) is None, "never two on one"
    many = tuple(f"cuda:{number}" for number in (1, 3, 5, 7, 9, 11, 13, 14, 15, 16))
    found = room(many, many, "cuda", 5)
    assert found is None or len(device_text(found)) <= DEVICE_LENGTH
    assert room(many, many, "cuda", 4) == ("cuda:1", "cuda:3", "cuda:5", "cuda:7")


def test_slots_are_taken_and_given_back(database: Database) -> None:
    place = Site(database, [Machine("worker_a", Slots(("cpu",) * 3, 8 * 1024))])
    place.heartbeat()
    place.submit(Request(0, "ann", 0, "cpu", 2, 5, processes=2))
    place.claim(place.machines[0])
    free = place.machines[0].slots.free()
    assert free is not None
    assert (free.slots, free.memory_mb) == (("cpu",), 4 * 1024), "2 GiB for each of two processes"
    [(_, _, claim)] = place.running.values()
    assert claim.device == "cpu:2"
    place.finish(claim)
    free = place.machines[0].slots.free()
    assert free is not None
    assert free.slots == ("cpu",) * 3


@pytest.mark.parametrize("slots", [2, 3])
def test_a_stream_of_small_jobs_does_not_starve_a_large_one(database: Database, slots: int) -> None:
    """A small job always comes before the last one ends; without reservation all slots are never free at once."""
    place = Site(database, [Machine("worker_a", Slots(("cpu",) * slots, 64 * 1024))])
    small = [Request(number * 2.0, "ann", 0, "cpu", None, 5 + number % 3) for number in range(40)]
    large = Request(9, "bob", 0, "cpu", None, 5, processes=slots)
    place.play([*small, large])
    starts = sorted(place.starts.values(), key=lambda start: start.time)
    mine = next(start for start in starts if start.job.request is large)
    passing = [s for s in starts if 9 <= s.time < mine.time and s.job.order > mine.job.order]
    assert passing == [], "nothing behind it was started before it"
    assert mine.device == f"cpu:{slots}"
    assert len(starts) == 41


def test_only_one_worker_keeps_its_slots_for_it(database: Database) -> None:
    machines = [Machine(f"worker_{name}", Slots(("cpu", "cpu"), 64 * 1024)) for name in "ab"]
    place = Site(database, machines)
    place.heartbeat()
    for _ in range(3):
        place.submit(Request(0, "ann", 0, "cpu", None, 20))
    for machine in (machines[0], machines[1]):
        place.claim(machine)
    assert len(place.running) == 3
    place.submit(Request(0, "bob", 10, "cpu", None, 5, processes=2))
    late = place.submit(Request(0, "ann", 0, "cpu", None, 5))
    ended = next(claim for _, number, claim in place.running.values() if number == 0)
    place.finish(ended)
    place.claim(machines[0])
    assert late.id in place.waiting, "the first worker keeps the slot that fell free"
    place.claim(machines[1])
    assert late.id not in place.waiting, "the second one goes on"


def test_the_trace_with_large_jobs_in_it(database: Database) -> None:
    """The replayed trace, a tenth of its jobs for the processor made large: all run, and starts come as foretold."""
    chosen = random.Random(4)
    requests = [
        request._replace(processes=chosen.choice((2, 3)))
        if request.device == "cpu" and not request.memory_gb and chosen.random() < 0.1
        else request
        for request in trace()
    ]
    machines = [
        Machine("worker_a", Slots(("cpu",) * 3, 8 * 1024)),
        Machine("worker_b", Slots(("cpu",), 64 * 1024)),
        Machine("worker_c", Slots(("cuda:0", "cuda:1", "cpu"), 32 * 1024)),
    ]
    place = Site(database, machines)
    assert sum(request.processes > 1 for request in requests) >= 5
    place.play(requests)
    assert len(place.starts) == len(requests), "none starved"
    assert not place.running
    for machine in machines:
        free = machine.slots.free()
        assert free is not None
        assert (free.slots, free.memory_mb) == (machine.slots.devices, machine.slots.memory_mb)


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"processes": 2, "gpus": 2}, "each GPU has a process of its own"),
        ({"processes": 2, "device": "cuda"}, "give resources.gpus"),
        ({"gpus": 2, "device": "cpu"}, "give resources.processes"),
        ({"processes": 65}, "65"),
    ],
)
def test_bad_resources_are_refused(resources: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        train_spec(resources=resources)


def test_several_settle_the_kind_of_device() -> None:
    assert train_spec(resources={"processes": 2}).resources.device == "cpu"
    assert train_spec(resources={"gpus": 2}).resources.device == "cuda"
    with pytest.raises(ValidationError, match=r"batch_size.*at least 6 for 3 processes"):
        train_spec(batch_size=5, resources={"processes": 3})


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (train_body(batch_size=5, resources={"processes": 3}), "/batch_size"),
        (train_body(distill={"teacher": "m"}, resources={"processes": 2}), "/distill/features"),
        (train_body(resources={"gpus": 2, "device": "cpu"}), "/resources/gpus"),
        (
            {"kind": "evaluate", "model_id": "m", "dataset": {"name": "digits"}, "resources": {"processes": 2}},
            "/resources/processes",
        ),
    ],
)
def test_errors_point_to_the_field(document: dict[str, object], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SPEC.validate_python(document)
    assert [error.pointer for error in explain(refused.value, of=SPEC)] == [pointer]
