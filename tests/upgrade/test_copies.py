"""An older database is copied before it is upgraded: by `adder up` and by `python -m jobs.migrate`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from jobs.upgrade_copies import KEPT, copies_of, save_before_upgrade
from tests.upgrade.unpacking import FIXTURES, OldService, old_service, unpack

ARCHIVE = next(iter(sorted(FIXTURES.glob("*.tar.xz"))))


def content(database: Path) -> list[str]:
    """All statements that make the database, rows included."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def migrate(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "jobs.migrate", *options]
    return subprocess.run(
        program, env=os.environ | {"ADDER_DATABASE_URL": url}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of an older version."""
    return unpack(ARCHIVE, "sqlite", tmp_path)


@pytest.fixture
def old_postgres(tmp_path: Path, postgres_url: str) -> Iterator[OldService]:
    with old_service(ARCHIVE, "postgresql", tmp_path, postgres_url) as found:
        yield found


def test_an_older_sqlite_database_is_copied_before_the_upgrade_and_the_copy_can_take_its_place(folder: Path) -> None:
    database = folder / "adder.db"
    before, old = content(database), revision(database)
    done = migrate(f"sqlite:///{database}")
    assert done.returncode == 0, done.stderr
    (copy,) = copies_of(database)
    assert revision(database) != old
    assert content(copy) == before
    assert f"was at revision {old} and is now at {revision(database)}" in done.stdout
    assert str(copy) in done.stdout
    assert copy.name.startswith(f"adder.db.revision-{old}.20")

    again = migrate(f"sqlite:///{database}")
    assert (again.returncode, again.stdout) == (0, "")
    assert copies_of(database) == [copy]

    for end in ("", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    shutil.copy2(copy, database)
    assert content(database) == before
    assert migrate(f"sqlite:///{database}").returncode == 0
    assert len(copies_of(database)) == 2


def test_the_newest_copies_stay(tmp_path: Path) -> None:
    database = tmp_path / "adder.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version AS SELECT '0005' AS version_num")
    # The revisions' order is not that of the times: what counts is the time.
    old = [database.with_name(f"adder.db.revision-{9 - day}.2025010{day}T000000.000000Z") for day in (4, 3, 2, 1)]
    left = database.with_name("adder.db.revision-0001.20250101T000000.000000Z.partial")
    for path in (*old, left):
        path.write_bytes(b"of an earlier upgrade")
    newest = save_before_upgrade(database, "0005")
    assert copies_of(database) == [old[1], old[0], newest]
    assert KEPT == 3
    assert not left.exists()


def test_without_a_copy_nothing_is_changed(folder: Path) -> None:
    database = folder / "adder.db"
    with closing(sqlite3.connect(database)) as connection:
        size = connection.execute("PRAGMA page_count").fetchone()[0] * 4096
    before, old = content(database), revision(database)
    # The largest file that the process may write is too small for the copy: as on a disk that is full.
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))\n"
    code = limited + "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "import sys; sys.argv = ['migrate']; import jobs.migrate as m; sys.exit(m.main())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ADDER_DATABASE_URL": f"sqlite:///{database}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "Nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert (content(database), revision(database), copies_of(database)) == (before, old, [])
    assert not list(folder.glob("*.partial*"))


def test_a_new_database_and_one_that_is_newer_are_not_copied(tmp_path: Path) -> None:
    database = tmp_path / "adder.db"
    done = migrate(f"sqlite:///{database}", "--only-with-backup")
    assert (done.returncode, done.stdout) == (0, "")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = migrate(f"sqlite:///{database}", "--only-with-backup")
    assert done.returncode == 2
    assert "newer than the code" in done.stderr
    assert copies_of(database) == []


@pytest.mark.long("an old database on PostgreSQL, and five programs")
def test_on_postgresql_the_operator_saves_the_database_first(old_postgres: OldService) -> None:
    url = old_postgres.database_url

    def found() -> str:
        with psycopg.connect(url) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone())

    before = found()
    refused = migrate(url, "--only-with-backup")
    assert refused.returncode == 2
    assert "pg_dump" in refused.stderr
    assert "python -m jobs.migrate" in refused.stderr
    assert found() == before
    done = migrate(url)
    assert done.returncode == 0, done.stderr
    assert "no copy was made" in done.stdout
    assert found() != before
    assert migrate(url, "--only-with-backup").returncode == 0


def up(data: Path, *, stop: bool) -> subprocess.CompletedProcess[str]:
    """`adder up` on the folder, stopped by SIGTERM once it is ready."""
    command = [str(Path(sys.executable).with_name("adder")), "up", "--port", "0", "--data", str(data)]
    with subprocess.Popen(
        [*command, "--ready-timeout", "240"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        if stop:
            process.terminate()
        errors = process.stderr.read()
        return subprocess.CompletedProcess(command, process.wait(), said, errors)


@pytest.mark.long("starts the whole service")
def test_adder_up_copies_an_older_folder_and_says_so(folder: Path) -> None:
    old = revision(folder / "adder.db")
    done = up(folder, stop=True)
    assert done.stdout.startswith("Adderworks is ready"), done.stderr
    assert done.returncode == 0
    (copy,) = copies_of(folder / "adder.db")
    assert f"was at revision {old}" in done.stderr
    assert str(copy) in done.stderr
    assert revision(copy) == old


@pytest.mark.long("starts the whole service")
def test_adder_up_refuses_a_newer_folder(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "adder.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = up(folder, stop=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'9999', which this version does not know: it is newer than the code" in done.stderr
    assert copies_of(folder / "adder.db") == []
