"""Unpacks a fixture and brings its database up to this version."""

from __future__ import annotations

import json
import lzma
import os
import sqlite3
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.upgrade.reading import Document

FIXTURES = Path(__file__).with_name("fixtures")
NOWHERE = "cpu|c-avx2|another compiler, sha256 000000000000|0.0.0|NONE"
"""An environment that no machine offers, as c5f82c9 wrote it into `jobs.exact_key`."""


@dataclass
class OldService:
    """The data folder and the database of a service, as a version of long ago left them."""

    data: Path
    database_url: str
    record: Document
    """`fixture.json`: roles of the objects, what the old version told of them, what it made of them afterwards."""

    @property
    def roles(self) -> dict[str, str]:
        """Ids by what the object is there for."""
        found: dict[str, str] = self.record["roles"]
        return found

    def freeze_elsewhere(self) -> None:
        """Has every job that has begun say that it did so in an environment that is not this machine's.

        Call it before `migrate`: the statement is one for the old version's schema.
        """
        statement = f"UPDATE jobs SET exact_key = '{NOWHERE}' WHERE exact_key IS NOT NULL"
        if self.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(self.data / "adder.db")) as database, database:
                database.execute(statement)
        else:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                connection.execute(statement.encode())

    def migrate(self) -> None:
        """Brings the database to this version's revision, as an operator does."""
        done = subprocess.run(
            [sys.executable, "-m", "jobs.migrate"],
            env=os.environ | {"ADDER_DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def unpack(archive: Path, database: str, folder: Path) -> Path:
    """Extracts the part of an archive for `database` (sqlite or postgresql); the folder where it is then."""
    with lzma.open(archive) as content, tarfile.open(fileobj=content) as tar:
        members = [member for member in tar if member.name.split("/")[0] == database]
        tar.extractall(folder, members=members, filter="data")
    return folder / database


@contextmanager
def old_service(archive: Path, database: str, folder: Path, postgres_url: str | None) -> Iterator[OldService]:
    """The service of an archive, not migrated yet. `postgres_url` names the server that restores a dump."""
    data = unpack(archive, database, folder)
    record = json.loads((data / "fixture.json").read_text())
    if postgres_url is None:
        yield OldService(data, f"sqlite:///{data / 'adder.db'}", record)
        return
    name = f"upgrade_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((data / "adder.sql").read_bytes())
    try:
        yield OldService(data, url, record)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
