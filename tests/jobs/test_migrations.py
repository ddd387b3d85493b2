"""Migrations lead to exactly the models' schema, on both databases; any other schema is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from jobs.database import Database
from jobs.errors import DatabaseNotMigrated, DatabaseTooNew
from jobs.migrate import migrate, require_current
from jobs.tables import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: str = request.getfixturevalue("postgres_url")
    name = f"empty_{tmp_path.name}".lower().replace("-", "_").replace("[", "_").replace("]", "_")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
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
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        require_current(database)
    command = [sys.executable, "-m", "jobs.migrate"]
    done = subprocess.run(
        command, env={"ADDER_DATABASE_URL": database_url}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "newer than the code" in done.stderr
    assert "Traceback" not in done.stderr
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    database.dispose()


@pytest.mark.parametrize("status", ["done", "RUNNING", ""])
def test_the_table_refuses_an_unknown_state(database: Database, status: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as session:
        session.execute(
            sa.text(
                "INSERT INTO jobs (id, kind, status, spec, priority, needs_device, max_attempts, created_at, queued_at,"
                " attempt, faults, fence, last_seq, log_bytes)"
                " VALUES ('job_x', 'train', :status, '{}', 0, 'auto', 1, 0, 0, 0, 0, 0, 0, 0)"
            ),
            {"status": status},
        )
