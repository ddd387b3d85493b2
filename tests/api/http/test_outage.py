"""A database that is busy or about to fail over: a clear 503 with Retry-After, and all is well again by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from jobs import database
from tests.api.conftest import running
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_body


def test_a_busy_sqlite_is_503_and_never_locked(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 300)
    settings = quick_settings(tmp_path, sqlite_url, valkey.url)
    with running(settings) as site, site.client() as api:
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as writer:
            writer.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                answer = api.post("/v1/jobs", json=train_body())
                assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                assert int(answer.headers["Retry-After"]) > 0
                assert "locked" not in answer.text
            assert api.get("/v1/jobs").status_code == 200, "who reads waits for nobody"
            writer.rollback()
        assert api.post("/v1/jobs", json=train_body()).status_code == 201


def test_a_standby_that_cannot_write_is_503(
    tmp_path: Path, fresh_postgres_url: str, postgres_url: str, valkey: Valkey
) -> None:
    name = fresh_postgres_url.partition("?")[0].rpartition("/")[2]
    settings = quick_settings(tmp_path, fresh_postgres_url, valkey.url)
    with (
        running(settings) as site,
        site.client() as api,
        psycopg.connect(postgres_url, autocommit=True) as admin,
    ):
        for state, expected in (("on", 503), ("off", 201)):
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            answer = api.post("/v1/jobs", json=train_body())
            assert answer.status_code == expected, answer.text
            assert ("Retry-After" in answer.headers) == (expected == 503)
