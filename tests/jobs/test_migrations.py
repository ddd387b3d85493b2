"""Migrations lead to exactly the models' schema, on both databases; any other schema is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.errors import DatabaseNotMigrated, DatabaseTooNew
from jobs.migrate import alembic_config, migrate, require_current
from jobs.repository import lifecycle, queue, recovery
from jobs.repository.queue import Offer
from jobs.settings import Settings
from jobs.spec import SPEC
from jobs.states import OWNED, Status
from jobs.store import store_of
from jobs.tables import Base, Job
from tests.api.attempt import Worker
from tests.jobs import revision_rows
from tests.support.postgres_keeper import APPLICATION


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: str = request.getfixturevalue("postgres_url")
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


def differences(database: Database) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def constraints(database: Database) -> dict[str, set[str]]:
    """Names of check constraints by table: Alembic's comparison does not look at them."""
    inspector = sa.inspect(database.engine)
    return {table: {str(c["name"]) for c in inspector.get_check_constraints(table)} for table in Base.metadata.tables}


def test_migrations_lead_to_the_models(empty_url: str) -> None:
    database = Database(empty_url)
    migrate(database)
    assert differences(database) == []
    expected = {
        name: {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
        for name, table in Base.metadata.tables.items()
    }
    assert constraints(database) == expected
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_jobs_kind_id"))
    assert differences(database) != [], "the comparison sees a missing index"
    database.dispose()


def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    database = Database(empty_url)
    migrate(database)
    migrate(database)
    require_current(database)
    database.dispose()


def test_a_database_that_was_never_migrated_is_refused(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(DatabaseNotMigrated, match=r"python -m jobs\.migrate"):
        require_current(database)
    database.dispose()


def test_a_database_newer_than_the_code_is_refused_and_left_alone(database_url: str) -> None:
    database_url = database_url.replace(f"//{APPLICATION}@", "//postgres@")  # who may write the revision
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        require_current(database)
    program = [sys.executable, "-m", "jobs.migrate"]
    done = subprocess.run(
        program, env={"ADDER_DATABASE_URL": database_url}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "newer than the code" in done.stderr
    assert "Traceback" not in done.stderr
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    database.dispose()


@pytest.mark.parametrize("status", ["done", "RUNNING", ""])
def test_the_table_refuses_an_unknown_state(database: Database, status: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write(DEFAULT) as session:
        session.execute(
            sa.text(
                "INSERT INTO jobs (id, kind, status, spec, priority, needs_device, max_attempts, created_at, queued_at,"
                " attempt, faults, fence, last_seq, log_bytes)"
                " VALUES ('job_x', 'train', :status, '{}', 0, 'auto', 1, 0, 0, 0, 0, 0, 0, 0)"
            ),
            {"status": status},
        )


SCRIPT = ScriptDirectory.from_config(alembic_config())
EARLIER = [revision.revision for revision in SCRIPT.walk_revisions() if revision.revision != SCRIPT.get_current_head()]
NOT_KEPT = {("0001", "workers")}
"""Rows that a migration drops on purpose: workers write theirs again with the next heartbeat."""
GROWN = {"job_metrics", "model_metrics"}
"""Tables to whose rows a migration adds others: numbers by both of their names (0007)."""
RENAMED = {("jobs", "exact_key"): "environment_key"}
"""Columns that a later revision calls otherwise."""


def database_at(url: str, revision: str) -> Database:
    """A database at an earlier revision with the rows that its version wrote."""
    database = Database(url)
    config = alembic_config()
    with database.engine.execution_options(adder_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    tables = reflected(database)
    with database.write(DEFAULT) as session:
        for name in (table.name for table in tables.sorted_tables):
            if rows := rows_of(revision).get(name):
                session.execute(sa.delete(tables.tables[name]))  # what the migration itself has made: a project
                session.execute(sa.insert(tables.tables[name]), rows)
        if not database.sqlite:
            session.execute(sa.text("SELECT setval(pg_get_serial_sequence('outbox', 'id'), max(id)) FROM outbox"))
    return database


def reflected(database: Database) -> sa.MetaData:
    tables = sa.MetaData()
    tables.reflect(database.engine)
    return tables


def rows_of(revision: str) -> dict[str, list[dict[str, Any]]]:
    path = revision_rows.FOLDER / f"{revision}.json"
    assert path.exists(), f"no rows of revision {revision}: run python -m tests.jobs.revision_rows with that version"
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("revision", EARLIER)
def test_rows_of_every_earlier_revision_survive(revision: str, empty_url: str) -> None:
    database = database_at(empty_url, revision)
    migrate(database)
    require_current(database)
    assert differences(database) == []
    tables = reflected(database)
    with database.read(DEFAULT) as session:
        for name, rows in rows_of(revision).items():
            table = tables.tables[name]
            # Before there were projects, the rows of some tables were told apart by less.
            keys = [column.name for column in table.primary_key if column.name in rows[0]]
            found = [dict(row._mapping) for row in session.execute(sa.select(table))]
            now = {tuple(row[key] for key in keys): row for row in found}
            if (revision, name) in NOT_KEPT:
                assert now == {}
                continue
            assert len(now) >= len(rows) > 0, name
            assert len(now) == len(rows) or name in GROWN, name
            if name == "job_metrics" and revision < "0007":
                assert {metric for _, metric in now} >= {"accuracy", "val/accuracy"}
            for row in rows:
                after = now[tuple(row[key] for key in keys)]
                assert {column: after[RENAMED.get((name, column), column)] for column in row} == row
    database.dispose()


def test_old_documents_that_no_database_can_read_do_not_stop_a_migration(tmp_path: Path) -> None:
    """On SQLite an older version stored any JSON; the words and numbers of such a row are those that can be told."""
    database = database_at(f"sqlite:///{tmp_path / 'old.db'}", "0005")
    bad = [
        '{"a": ' * 5000 + "1" + "}" * 5000,
        '{"model": {"arch": NaN}, "dataset": {"name": "\\ud800"}}',
        "x",
        "[]",
        '"x"',
    ]
    bad += ['{"dataset": "digits", "model": []}', '{"dataset": {"name": "' + "x" * 200 + '"}}']
    results = ['{"val/accuracy": NaN}', '{"val/accuracy": 1' + "0" * 400 + "}", '{"a": {"b": 1}}', "[1]", "1"]
    with database.write(DEFAULT) as session:
        ids = session.execute(sa.text("SELECT id FROM jobs ORDER BY id")).scalars().all()
        for id_, spec in zip(ids, bad, strict=False):
            session.execute(sa.text("UPDATE jobs SET spec = :spec WHERE id = :id"), {"spec": spec, "id": id_})
        for id_, result in zip(reversed(ids), results, strict=False):
            session.execute(sa.text("UPDATE jobs SET result = :result WHERE id = :id"), {"result": result, "id": id_})
    migrate(database)
    with database.read(DEFAULT) as session:
        assert session.execute(sa.text("SELECT count(*) FROM jobs WHERE tail = substr(id, -6)")).scalar_one() == len(
            ids
        )
        assert session.execute(sa.text("SELECT max(length(dataset)) FROM jobs")).scalar_one() == len("digits")
    database.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_jobs_of_every_earlier_revision_go_on(revision: str, empty_url: str, tmp_path: Path) -> None:
    database = database_at(empty_url, revision)
    migrate(database)
    worker = Worker(database, store_of(Settings(data_dir=tmp_path)))
    worker.heartbeat()
    jobs = rows_of(revision)["jobs"]
    queued = sorted(
        (job for job in jobs if job["status"] == "queued"),
        key=lambda job: (-job["priority"], job.get("turn", job["queued_at"]), job["id"]),
    )
    assert [job["id"] for job in queued] != sorted(job["id"] for job in queued)
    assert len(queued) == len(revision_rows.PRIORITIES) + 1
    claims = [worker.claim() for _ in queued]
    assert [claim.job_id for claim in claims] == [job["id"] for job in queued], "by priority, then turn"
    for claim in claims:
        SPEC.validate_python(claim.spec)
        worker.metrics(claim, 1, 13)
        worker.checkpoint(claim, 13)
        worker.finish(claim)
    with database.write(DEFAULT) as session:
        session.execute(sa.update(Job).where(Job.status.in_(OWNED)).values(lease_expires_at=1))
        lost = {job["id"]: job["status"] for job in jobs if job["status"] in OWNED}
        assert set(recovery.reclaim_expired(session)) == set(lost)
        ends = {Status(status): session.get_one(Job, id).status for id, status in lost.items()}
        assert ends == {Status.RUNNING: "queued", Status.PAUSING: "paused", Status.CANCELLING: "cancelled"}
        for job in jobs:
            if job["status"] == "paused":
                lifecycle.resume(session, job["id"])
            elif job["status"] == "failed":
                lifecycle.retry(session, job["id"], SPEC.validate_python(job["spec"]), from_checkpoint=True)
            elif job["status"] == "succeeded":
                lifecycle.delete_job(session, job["id"])
    resumed = [worker.claim() for _ in range(3)]
    assert [claim.attempt for claim in resumed].count(2) == 2, "the reclaimed and the resumed job; the retry is new"
    with database.write(SERVICE) as session:
        assert queue.claim(session, Offer(worker.id), 1000) is None
    database.dispose()
