"""Whose a transaction is: nothing opens without a scope, and no query of one reaches another project's rows."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, exists, func, select, text, union_all, update
from sqlalchemy.orm import aliased

from jobs.access import projects
from jobs.access.criteria import UNFILTERED, condition_of
from jobs.access.limits import Limits
from jobs.access.scope import DEFAULT, SERVICE, Project, across, project_of
from jobs.database import Database
from jobs.ids import new_id
from jobs.repository import lifecycle
from jobs.tables import Base, Event, Job, Sweep
from tests.support.specs import train_spec

NOBODYS = {"workers", *UNFILTERED}
"""Tables whose rows belong to no project, or are never read but beside a row that does."""


@pytest.fixture
def other(database: Database) -> Project:
    with database.write(SERVICE) as session:
        return projects.scope_of(projects.create(session, "other", Limits()))


def submitted(database: Database, project: Project) -> str:
    with database.write(project) as session:
        return lifecycle.submit(session, train_spec()).job.id


def test_a_project_is_made_of_no_text() -> None:
    with pytest.raises(TypeError):
        Project("default")
    with pytest.raises(TypeError):
        project_of("default")
    assert project_of(Job(id="job_x", project_id="default")) == DEFAULT


def test_no_transaction_opens_without_a_scope(database: Database) -> None:
    for scope in (None, "default", "*"):
        with pytest.raises(TypeError), database.read(scope):  # type: ignore[call-overload]
            pass
    with pytest.raises(TypeError):
        database.write()  # type: ignore[call-overload]


def test_every_table_belongs_to_projects_or_is_named_here() -> None:
    for mapper in Base.registry.mappers:
        name = mapper.local_table.name
        assert (condition_of(mapper) is None) == (name in NOBODYS), name


def test_every_kind_of_query_sees_its_own_rows_alone(database: Database, other: Project) -> None:
    mine, theirs = submitted(database, DEFAULT), submitted(database, other)
    for project, own, foreign in ((DEFAULT, mine, theirs), (other, theirs, mine)):
        with database.write(project) as session:
            twin = aliased(Job)
            assert session.get(Job, foreign) is None
            assert session.get(Job, own) is not None
            for query in (
                select(Job.id),
                select(twin.id),
                union_all(select(Job.id), select(twin.id)).subquery().select().distinct(),
                select(Job.id).join(Event, Event.job_id == Job.id).distinct(),
                select(Event.job_id).distinct(),
                select(Event.job_id).where(Event.job_id.in_(select(Job.id))).distinct(),
                select(select(func.max(Job.id)).scalar_subquery()),
                select(Job.id).with_for_update(),
                update(Job).values(log_bytes=1).returning(Job.id),
            ):
                assert session.execute(query).scalars().all() == [own], query
            assert session.execute(select(exists().where(Job.id == foreign))).scalar_one() is False
            assert session.execute(select(func.count()).select_from(Event)).scalar_one() == 1
            assert session.execute(delete(Event).where(Event.job_id == foreign).returning(Event.seq)).all() == []
            with across(session):
                assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 2
            assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 1


def test_a_compiled_statement_serves_one_project_and_then_another(database: Database, other: Project) -> None:
    """The cache of compiled statements keeps no project's name."""
    ids = {project: submitted(database, project) for project in (DEFAULT, other)}
    for _ in range(3):
        for project in (DEFAULT, other):
            with database.read(project) as session:
                assert session.execute(select(Job.id)).scalars().all() == [ids[project]]


def test_an_error_inside_across_leaves_the_scope_as_it_was(database: Database, other: Project) -> None:
    submitted(database, other)
    with database.write(DEFAULT) as session:
        with pytest.raises(ValueError, match="x"), across(session):
            raise ValueError("x")
        assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 0


def test_the_service_names_the_project_of_what_it_writes(database: Database) -> None:
    with pytest.raises(Exception, match="without naming the project"), database.write(SERVICE) as session:
        session.add(Sweep(id=new_id("sweep"), status="running", spec={}, body_sha256="", created_at=0))


def test_postgresqls_policies_are_those_of_the_criteria(fresh_postgres_url: str) -> None:
    database = Database(fresh_postgres_url)
    with database.engine.connect() as connection:
        secured = connection.execute(
            text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        ).scalars()
        policies = connection.execute(text("SELECT tablename FROM pg_policies WHERE policyname = 'of_project'"))
        assert set(secured) == set(policies.scalars()) == set(Base.metadata.tables) - {"workers", "outbox"}
    database.dispose()


def test_the_role_of_the_application_owns_nothing_and_rewrites_no_audit(fresh_postgres_url: str) -> None:
    database = Database(fresh_postgres_url)
    with database.engine.connect() as connection:
        owned = text("SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = user)")
        assert connection.execute(owned).scalar_one() == 0
        for right, may in (("INSERT", True), ("SELECT", True), ("UPDATE", False), ("DELETE", False)):
            asked = text(f"SELECT has_table_privilege('audit', '{right}')")
            assert connection.execute(asked).scalar_one() is may
    database.dispose()
