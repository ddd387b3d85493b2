"""Lists in every order, page by page, against what sorting in Python gives; rows come and go meanwhile."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import BadCursor
from jobs.finding_tables import JobMetric, JobWord, ModelMetric, ModelWord
from jobs.ids import new_id
from jobs.repository import finding, indexing, lifecycle
from jobs.repository.finding import Wanted
from jobs.spec import SPEC
from jobs.states import Status
from jobs.store import store_of
from jobs.tables import Job, Label
from jobs.words import MOST_WORDS, asked, numbers_of, words_of
from tests.api.attempt import Worker
from tests.conftest import quick_settings
from tests.support.specs import train_body, train_spec

SPEC_DOCUMENT = SPEC.validate_python(train_body()).model_dump(mode="json")
VALUES = (0.5, 0.5, 0.25, -1.0, 0.0, 1e300, 5e-324, 0.1 + 0.2)
"""Equal ones among them, and some that keep all their digits only where a cursor does."""
ORDERS: dict[str, Wanted] = {
    "newest": Wanted(),
    "oldest": Wanted(order="asc"),
    "last finished": Wanted(sort="finished"),
    "first finished": Wanted(sort="finished", order="asc"),
    "best": Wanted(sort="metric:val/accuracy"),
    "worst": Wanted(sort="metric:val/accuracy", order="asc"),
    "least loss": Wanted(sort="metric:val/loss"),
    "none has it": Wanted(sort="metric:none"),
}


def add(database: Database, chance: random.Random, number: int) -> list[str]:
    """Jobs that have ended at equal moments with equal values, and jobs without an end or a value."""
    rows, metrics = [], []
    for _ in range(number):
        status = chance.choice([Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.QUEUED])
        result = {"val/accuracy": chance.choice(VALUES), "val/loss": chance.choice(VALUES), "counts": {}}
        result = {} if chance.random() < 0.2 else result
        row = {"id": new_id("job"), "kind": "train", "status": status, "spec": SPEC_DOCUMENT, "priority": 0}
        row |= {"needs_device": "auto", "max_attempts": 3, "created_at": 1, "queued_at": 1, "dataset": "digits"}
        row |= {"finished_at": chance.randrange(1, 5) if status.final else None}
        row |= {"result": result if status is Status.SUCCEEDED else None, "starred": chance.random() < 0.3}
        rows.append(row)
        metrics += [{"job_id": row["id"], "name": k, "value": v} for k, v in numbers_of(row["result"]).items()]
    labels = [{"job_id": row["id"], "key": "third", "value": str(n % 3)} for n, row in enumerate(rows)]
    with database.write(DEFAULT) as session:
        session.execute(insert(Job), rows)
        if metrics:
            session.execute(insert(JobMetric), metrics)
        session.execute(insert(Label), labels)
        session.execute(insert(JobWord), [{"job_id": row["id"], "word": "digits"} for row in rows])
    return [str(row["id"]) for row in rows]


def in_order(jobs: list[Job], wanted: Wanted) -> list[str]:
    def value(job: Job) -> float | None:
        if wanted.metric is not None:
            return (job.result or {}).get(wanted.metric)
        return job.finished_at if wanted.sort == "finished" else None

    having = [job for job in jobs if value(job) is not None]
    lacking = [job for job in jobs if value(job) is None]
    down = wanted.descending
    return [
        *(job.id for job in sorted(having, key=lambda job: (value(job), job.id), reverse=down)),
        *(job.id for job in sorted(lacking, key=lambda job: job.id, reverse=down)),
    ]


def walk(
    database: Database, wanted: Wanted, limit: int, between: Callable[[], object] = lambda: None, **more: Any
) -> list[str]:
    found, after = [], None
    while True:
        with database.read(DEFAULT) as session:
            page = finding.list_jobs(session, wanted, limit=limit, after=after, **more)
        assert len(page.rows) <= limit
        found += [row.id for row in page.rows]
        if page.next is None:
            return found
        after = page.next
        between()


@pytest.mark.parametrize("name", ORDERS)
def test_no_list_is_sorted_after_it_was_read(sqlite_url: str, name: str) -> None:
    """Its index has its order, also where a project is one of several. PostgreSQL sorts a few rows, index or not."""
    database = Database(sqlite_url)
    add(database, random.Random(0), 60)
    asked: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    walk(database, ORDERS[name], 20)
    event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        for statement, parameters in asked:
            if statement.startswith("SELECT") and "ORDER BY" in statement:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                assert not any("TEMP B-TREE" in str(row[-1]) for row in plan), (statement, plan)
    database.dispose()


def everything(database: Database) -> list[Job]:
    with database.read(DEFAULT) as session:
        return list(session.execute(select(Job)).scalars())


@pytest.mark.parametrize("name", ORDERS)
def test_pages_of_any_size_make_the_whole_list(database: Database, name: str) -> None:
    add(database, random.Random(0), 60)
    jobs, wanted = everything(database), ORDERS[name]
    expected = in_order(jobs, wanted)
    assert len(set(expected)) == 60
    for limit in (1, 7, 59, 60, 61):
        assert walk(database, wanted, limit) == expected, limit
    chosen = [job for job in jobs if job.status in ("succeeded", "failed") and job.starred]
    starred = Wanted(starred=True, sort=wanted.sort, order=wanted.order)
    assert walk(database, starred, 4, status=["failed", "succeeded"]) == in_order(chosen, wanted)
    failed = [job for job in jobs if job.status == "failed"]
    assert walk(database, wanted, 4, status=["failed"]) == in_order(failed, wanted)


@pytest.mark.parametrize("few", [0, 2000], ids=["each row is asked", "ids are looked up first"])
@pytest.mark.parametrize("name", ORDERS)
def test_both_ways_to_filter_find_the_same(
    database: Database, name: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    ids = add(database, random.Random(1), 40)
    wanted = ORDERS[name]
    jobs = [job for job in everything(database) if job.starred and ids.index(job.id) % 3 == 1]
    narrow = Wanted(
        labels=[("third", "1")], q="digi", starred=True, dataset="digits", sort=wanted.sort, order=wanted.order
    )
    assert walk(database, narrow, 3) == in_order(jobs, wanted) != []
    assert walk(database, Wanted(labels=[("third", "1"), ("third", "2")], sort=wanted.sort), 3) == []


@pytest.mark.parametrize("name", ORDERS)
def test_rows_that_come_or_go_meanwhile_move_no_other_row(database: Database, name: str) -> None:
    chance, wanted = random.Random(2), ORDERS[name]
    before = add(database, chance, 40)
    gone: list[str] = []

    def change() -> None:
        add(database, chance, 3)
        with database.write(DEFAULT) as session:
            for job in session.execute(select(Job).where(Job.finished_at.is_not(None), Job.id.in_(before))).scalars():
                if job.id not in gone and chance.random() < 0.02:
                    gone.append(job.id)
                    lifecycle.delete_job(session, job.id)

    expected = in_order(everything(database), wanted)
    found = walk(database, wanted, 7, change)
    assert len(found) == len(set(found)), "none comes twice"
    old = [id_ for id_ in found if id_ in before]
    assert [id_ for id_ in old if id_ not in gone] == [id_ for id_ in expected if id_ not in gone], "none is missing"


def test_a_cursor_is_of_one_list_and_one_order(database: Database) -> None:
    add(database, random.Random(3), 10)
    with database.read(DEFAULT) as session:
        for wanted in ORDERS.values():
            cursor = finding.list_jobs(session, wanted, limit=2).next
            for other in ORDERS.values():
                if other != wanted:
                    with pytest.raises(BadCursor):
                        finding.list_jobs(session, other, limit=2, after=cursor)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1" + "0" * 400, str(2**63), '"x"', "true", "[1]", "1:2", "[" * 50_000, "null"]
)
def test_a_cursor_that_somebody_wrote_is_refused_or_harmless(database: Database, value: str) -> None:
    add(database, random.Random(4), 5)
    wanted = Wanted(sort="finished")
    with database.read(DEFAULT) as session:
        cursor = finding.list_jobs(session, wanted, limit=1).next
        assert cursor is not None
        digest, id_, _ = base64.urlsafe_b64decode(cursor + "==").decode().split(":")
        forged = base64.urlsafe_b64encode(f"{digest}:{id_}:{value}".encode()).decode().rstrip("=")
        if value == "null":
            finding.list_jobs(session, wanted, limit=1, after=forged)
        else:
            with pytest.raises(BadCursor):
                finding.list_jobs(session, wanted, limit=1, after=forged)


def test_a_cursor_of_an_earlier_version_goes_on(database: Database) -> None:
    """Lists by time have the cursors that they always had: digest of the filters, and the last id."""
    ids = add(database, random.Random(5), 4)
    with database.read(DEFAULT) as session:
        cursor = finding.list_jobs(session, limit=2).next
    assert cursor is not None
    digest, last = base64.urlsafe_b64decode(cursor + "==").decode().split(":")
    assert last == ids[2]

    scope = {"list": "jobs", "status": [], "kind": None, "labels": []}
    assert digest == hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()[:12]


# What is indexed


def test_words_and_numbers_come_and_go_with_their_rows(database: Database, tmp_path: Any) -> None:
    worker = Worker(database, store_of(quick_settings(tmp_path, "", "")))
    with database.write(DEFAULT) as session:
        job = lifecycle.submit(session, train_spec(labels={"study": "Eta"})).job.id
    claim = worker.claim()
    model = worker.publish(claim)
    worker.finish(claim)
    with database.read(DEFAULT) as session:
        assert set(session.execute(select(JobWord.word)).scalars()) == {"lenet5_bn", "bn", "digits", "study", "eta"}
        numbers = {row.name: row.value for row in session.execute(select(JobMetric)).scalars()}
        assert numbers == {"val/accuracy": 0.97, "accuracy": 0.97}
        assert set(session.execute(select(ModelWord.word)).scalars()) == {"lenet5_bn", "bn", "digits"}
        assert [row.value for row in session.execute(select(ModelMetric)).scalars()] == [0.9, 0.9]
        assert session.execute(text("SELECT tail FROM jobs")).scalar_one() == job[-6:]
        assert session.execute(text("SELECT tail FROM models")).scalar_one() == model[-6:]
    with database.write(DEFAULT) as session:
        lifecycle.delete_job(session, job)
        session.execute(text("DELETE FROM models"))
    with database.read(DEFAULT) as session:
        for table in (JobWord, JobMetric, ModelWord, ModelMetric):
            assert session.execute(select(table)).all() == []


def test_an_index_is_written_anew_as_a_whole(database: Database) -> None:
    with database.write(DEFAULT) as session:
        job = lifecycle.submit(session, train_spec()).job
        job.name = "One two"
        for _ in range(2):
            indexing.index_job(session, job, {"k": "two three"})
    with database.read(DEFAULT) as session:
        found = set(session.execute(select(JobWord.word)).scalars())
    assert found == {"lenet5_bn", "bn", "digits", "one", "two", "three", "k"}


def test_words_are_bounded_and_the_same_on_both_sides() -> None:
    assert words_of(["Straße № 5", None, 7, "a__b_", "ﬁn"]) == ["strasse", "no", "5", "a__b_", "b_", "fin"]
    assert asked("STRASSE a__b ﬁ") == ["strasse", "a__b", "fi"]
    assert len(words_of([" ".join(map(str, range(1000)))])) == MOST_WORDS
    (long,) = words_of(["x" * 1000])
    assert asked("x" * 1000) == [long]
    assert words_of(["\ud800a\x00b"]) == ["a", "b"]


def test_numbers_are_those_that_a_list_can_be_sorted_by() -> None:
    document = {"a": 1, "b": 0.5, "c": True, "d": "1", "e": None, "f": {"g": 1}, "h": float("nan"), "i": float("inf")}
    document |= {"j": 10**400, "": 1, "x" * 101: 1, "k\x00": 1, "k\n": 1}
    assert numbers_of(document) == {"a": 1.0, "b": 0.5}
    assert numbers_of(None) == {}
    assert len(numbers_of({str(n): n for n in range(1000)})) == 200


def test_a_list_of_trainings_and_evaluations_is_sorted_by_the_name_that_either_gives_the_number() -> None:
    assert numbers_of({"accuracy": 0.9, "loss": 1.5}) == {
        "accuracy": 0.9, "val/accuracy": 0.9, "loss": 1.5, "val/loss": 1.5,
    }  # fmt: skip
    assert numbers_of({"val/top5": 0.5}) == {"val/top5": 0.5, "top5": 0.5}
    assert numbers_of({"accuracy": 0.9, "val/accuracy": 0.8}) == {"accuracy": 0.9, "val/accuracy": 0.8}
