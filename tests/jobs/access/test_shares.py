"""Projects share the workers; within a project the values of a label do. Labels change nothing for other projects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.access import projects
from jobs.access.limits import Limits
from jobs.access.scope import DEFAULT, SERVICE, Project
from jobs.database import Database
from jobs.repository import lifecycle, outlook, queue
from jobs.repository.queue import Offer
from jobs.scheduling import Rules
from jobs.tables import Job
from tests.support.specs import train_spec

RULES = Rules(by_project=True)
LEASE_MS = 60_000


def submit(database: Database, project: Project, user: str, **changes: Any) -> str:
    with database.write(project) as session:
        return lifecycle.submit(session, train_spec(labels={"user": user}, **changes), rules=RULES).job.id


def claimed(database: Database) -> str:
    with database.write(SERVICE) as session:
        found = queue.claim(session, Offer("worker_a"), LEASE_MS)
    assert found is not None
    return found.job_id


@pytest.fixture
def other(database: Database) -> Project:
    with database.write(SERVICE) as session:
        return projects.scope_of(projects.create(session, "audio", Limits()))


def test_labels_alternate_within_the_share_of_their_project(database: Database, other: Project) -> None:
    ann = [submit(database, DEFAULT, "ann") for _ in range(4)]
    theirs = [submit(database, other, "eve") for _ in range(4)]
    bob = [submit(database, DEFAULT, "bob") for _ in range(2)]
    expected = [ann[0], theirs[0], bob[0], theirs[1], ann[1], theirs[2], bob[1], theirs[3], ann[2], ann[3]]
    mine = [id_ for id_ in expected if id_ not in theirs]
    with database.read(DEFAULT) as session:
        forecast = outlook.forecast(session, 30_000)
        jobs = [forecast.standing(outlook.waiting_of(session.get_one(Job, id_))) for id_ in mine]
    assert [forecast.position(job) for job in jobs] == [*range(1, 7)], "the positions say so before"
    assert [claimed(database) for _ in expected] == expected


def test_a_label_that_comes_later_does_not_wait_for_what_another_had(database: Database, other: Project) -> None:
    for _ in range(5):
        submit(database, DEFAULT, "ann")
        claimed(database)
    bob = [submit(database, DEFAULT, "bob") for _ in range(3)]
    ann = [submit(database, DEFAULT, "ann") for _ in range(3)]
    found = [claimed(database) for _ in range(6)]
    assert found.index(bob[0]) < found.index(ann[0]) < found.index(bob[2]), "neither has to catch up"


def test_only_jobs_of_one_demand_change_turns(database: Database, other: Project) -> None:
    ann = [submit(database, DEFAULT, "ann") for _ in range(2)]
    large = submit(database, DEFAULT, "bob", resources={"memory_gb": 4})
    with database.write(SERVICE) as session:
        found = queue.claim(session, Offer("worker_a", memory_mb=1024), LEASE_MS)
    assert found is not None
    assert found.job_id == ann[0]
    assert {claimed(database), claimed(database)} == {ann[1], large}


def test_what_one_project_labels_changes_no_turn_of_another(sqlite_url: str) -> None:
    """However one project labels its jobs, the other one's are claimed at the same places."""
    database = Database(sqlite_url)
    with database.write(SERVICE) as session:
        other = projects.scope_of(projects.create(session, "audio", Limits()))

    def places(labels: list[str]) -> list[int]:
        with database.write(SERVICE) as session:
            session.execute(Job.__table__.delete())
        for label in labels:
            submit(database, DEFAULT, label)
            submit(database, other, "eve")
        order = [claimed(database) for _ in range(2 * len(labels))]
        with database.read(other) as session:
            theirs = {id_ for id_ in order if session.get(Job, id_) is not None}
        return [at for at, id_ in enumerate(order) if id_ in theirs]

    @settings(max_examples=6)
    @given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=6))
    def check(labels: list[str]) -> None:
        assert places(labels) == places(["a"] * len(labels))

    check()
    database.dispose()
