"""Engine and transactions: `with db.read() as s` and `with db.write() as s`, which commits once, at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

SQLITE_BUSY_MS = 30_000
POSTGRES_IDLE_MS = 15_000  # transactions here take milliseconds
POOL_SIZE = 20  # connections; FastAPI runs up to 40 threads, each holding one for a few ms


class Database:
    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        # On SQLite a writer must take its lock at BEGIN: a deferred one that upgrades later fails at once when
        # somebody else wrote meanwhile, whatever the busy timeout.
        self._writing = self.engine.execution_options(adder_write=True)
        # Threads of one process take turns: SQLite's own waiting is by sleeps that grow, and unfair.
        self._turn: AbstractContextManager[object] = threading.Lock() if self.sqlite else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def dispose(self) -> None:
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # psycopg 3 by name, so that a plain postgresql:// URL works.
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=POOL_SIZE,
            max_overflow=POOL_SIZE,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 5,
                "client_encoding": "utf8",
                # A process that is stopped in the middle of a transaction must not hold a job's row for ever.
                "options": f"-c idle_in_transaction_session_timeout={POSTGRES_IDLE_MS}",
            },
        )
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"ADDER_DATABASE_URL must be sqlite:///… or postgresql://…, got {parsed.drivername}://…")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, connect_args={"timeout": SQLITE_BUSY_MS / 1000}
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {SQLITE_BUSY_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # an accepted job survives a power cut
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    write = connection.get_execution_options().get("adder_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
