"""The repository on both databases: states, fences, cursors, keys, order of claims."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.errors import BadCursor, Conflict, FenceLost, IdempotencyMismatch, NotFound
from jobs.ids import ID_PATTERN, new_id
from jobs.repository import attempts, core, finding, history, lifecycle, outlook, queue, recovery
from jobs.repository.attempts import Claim, NewArtifact, Stored
from jobs.repository.finding import Wanted
from jobs.repository.queue import Offer
from jobs.states import EDGES, FINAL, OWNED, Status
from jobs.tables import Checkpoint
from tests.support.specs import train_body, train_spec

LEASE_MS = 60_000


def submit(database: Database, **changes: Any) -> str:
    with database.write(DEFAULT) as session:
        return lifecycle.submit(session, train_spec(**changes)).job.id


def claim(database: Database, lease_ms: int = LEASE_MS, devices: tuple[str, ...] = ("cpu",)) -> Claim | None:
    with database.write(SERVICE) as session:
        return queue.claim(session, Offer("worker_a", devices), lease_ms)


def claimed(database: Database, lease_ms: int = LEASE_MS) -> Claim:
    submit(database)
    found = claim(database, lease_ms)
    assert found is not None
    return found


def points(*steps: int) -> list[dict[str, Any]]:
    return [{"name": "train/loss", "step": s, "epoch": 1, "value": 0.5, "time": 1} for s in steps]


def test_a_submission_is_a_job_its_event_and_its_wakeup(database: Database) -> None:
    job_id = submit(database, labels={"study": "eta"})
    with database.read(DEFAULT) as session:
        job = lifecycle.get(session, job_id)
        assert job.status == Status.QUEUED
        assert abs(job.created_at - time.time() * 1000) < 60_000
        assert [(e.seq, e.type, e.data) for e in history.events(session, job_id)] == [
            (1, "status", {"from": None, "to": "queued"})
        ]
        assert [row[1] for row in recovery.pending_wakeups(session)] == [job_id]
        assert lifecycle.labels_of(session, [job_id]) == {job_id: {"study": "eta"}}


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def die_after_submitting() -> None:
        with database.write(DEFAULT) as session:
            lifecycle.submit(session, train_spec())
            raise RuntimeError("the process dies here")

    with pytest.raises(RuntimeError):
        die_after_submitting()
    with database.read(DEFAULT) as session:
        assert finding.list_jobs(session).rows == []
        assert recovery.pending_wakeups(session) == []


def test_one_key_makes_one_job_however_many_ask_at_once(database: Database) -> None:
    def ask(_: int) -> tuple[str, bool]:
        with database.write(DEFAULT) as session:
            done = lifecycle.submit(session, train_spec(), key="k", body=train_body())
            return done.job.id, done.created

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    with pytest.raises(IdempotencyMismatch), database.write(DEFAULT) as session:
        lifecycle.submit(session, train_spec(seed=1), key="k", body=train_body(seed=1))


def test_the_best_job_is_claimed_first(database: Database) -> None:
    low = submit(database, priority=-1)
    first, second = submit(database), submit(database)
    gpu = submit(database, priority=9, resources={"device": "cuda"})
    order = [found.job_id for _ in range(3) if (found := claim(database))]
    assert order == [first, second, low]
    assert claim(database) is None, "a job for a GPU waits for a worker that has one"
    taken = claim(database, devices=("cpu", "cuda"))
    assert taken is not None
    assert taken.job_id == gpu


def test_concurrent_claims_never_share_a_job(database: Database) -> None:
    ids = {submit(database) for _ in range(12)}
    with ThreadPoolExecutor(6) as pool:
        found = [c.job_id for c in pool.map(lambda _: claim(database), range(18)) if c is not None]
    assert sorted(found) == sorted(ids)


def test_a_fenced_attempt_writes_nothing(database: Database) -> None:
    old = claimed(database, lease_ms=1)
    time.sleep(0.05)
    with database.write(SERVICE) as session:
        assert recovery.reclaim_expired(session) == [old.job_id]
    new = claim(database)
    assert new is not None
    assert new.fence > old.fence
    with pytest.raises(FenceLost), database.write(DEFAULT) as session:
        attempts.add_metrics(session, attempts.lock(session, old, LEASE_MS), points(1))
    with pytest.raises(FenceLost), database.read(DEFAULT) as session:
        attempts.status(session, old)
    with database.read(SERVICE) as session:
        assert history.metrics(session, new.job_id) == []


def test_a_lease_that_is_renewed_is_not_reclaimed(database: Database) -> None:
    claim_ = claimed(database, lease_ms=1)
    with database.write(SERVICE) as session:
        attempts.lock(session, claim_, LEASE_MS)
    time.sleep(0.05)
    with database.write(SERVICE) as session:
        assert recovery.reclaim_expired(session) == []


def test_a_reader_never_skips_a_row_that_commits_late(database: Database) -> None:
    """Writers race for `seq`; a reader that follows with a cursor sees every row exactly once, in order."""
    claim_ = claimed(database)
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        cursor = 0
        while True:
            last_round = done.is_set()
            with database.read(DEFAULT) as session:
                rows = history.metrics(session, claim_.job_id, after_seq=cursor)
            seen.extend(row.seq for row in rows)
            cursor = max([cursor, *(row.seq for row in rows)])
            if last_round and not rows:
                return

    def write(start: int) -> None:
        for i in range(20):
            with database.write(DEFAULT) as session:
                job = attempts.lock(session, claim_, LEASE_MS)
                attempts.add_metrics(session, job, points(start + i))
                if start:
                    time.sleep(0.002)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(base,)) for base in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert len(seen) == 60
    assert seen == sorted(set(seen))


def test_a_point_is_appended_once(database: Database) -> None:
    claim_ = claimed(database)
    for _ in range(2):
        with database.write(DEFAULT) as session:
            attempts.add_metrics(session, attempts.lock(session, claim_, LEASE_MS), points(1, 2))
    with database.read(DEFAULT) as session:
        assert [m.step for m in history.metrics(session, claim_.job_id)] == [1, 2]
        assert attempts.metric_cursor(session, claim_.job_id) == {"train/loss": 2}


@given(st.sampled_from(list(Status)), st.sampled_from(list(Status)))
def test_the_edges_are_the_designs(before: Status, after: Status) -> None:
    allowed = after in EDGES[before]
    assert not (allowed and before in FINAL)
    assert not (allowed and after in OWNED and before not in OWNED | {Status.QUEUED})


def test_cancel_in_each_state(database: Database) -> None:
    queued, running = submit(database), claimed(database)
    running_id = running.job_id
    other = queued if running_id != queued else submit(database)
    with database.write(DEFAULT) as session:
        assert lifecycle.cancel(session, running_id).status == Status.CANCELLING
        assert lifecycle.cancel(session, running_id).status == Status.CANCELLING
    with database.write(DEFAULT) as session:
        attempts.finish(session, attempts.lock(session, running, LEASE_MS), Status.SUCCEEDED, "Succeeded.")
    with pytest.raises(Conflict, match="already succeeded"), database.write(DEFAULT) as session:
        lifecycle.cancel(session, running_id)
    still_queued = [i for i in (queued, other) if i != running_id]
    for job_id in still_queued:
        with database.write(DEFAULT) as session:
            lifecycle.cancel(session, job_id)
    with database.read(DEFAULT) as session:
        assert lifecycle.get(session, running_id).status == Status.SUCCEEDED


def test_retry_makes_a_new_job_from_the_checkpoint(database: Database) -> None:
    claim_ = claimed(database)
    with pytest.raises(Conflict, match="only a finished job"), database.write(DEFAULT) as session:
        lifecycle.retry(session, claim_.job_id, train_spec(), from_checkpoint=False)
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, claim_, LEASE_MS)
        attempts.add_checkpoint(session, job, 12, Stored("a" * 64, 10), keep=2)
        error = {"code": "diverged", "message": "NaN", "log_tail": ""}
        attempts.finish(session, job, Status.FAILED, "NaN", error)
    with database.write(DEFAULT) as session:
        new = lifecycle.retry(session, claim_.job_id, train_spec(), from_checkpoint=True)
    with database.read(DEFAULT) as session:
        assert attempts.checkpoints(session, new.id) == [(12, Stored("a" * 64, 10))]
        assert lifecycle.get(session, new.id).retry_of == claim_.job_id


def test_a_finished_training_is_continued_from_its_newest_checkpoint(database: Database) -> None:
    claim_ = claimed(database)
    with pytest.raises(Conflict, match="only a finished training"), database.write(DEFAULT) as session:
        lifecycle.continue_training(session, claim_.job_id, train_spec())
    newest = Stored("b" * 64, 11)
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, claim_, LEASE_MS)
        attempts.add_checkpoint(session, job, 12, Stored("a" * 64, 10), keep=2)
        attempts.add_checkpoint(session, job, 24, newest, keep=2)
        attempts.finish(session, job, Status.SUCCEEDED, "Done.")
    body = {"epochs": 3}
    with database.write(DEFAULT) as session:
        made = lifecycle.continue_training(session, claim_.job_id, train_spec(epochs=3), key="k", body=body)
        same = lifecycle.continue_training(session, claim_.job_id, train_spec(epochs=3), key="k", body=body)
    assert (made.created, same.created, made.job.id) == (True, False, same.job.id)
    assert (made.job.continued_from, made.job.retry_of) == (claim_.job_id, None)
    with database.read(DEFAULT) as session:
        assert attempts.resume_points(session, made.job.id) == ([], newest)

    again = claim(database)
    assert again.job_id == made.job.id
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, again, LEASE_MS)
        for step in (1, 2, 3):
            attempts.add_checkpoint(session, job, step, Stored(str(step) * 64, 9), keep=2)
        attempts.finish(session, job, Status.SUCCEEDED, "Done.")
    with database.write(DEFAULT) as session:
        anew = lifecycle.retry(session, again.job_id, train_spec(), from_checkpoint=False)
        later = lifecycle.retry(session, again.job_id, train_spec(), from_checkpoint=True)
        third, second = (3, Stored("3" * 64, 9)), (2, Stored("2" * 64, 9))
        assert attempts.resume_points(session, again.job_id) == ([third, second], newest)
        assert attempts.resume_points(session, anew.id) == ([], newest)
        assert attempts.resume_points(session, later.id) == ([third], newest)
        assert {anew.continued_from, later.continued_from} == {claim_.job_id}

    with database.write(DEFAULT) as session:
        session.execute(sa.delete(Checkpoint))
    with pytest.raises(Conflict, match="init_from"), database.write(DEFAULT) as session:
        lifecycle.continue_training(session, claim_.job_id, train_spec())
    with pytest.raises(Conflict, match="init_from"), database.write(DEFAULT) as session:
        lifecycle.retry(session, again.job_id, train_spec(), from_checkpoint=False)


def test_delete_removes_everything_of_a_finished_job(database: Database) -> None:
    claim_ = claimed(database)
    with pytest.raises(Conflict, match="cancel it"), database.write(DEFAULT) as session:
        lifecycle.delete_job(session, claim_.job_id)
    with database.write(DEFAULT) as session:
        job = attempts.lock(session, claim_, LEASE_MS)
        attempts.add_metrics(session, job, points(1))
        attempts.add_log(session, job, "text")
        attempts.add_artifacts(session, job, [NewArtifact("log.txt", "log", "text/plain", Stored("b" * 64, 4))])
        attempts.finish(session, job, Status.SUCCEEDED, "Succeeded.")
    with database.write(DEFAULT) as session:
        assert lifecycle.delete_job(session, claim_.job_id) == ["b" * 64]
    with database.read(DEFAULT) as session:
        assert history.metrics(session, claim_.job_id) == []
        assert history.artifacts(session, claim_.job_id) == []
        with pytest.raises(NotFound):
            lifecycle.get(session, claim_.job_id)


def test_pages_cover_a_list_once_while_it_grows(database: Database) -> None:
    ids = [submit(database, labels={"n": str(i % 2)}) for i in range(7)]
    with database.read(DEFAULT) as session:
        first = finding.list_jobs(session, limit=3)
    submit(database)
    seen, cursor = [row.id for row in first.rows], first.next
    while cursor:
        with database.read(DEFAULT) as session:
            page = finding.list_jobs(session, limit=3, after=cursor)
        seen += [row.id for row in page.rows]
        cursor = page.next
    assert seen == list(reversed(ids))
    with database.read(DEFAULT) as session:
        labelled = finding.list_jobs(session, Wanted(labels=[("n", "0")]), limit=2)
        assert [row.id for row in labelled.rows] == [ids[6], ids[4]]
        with pytest.raises(BadCursor):
            finding.list_jobs(session, limit=2, after=labelled.next)
        with pytest.raises(BadCursor):
            finding.list_jobs(session, after="%%%")


def test_queue_positions_follow_the_order_of_claims(database: Database) -> None:
    ids = [submit(database), submit(database, priority=5), submit(database)]
    with database.read(DEFAULT) as session:
        jobs = [lifecycle.get(session, job_id) for job_id in ids]
        found = outlook.forecast(session, LEASE_MS)
        assert [found.position(outlook.waiting_of(job)) for job in jobs] == [2, 1, 3]


def test_log_tail_counts_bytes_and_lines(database: Database) -> None:
    claim_ = claimed(database)
    for text in ("one\ntwo ü\n", "three\n", "four"):
        with database.write(DEFAULT) as session:
            attempts.add_log(session, attempts.lock(session, claim_, LEASE_MS), text)
    with database.read(DEFAULT) as session:
        whole, end = history.log_tail(session, claim_.job_id, 100)
        assert whole == "one\ntwo ü\nthree\nfour"
        assert end == len(whole.encode())
        assert history.log_tail(session, claim_.job_id, 2)[0] == "three\nfour"
        assert history.log_tail(session, claim_.job_id, 0)[0] == ""


def test_time_is_the_databases_in_milliseconds(database: Database) -> None:
    with database.read(DEFAULT) as session:
        first = core.now(session)
        time.sleep(0.02)
        assert 10 <= core.now(session) - first < 10_000
        assert abs(first - time.time() * 1000) < 5_000


def test_ids_sort_by_time_also_within_a_millisecond() -> None:
    ids = [new_id("job") for _ in range(2000)]
    assert ids == sorted(set(ids))
    assert all(ID_PATTERN.match(id_) for id_ in ids)
