"""Lists of jobs in the order of any column, page by page, against what sorting in Python gives."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest
from sqlalchemy import insert, text

from api.jobs.columns import Column
from api.web.formats import is_number
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import BadCursor
from jobs.finding_tables import JobMetric
from jobs.ids import new_id
from jobs.repository import finding, ordering
from jobs.repository.core import now
from jobs.repository.finding import Wanted
from jobs.states import Status
from jobs.tables import Attempt, Job, Label
from jobs.words import numbers_of
from tests.jobs.test_finding import SPEC_DOCUMENT, walk

COLUMNS = (
    "spec.optimizer.eta", "spec.model.arch", "spec.mixed", "spec.gone", "spec.dotted.name", 'spec.a"b', "label.study",
    "result.val/accuracy", "result.counts.energy_joules", "result.verdict", "status", "kind", "name", "progress",
)  # fmt: skip
MIXED = (0, -1.5, 3, 2.5, 1e300, True, False, "b", "a", "Ä", "B", "", "2", [1, 2], ["x"], {"k": 1}, None, 12345678901)


def fill(database: Database, number: int = 50) -> dict[str, tuple[Job, dict[str, str]]]:
    """Jobs with equal, missing and mixed values. Returns each with its labels."""
    chance = random.Random(7)
    rows, labels, metrics = [], [], []
    for _ in range(number):
        status = chance.choice((Status.SUCCEEDED, Status.FAILED, Status.QUEUED))
        spec = SPEC_DOCUMENT | {
            "optimizer": {"eta": chance.choice((0.1, 0.2, 0.05, 1))},
            "model": {"arch": chance.choice(("vgg_small", "lenet5_bn", "Own"))},
        }
        spec |= {"mixed": chance.choice(MIXED)} if chance.random() < 0.9 else {}
        spec |= chance.choice(({"dotted.name": 1}, {"dotted": {"name": 2}}, {"dotted": "text"}, {'a"b': 1}, {}))
        result: dict[str, Any] = {"val/accuracy": chance.choice((0.9, 0.95)), "verdict": chance.choice(("yes", "no"))}
        result |= {"counts": {"energy_joules": chance.choice((1e-6, 2e-6))}} if chance.random() < 0.8 else {}
        row = {"id": new_id("job"), "kind": chance.choice(("train", "evaluate")), "status": status, "spec": spec}
        row |= {"priority": 0, "needs_device": "auto", "max_attempts": 3, "created_at": 1, "queued_at": 1}
        row |= {"finished_at": 5 if status.final else None, "name": chance.choice(("b", "a", None, "Z"))}
        row |= {"progress": {"fraction": chance.choice((0.25, 0.5))} if chance.random() < 0.7 else None}
        row |= {"result": result if status is Status.SUCCEEDED else None}
        rows.append(row)
        metrics += [{"job_id": row["id"], "name": k, "value": v} for k, v in numbers_of(row["result"]).items()]
        if chance.random() < 0.7:
            labels.append({"job_id": row["id"], "key": "study", "value": chance.choice(("eta", "Eta", "10", "9"))})
        labels.append({"job_id": row["id"], "key": "other", "value": "x"})
    with database.write(DEFAULT) as session:
        session.execute(insert(Job), rows)
        session.execute(insert(JobMetric), metrics)
        session.execute(insert(Label), labels)
    mine: dict[str, dict[str, str]] = {row["id"]: {} for row in rows}
    for label in labels:
        mine[label["job_id"]][label["key"]] = label["value"]
    return {row["id"]: (Job(**row), mine[row["id"]]) for row in rows}


def value_of(column: str, job: Job, labels: dict[str, str]) -> Any:
    if column == "progress":
        return (job.progress or {}).get("fraction")
    return Column(column).value(job, labels) if "." in column else getattr(job, column)


def in_order(jobs: dict[str, tuple[Job, dict[str, str]]], column: str, *, down: bool, sqlite: bool) -> list[str]:
    """Numbers, texts (true, false and JSON among them), and what has no value."""
    parts: dict[str, list[tuple[Any, str]]] = {"numbers": [], "texts": [], "none": []}
    for id_, (job, labels) in jobs.items():
        value = value_of(column, job, labels)
        if is_number(value):
            parts["numbers"].append((float(value), id_))
        elif value is None or (sqlite and '"' in column):
            parts["none"].append(("", id_))
        else:
            shown = value if isinstance(value, str) else as_json(value, compact=sqlite)
            parts["texts"].append((shown.encode(), id_))
    if sqlite and '"' in column:
        parts = {"none": [("", id_) for id_ in jobs]}
    return [id_ for part in parts.values() for _, id_ in sorted(part, reverse=down)]


def as_json(value: Any, *, compact: bool) -> str:
    return json.dumps(value, separators=(",", ":") if compact else None)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_any_size_make_the_whole_list(database: Database, order: Any) -> None:
    jobs = fill(database)
    for column in COLUMNS:
        wanted = Wanted(sort=column, order=order)
        expected = in_order(jobs, column, down=order == "desc", sqlite=database.sqlite)
        assert sorted(expected) == sorted(jobs)
        for limit in (1, 9, 50, 51) if column in ("spec.mixed", "label.study") else (7,):
            assert walk(database, wanted, limit) == expected, (column, limit)
        failed = [id_ for id_ in expected if jobs[id_][0].status == "failed"]
        assert walk(database, wanted, 4, status=["failed"]) == failed, column
        studied = [id_ for id_ in expected if jobs[id_][1].get("study") == "eta"]
        labelled = Wanted(sort=column, order=order, labels=[("study", "eta")])
        assert walk(database, labelled, 4) == studied, column


def test_by_default_the_largest_the_first_name_or_the_best_comes_first() -> None:
    down = {one: Wanted(sort=one).descending for one in (*COLUMNS, "duration", "result.val/loss")}
    assert {one for one, is_down in down.items() if not is_down} == {
        "label.study", "result.counts.energy_joules", "result.val/loss", "status", "kind", "name",
    }  # fmt: skip


def test_durations_count_to_one_moment_on_all_pages(database: Database) -> None:
    jobs = list(fill(database, 12))
    with database.write(DEFAULT) as session:
        at = now(session)
        ran = {}
        for n, id_ in enumerate(jobs[:9]):
            parts = [(at - 100_000 * n - 50_000, at - 90_000 * n - 50_000)] if n % 3 else []
            parts += [(at - 10_000 * n // 2 - 100 * n, None)] if n % 2 else []
            for k, (start, end) in enumerate(parts):
                row = {"job_id": id_, "attempt": k + 1, "fence": k + 1, "worker_id": "w", "device": "cpu"}
                row |= {"started_at": start, "ended_at": end, "cause": None if end is None else "paused"}
                session.execute(insert(Attempt), row)
            if parts:
                ran[id_] = sum((at if end is None else end) - start for start, end in parts)

    def time_goes_on() -> None:
        time.sleep(0.3)

    for order, down in (("desc", True), ("asc", False)):
        without = [id_ for id_ in jobs if id_ not in ran]
        expected = [*sorted(ran, key=lambda id_: (ran[id_], id_), reverse=down), *sorted(without, reverse=down)]
        assert walk(database, Wanted(sort="duration", order=order), 2, time_goes_on) == expected  # type: ignore[arg-type]
    with database.read(DEFAULT) as session:
        cursor = finding.list_jobs(session, Wanted(sort="duration"), limit=1).next
    assert cursor is not None
    digest, id_, _ = base64.urlsafe_b64decode(cursor + "==").decode().split(":", 2)
    for forged in ("[1, 9007199254740992]", "[1, -1]", "[1, true]", '["x", 1]', "[1, 2, 3]", "5", '"x"', "[1, 1.5]"):
        text_ = base64.urlsafe_b64encode(f"{digest}:{id_}:{forged}".encode()).decode().rstrip("=")
        with database.read(DEFAULT) as session, pytest.raises(BadCursor):
            finding.list_jobs(session, Wanted(sort="duration"), limit=1, after=text_)


@pytest.mark.parametrize("forged", ["[1, 1]", "true", '"\\u0000"', '"\\ud800"', "[" * 50_000, '"x', "NaN"])
def test_a_cursor_that_somebody_wrote_is_refused(database: Database, forged: str) -> None:
    fill(database, 5)
    wanted = Wanted(sort="spec.optimizer.eta")
    with database.read(DEFAULT) as session:
        cursor = finding.list_jobs(session, wanted, limit=1).next
        assert cursor is not None
        digest, id_, _ = base64.urlsafe_b64decode(cursor + "==").decode().split(":", 2)
        text_ = base64.urlsafe_b64encode(f"{digest}:{id_}:{forged}".encode()).decode().rstrip("=")
        with pytest.raises(BadCursor):
            finding.list_jobs(session, wanted, limit=1, after=text_)


@pytest.mark.parametrize("stored", ["[1]", "{}", '"text"', '{"optimizer": [0.1]}', '{"optimizer": {"eta": 1e999}}'])
def test_a_spec_of_another_shape_has_no_value(database: Database, stored: str) -> None:
    jobs = fill(database, 6)
    odd = sorted(jobs)[3]
    with database.write(DEFAULT) as session:
        session.execute(text("UPDATE jobs SET spec = :spec WHERE id = :id"), {"spec": stored, "id": odd})
        query = ordering.keys_of("spec.optimizer.eta", sqlite=database.sqlite, descending=True, as_of=0)
        assert session.execute(query.lacking).scalars().all() == [odd]
        assert len(session.execute(query.valued[0].query).all()) == 5
