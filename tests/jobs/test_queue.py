"""Turns, claims and the bound of the queue, on both databases. Whole traces are in `tests/scheduling`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, insert, text, update

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.errors import QueueFull
from jobs.repository import attempts, history, lifecycle, queue, recovery
from jobs.repository.attempts import Claim, Stored
from jobs.repository.queue import Offer
from jobs.scheduling import Rules
from jobs.states import Drain, Status
from jobs.tables import Job, Worker
from tests.support.specs import train_spec

LEASE_MS = 60_000
CPU_KEY = "cpu|c|gcc|2.13.0|AVX512"
GPU_KEY = "cuda (NVIDIA H200)|triton||2.13.0|AVX512"


def submit(database: Database, user: str = "ann", rules: Rules = Rules(), **changes: Any) -> str:
    with database.write(DEFAULT) as session:
        return lifecycle.submit(session, train_spec(labels={"user": user}, **changes), rules=rules).job.id


def claim(database: Database, **offer: Any) -> Claim | None:
    with database.write(SERVICE) as session:
        return queue.claim(session, Offer("worker_a", **offer), LEASE_MS)


def claimed(database: Database, **offer: Any) -> str:
    found = claim(database, **offer)
    assert found is not None
    return found.job_id


def heartbeat(database: Database, id: str = "worker_a", devices: Sequence[str] = ("cpu",), memory_gb: int = 8) -> None:
    with database.write(SERVICE) as session:
        row = {"id": id, "hostname": "here", "pid": 1, "slots": len(devices), "device": "cpu", "info": {}, "stats": {}}
        recovery.heartbeat(session, row | {"devices": list(devices), "memory_mb": memory_gb * 1024, "offers": []})


def change(database: Database, job_id: str, **values: Any) -> None:
    with database.write(DEFAULT) as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def end(database: Database, claim: Claim, to: Status = Status.SUCCEEDED) -> None:
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, claim, LEASE_MS)
        if to is Status.QUEUED or to is Status.PAUSED:
            attempts.hand_back(session, job, to, "It ended.")
        else:
            attempts.finish(session, job, to, "It ended.")


def turn(database: Database, job_id: str) -> int:
    with database.read(DEFAULT) as session:
        return lifecycle.get(session, job_id).turn


def test_shares_alternate_whoever_came_first(database: Database) -> None:
    ann = [submit(database) for _ in range(3)]
    bob = [submit(database, "bob") for _ in range(2)]
    assert [claimed(database) for _ in range(5)] == [ann[0], bob[0], ann[1], bob[1], ann[2]]


def test_a_larger_job_takes_more_of_its_share(database: Database) -> None:
    ann = [submit(database, epochs=20) for _ in range(2)]
    bob = [submit(database, "bob", epochs=10) for _ in range(4)]
    assert [claimed(database) for _ in range(6)] == [bob[0], ann[0], bob[1], bob[2], ann[1], bob[3]]


def test_the_label_that_names_shares_is_a_setting(database: Database) -> None:
    rules = Rules(share_label="team")
    first = [submit(database, user, rules) for user in ("ann", "bob")]
    assert turn(database, first[1]) == 2 * turn(database, first[0]), "users are nothing to it: both stand in one line"


def test_another_priority_is_another_queue(database: Database) -> None:
    for _ in range(5):
        submit(database, priority=7)
    ann, bob = submit(database), submit(database, "bob")
    assert turn(database, ann) == turn(database, bob), "what ann has at priority 7 is not charged here"
    assert claimed(database) not in (ann, bob)


def test_a_newcomer_does_not_line_up_behind_what_was_passed_by(database: Database) -> None:
    """ann's small job, last of her line, is served at once by a small worker; bob's large one stays near the head."""
    heartbeat(database, "worker_small", memory_gb=8)
    heartbeat(database, "worker_large", memory_gb=64)
    large = [submit(database, resources={"memory_gb": 32}) for _ in range(6)]
    small = submit(database)
    assert claimed(database, memory_mb=8 * 1024) == small
    bob = submit(database, "bob", resources={"memory_gb": 32})
    order = [claimed(database, memory_mb=64 * 1024) for _ in range(3)]
    assert order == [large[0], large[1], bob], "the head of the line, its equal, and not behind all six"


def test_what_has_waited_long_gives_a_newcomer_no_credit(database: Database) -> None:
    """A job that was paused long ago stands first, with its old turn; bob does not line up next to it."""
    heartbeat(database)
    old = submit(database)
    paused = claim(database)
    assert paused is not None
    with database.write(DEFAULT) as session:
        lifecycle.pause(session, old)
    end(database, paused, Status.PAUSED)
    for _ in range(5):
        submit(database)
        served = claim(database)
        assert served is not None
        end(database, served)
    waiting = submit(database)
    with database.write(DEFAULT) as session:
        lifecycle.resume(session, old)
    bob = submit(database, "bob")
    assert turn(database, bob) >= turn(database, waiting)
    assert claimed(database) == old, "it keeps its turn"


def test_cancelled_jobs_that_never_ran_are_not_charged(database: Database) -> None:
    for job_id in [submit(database) for _ in range(5)]:
        with database.write(DEFAULT) as session:
            lifecycle.cancel(session, job_id)
    assert turn(database, submit(database)) == turn(database, submit(database, "bob"))


def test_jobs_that_a_share_submits_at_once_get_different_turns(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: submit(database), range(16)))
    assert len({turn(database, id) for id in ids}) == 16


def test_a_handed_back_job_goes_on_first(database: Database) -> None:
    first = submit(database)
    submit(database)
    found = claim(database)
    assert found is not None
    end(database, found, Status.QUEUED)
    assert claimed(database) == first


def test_memory(database: Database) -> None:
    large = submit(database, resources={"memory_gb": 12.5})
    small = submit(database, resources={"memory_gb": 0.5})
    assert claimed(database, memory_mb=12 * 1024) == small
    assert claim(database, memory_mb=12 * 1024) is None
    assert claimed(database, memory_mb=13 * 1024) == large


def test_many_different_demands_for_memory(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than can be looked at one by one."""
    monkeypatch.setattr(queue, "MOST_LEVELS", 3)
    ids = [submit(database, resources={"memory_gb": size}) for size in (9, 1, 7, 2, 5, 3)]
    assert [claimed(database, memory_mb=6 * 1024) for _ in range(4)] == [ids[1], ids[3], ids[4], ids[5]]
    assert claim(database, memory_mb=6 * 1024) is None


def test_gpus_are_for_those_that_ask_and_for_auto(database: Database) -> None:
    auto, gpu, cpu = (submit(database, resources={"device": device}) for device in ("auto", "cuda", "cpu"))
    assert claim(database, devices=(), gpus=True) is None
    assert claimed(database, devices=("cpu",), gpus=True) == cpu, "a GPU worker's CPU leaves auto to its GPUs"
    taken = [claim(database, devices=("cuda:1", "cpu"), gpus=True) for _ in range(2)]
    assert [(found.job_id, found.device) for found in taken if found] == [(auto, "cuda:1"), (gpu, "cuda:1")]


def test_a_frozen_environment(database: Database) -> None:
    job_id = submit(database)
    change(database, job_id, environment_key=CPU_KEY)
    assert claim(database) is None
    assert claim(database, keys=[GPU_KEY]) is None
    both = {"devices": ("cuda:0", "cpu"), "names": {"cuda:0": "cuda (NVIDIA H200)"}, "keys": [CPU_KEY, GPU_KEY]}
    assert claim(database, **(both | {"devices": ("cuda:0",)})) is None, "its CPU is taken"
    found = claim(database, **both)
    assert found is not None
    assert found.device == "cpu", "auto, but it began on a CPU"


def test_a_job_that_need_not_be_exact_goes_on_anywhere(database: Database) -> None:
    job_id = submit(database, resources={"exact": False})
    change(database, job_id, environment_key=GPU_KEY)
    assert claimed(database) == job_id


def test_a_last_chance_runs_alone(database: Database) -> None:
    job_id, other = submit(database), submit(database)
    change(database, job_id, faults=2)
    assert claimed(database, idle=False) == other
    assert claim(database, idle=False) is None
    assert claimed(database, idle=True) == job_id


def test_a_last_chance_that_has_waited_long_holds_a_busy_worker_back(database: Database) -> None:
    """One worker, the first of those that could take it; the others go on."""
    heartbeat(database, "worker_0", devices=("cuda:0",))
    heartbeat(database, "worker_a")
    heartbeat(database, "worker_b")
    job_id, other = submit(database), submit(database)
    change(database, job_id, faults=2, queued_at=1, needs_device="cpu")
    assert claim(database, idle=False) is None
    with database.write(SERVICE) as session:
        found = queue.claim(session, Offer("worker_b", idle=False), LEASE_MS)
    assert found is not None
    assert found.job_id == other
    assert claimed(database, idle=True) == job_id


def test_a_worker_that_drains_claims_nothing(database: Database) -> None:
    heartbeat(database)
    job_id = submit(database)
    for asked in (Drain.FINISH, Drain.HAND_OVER, None):
        with database.write(DEFAULT) as session:
            session.execute(update(Worker).values(draining=asked))
        found = claim(database)
        assert (found and found.job_id) == (None if asked else job_id)


def test_workers_that_claim_at_once_take_the_best_jobs(database: Database) -> None:
    ids = [submit(database, priority=priority) for priority in range(20)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claimed(database), range(8)))
    assert sorted(found) == sorted(ids[-8:])


def test_a_full_queue(database: Database) -> None:
    rules = Rules(max_queued=2)
    found = claim(database) if submit(database, rules=rules) else None
    assert found is not None
    with database.write(DEFAULT) as session:
        lifecycle.pause(session, found.job_id)
    end(database, found, Status.PAUSED)
    for _ in range(2):
        submit(database, rules=rules)
    with pytest.raises(QueueFull, match=r"2 jobs are queued, the most that may be \(ADDER_MAX_QUEUED_JOBS"):
        submit(database, rules=rules)
    with database.write(DEFAULT) as session:
        lifecycle.resume(session, found.job_id)  # never refused: it was accepted once
    end_it = claim(database)
    assert end_it is not None
    end(database, end_it)
    with pytest.raises(QueueFull), database.write(DEFAULT) as session:
        lifecycle.retry(session, end_it.job_id, train_spec(), from_checkpoint=False, rules=rules)


def test_a_retry_keeps_its_share_and_freezes_nothing(database: Database) -> None:
    submit(database)
    found = claim(database)
    assert found is not None
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, found, LEASE_MS)
        job.environment_key, job.threads = CPU_KEY, 3
        attempts.add_checkpoint(session, job, 12, Stored("a" * 64, 10), keep=2)
        attempts.finish(session, job, Status.FAILED, "NaN", {"code": "diverged", "message": "NaN", "log_tail": ""})
        spec = job.spec
    with database.write(DEFAULT) as session:
        new = lifecycle.retry(session, found.job_id, train_spec(labels=spec["labels"]), from_checkpoint=True)
    with database.read(DEFAULT) as session:
        events = history.events(session, new.id)
        assert (new.share, new.environment_key, new.threads) == ("ann", None, None)
        assert lifecycle.labels_of(session, [new.id]) == {new.id: {"user": "ann"}}
    assert events[-1].message == (
        f"Goes on from step 12 of {found.job_id}, which ran on {CPU_KEY}; elsewhere the last bits differ."
    )


def test_neither_a_claim_nor_a_submission_reads_the_whole_table(database: Database) -> None:
    """Plans of the very statements, with a table long enough that a database would rather not scan it."""
    heartbeat(database)
    rules = Rules(max_queued=10_000)
    with database.write(DEFAULT) as session:
        row = {
            column.key: getattr(lifecycle.submit(session, train_spec()).job, column.key) for column in Job.__table__.c
        }
        rows = [row | {"id": f"job_{n:026d}", "turn": n, "share": f"user {n % 7}"} for n in range(3000)]
        session.execute(insert(Job), rows)
        session.execute(text("ANALYZE"))
    asked: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH", "UPDATE")) and "jobs" in statement:
            asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    found = claim(database, memory_mb=8 * 1024)
    submit(database, "somebody new", rules)
    event.remove(database.engine, "before_cursor_execute", note)
    assert found is not None
    assert len(asked) >= 6
    how = "EXPLAIN QUERY PLAN " if database.sqlite else "EXPLAIN "
    with database.engine.connect() as connection:
        for statement, parameters in asked:
            if "count(" in statement:
                continue  # reads the queue up to its bound, by which index is all one
            plan = [str(row[-1]) for row in connection.exec_driver_sql(how + statement, parameters)]
            scans = [line for line in plan if "Seq Scan on jobs" in line or line.strip().startswith("SCAN jobs")]
            assert all("INDEX" in line for line in scans), (statement, plan)
            few = " IN (" in statement  # the candidates of a claim, named one by one, may be sorted
            assert few or not any("Sort" in line or "TEMP B-TREE" in line for line in plan), (statement, plan)
