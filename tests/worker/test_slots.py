"""Which device and how much memory each job of a worker gets. The GPUs here are names in the probe's answer only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.access.scope import DEFAULT
from jobs.errors import JobsError
from jobs.repository import history, lifecycle
from jobs.repository.attempts import Claim
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables import Job
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec
from worker.app import run_available
from worker.context import WorkerContext
from worker.probe import may_have_gpu
from worker.slots import Free, Slots, slot_devices


def claim_of(device: str, memory_gb: float | None = None, faults: int = 0) -> Claim:
    spec = {"resources": {"memory_gb": memory_gb}}
    return Claim(DEFAULT, f"job_{device}", 1, 1, "train", spec, 3, faults, device, None)


def free_of(slots: Slots) -> Free:
    free = slots.free()
    assert free is not None
    return free


def test_slots_by_settings() -> None:
    both = Settings(jobs_per_device=2, worker_slots=3)
    assert slot_devices(both, 0) == ("cpu",) * 3
    assert slot_devices(both, 2) == ("cuda:0", "cuda:0", "cuda:1", "cuda:1", "cpu", "cpu", "cpu")
    assert slot_devices(Settings(worker_devices=("cuda:1",)), 2) == ("cuda:1",)
    assert slot_devices(Settings(worker_devices=("cpu",)), 2) == ("cpu",)


def test_devices_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDER_WORKER_DEVICES", "cuda:0, cuda:3")
    settings = Settings()
    assert settings.worker_devices == ("cuda:0", "cuda:3")
    with pytest.raises(JobsError, match="names cuda:3, but torch finds 2 GPUs here"):
        slot_devices(settings, 2)
    for wrong, said in (("gpu", "must name devices as cpu or cuda:0"), ("cpu,cpu", "must name each device once")):
        monkeypatch.setenv("ADDER_WORKER_DEVICES", wrong)
        with pytest.raises(ValidationError, match=said):
            Settings()


def test_the_gpu_with_the_fewest_jobs_is_offered_first() -> None:
    slots = Slots(("cuda:0", "cuda:0", "cuda:1", "cuda:1", "cpu"), 1000)
    taken = [slots.take(lambda free: claim_of(free.devices[0])) for _ in range(4)]
    assert [claim.device for claim in taken if claim] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert free_of(slots).devices == ("cpu",)
    assert free_of(slots).gpus


def test_what_jobs_asked_for_is_not_free() -> None:
    slots = Slots(("cpu", "cpu", "cpu"), 10 * 1024)
    assert free_of(slots) == Free(("cpu",), gpus=False, memory_mb=10 * 1024, idle=True, slots=("cpu",) * 3)
    first = slots.take(lambda free: claim_of("cpu", memory_gb=4))
    slots.take(lambda free: claim_of("cpu"))
    assert free_of(slots) == Free(("cpu",), gpus=False, memory_mb=6 * 1024, idle=False, slots=("cpu",))
    assert first is not None
    slots.release(first)
    assert free_of(slots).memory_mb == 10 * 1024


def test_beside_a_last_chance_nothing_is_claimed() -> None:
    slots = Slots(("cpu", "cpu"), 1000)
    alone = slots.take(lambda free: claim_of("cpu", faults=2))
    assert slots.free() is None
    assert slots.take(lambda free: claim_of("cpu")) is None
    assert alone is not None
    slots.release(alone)
    assert free_of(slots).idle


def test_claims_that_fail_take_no_slot() -> None:
    slots = Slots(("cpu",), 1000)

    def fail(free: Free) -> Claim | None:
        raise JobsError("the database is away")

    with pytest.raises(JobsError, match="away"):
        slots.take(fail)
    assert slots.take(lambda free: None) is None
    assert free_of(slots).idle


def test_two_threads_never_get_one_slot() -> None:
    slots = Slots(("cpu", "cpu"), 1000)
    barrier, found = threading.Barrier(8), []

    def take() -> None:
        barrier.wait()
        found.append(slots.take(lambda free: claim_of("cpu")))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in found) == 2


def test_gpus_are_looked_for_where_the_system_has_a_driver(tmp_path: Path) -> None:
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert may_have_gpu(tmp_path)


@pytest.fixture
def context(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[WorkerContext]:
    """A worker that believes in two GPUs, and whose children say which of them they see."""
    child = tmp_path / "child.sh"
    child.write_text(f'#!/bin/sh\necho "sees=$CUDA_VISIBLE_DEVICES="\nexec {" ".join(TINY_CHILD)} "$@"\n')
    child.chmod(0o755)
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, child_command=(str(child),), worker_memory_gb=8)
    context = WorkerContext.create(settings)
    context.info = {"gpus": ["a GPU", "another"]}
    context.open_slots()
    yield context
    context.draining.set()
    context.app.close()
    context.database.dispose()


def test_each_child_sees_its_own_device(context: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")  # of a host with more: the worker's own are numbered from 0
    wanted: dict[str, dict[str, Any]] = {
        "auto": {}, "cuda": {"device": "cuda"}, "cpu": {"device": "cpu"}, "much": {"device": "cuda", "memory_gb": 9},
    }  # fmt: skip
    with context.database.write(DEFAULT) as session:
        ids = {
            name: lifecycle.submit(session, train_spec(labels={"seconds": "3"}, resources=resources)).job.id
            for name, resources in wanted.items()
        }
    threads = [threading.Thread(target=run_available, args=(context,)) for _ in range(3)]
    for thread in threads:
        thread.start()

    def jobs() -> dict[str, Job]:
        with context.database.read(DEFAULT) as session:
            return {name: lifecycle.get(session, job_id) for name, job_id in ids.items()}

    wait_until(lambda: sum(job.status == Status.RUNNING for job in jobs().values()) == 3, "three jobs to run at once")
    assert {name: job.device for name, job in jobs().items()} == {
        "auto": "cuda:0", "cuda": "cuda:1", "cpu": "cpu", "much": None,
    }  # fmt: skip
    for thread in threads:
        thread.join()
    assert jobs()["much"].status == Status.QUEUED
    seen = {name: log(context, ids[name]) for name in ("auto", "cuda", "cpu")}
    assert {name: text.split("=")[1] for name, text in seen.items()} == {"auto": "4", "cuda": "6", "cpu": ""}
    row = context.row()
    assert (row["slots"], row["devices"], row["memory_mb"]) == (3, ["cuda:0", "cuda:1", "cpu"], 8 * 1024)


def log(context: WorkerContext, job_id: str) -> str:
    with context.database.read(DEFAULT) as session:
        return history.log_tail(session, job_id, 100)[0]
