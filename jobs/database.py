"""Engine and transactions: `with database.read(scope) as session`; `database.write(scope)` commits at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, overload

from sqlalchemy import Engine, create_engine, event, exc, make_url

from jobs import documents
from jobs.access import criteria as criteria  # which listens to every transaction
from jobs.access.scope import (
    SETTING,
    OwnTransaction,
    Project,
    Scope,
    Service,
    ServiceTransaction,
    Transaction,
)

SQLITE_BUSY_MS = 30_000
POSTGRES_IDLE_MS = 15_000  # transactions here take milliseconds
POSTGRES_SILENT_MS = 15_000
"""How long a network connection may be silent before it is given up; a Unix socket needs no such limit."""
POOL_SIZE = 20  # connections; FastAPI runs up to 40 threads, each holding one for a few ms


class Database:
    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        # Threads of one process take turns: SQLite itself waits by growing sleeps, which is unfair.
        self._turn = threading.Lock() if self.sqlite else None
        self._engines: dict[tuple[Scope, bool], Engine] = {}

    @overload
    def read(self, scope: Project) -> AbstractContextManager[OwnTransaction]: ...
    @overload
    def read(self, scope: Service) -> AbstractContextManager[ServiceTransaction]: ...
    @contextmanager  # type: ignore[misc]
    def read(self, scope: Scope) -> Iterator[Transaction]:
        """A transaction that reads what the scope may see."""
        with self._open(scope, write=False) as session:
            yield session

    @overload
    def write(self, scope: Project) -> AbstractContextManager[OwnTransaction]: ...
    @overload
    def write(self, scope: Service) -> AbstractContextManager[ServiceTransaction]: ...
    @contextmanager  # type: ignore[misc]
    def write(self, scope: Scope) -> Iterator[Transaction]:
        """A transaction that is committed at the end of the block, and rolled back where that raises.

        Args:
            scope: whose objects it sees and changes.
        """
        with self._in_turn(), self._open(scope, write=True) as session, session.begin():
            yield session

    def _open(self, scope: Scope, *, write: bool) -> Transaction:
        if not isinstance(scope, Project | Service):
            raise TypeError(f"a transaction needs a Project or SERVICE, got {scope!r}")
        kind = OwnTransaction if isinstance(scope, Project) else ServiceTransaction
        session: Transaction = kind(self._engine_of(scope, write), expire_on_commit=False)
        session.scope = scope
        return session

    def _engine_of(self, scope: Scope, write: bool) -> Engine:
        """The engine whose connections know the scope.

        On SQLite a writer must lock at BEGIN: a deferred transaction that upgrades later fails at once if another one
        wrote meanwhile, whatever the busy timeout is.
        """
        found = self._engines.get((scope, write))
        if found is None:
            found = self.engine.execution_options(adder_scope=scope, adder_write=write)
            self._engines[scope, write] = found
        return found

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Raises SQLAlchemy's TimeoutError if other threads of this process keep SQLite busy for too long."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=SQLITE_BUSY_MS / 1000):
            raise exc.TimeoutError(f"SQLite was busy for {SQLITE_BUSY_MS / 1000:g} s")
        try:
            yield
        finally:
            self._turn.release()

    def dispose(self) -> None:
        self.engine.dispose()


READ_ONLY, IDLE_TOO_LONG, TRANSACTION_TOO_LONG = "25006", "25P03", "25P04"
"""PostgreSQL's error codes for a standby that is not the primary, and for a transaction that was idle for too long."""


def database_away(error: BaseException) -> bool:
    """Whether the database cannot be reached or cannot write at present, so that the same call may succeed later.

    False: it refuses the statement, and will refuse it again.
    """
    if isinstance(error, exc.OperationalError):
        return "no such " not in str(error.orig)  # SQLite files a missing table here too
    if isinstance(error, exc.InterfaceError | exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or code in (READ_ONLY, IDLE_TOO_LONG, TRANSACTION_TOO_LONG)


JSON_COLUMNS: dict[str, Any] = {"json_serializer": documents.dumps, "json_deserializer": documents.loads}
"""Options of the engine: what comes into a JSON column can be read and sent again."""


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # psycopg 3 by name, so that a plain postgresql:// URL works.
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            **JSON_COLUMNS,
            pool_size=POOL_SIZE,
            max_overflow=POOL_SIZE,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": POSTGRES_SILENT_MS // 3000,
                "keepalives_interval": POSTGRES_SILENT_MS // 3000,
                "keepalives_count": 2,
                "tcp_user_timeout": POSTGRES_SILENT_MS,
                "client_encoding": "utf8",
                # A process that is stopped inside a transaction must not lock a job's row for ever.
                "options": f"-c idle_in_transaction_session_timeout={POSTGRES_IDLE_MS}",
            },
        )
        event.listen(engine, "begin", _postgres_begin)
        return engine
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"ADDER_DATABASE_URL must be sqlite:///… or postgresql://…, got {parsed.drivername}://…")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        **JSON_COLUMNS,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        connect_args={"timeout": SQLITE_BUSY_MS / 1000},
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not start transactions by itself
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {SQLITE_BUSY_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # an accepted job survives a power cut
        "foreign_keys = ON",
        "cache_size = -512",  # KiB of each of up to 40 connections: the system's own cache holds the file once for all
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgres_begin(connection: Any) -> None:
    """Tells row security whose transaction this is, until its end. Without a scope it shows no row of any project."""
    scope = connection.get_execution_options().get("adder_scope")
    if scope is not None:
        connection.exec_driver_sql(f"SELECT set_config('{SETTING}', %s, true)", (scope.setting,))


def _sqlite_begin(connection: Any) -> None:
    write = connection.get_execution_options().get("adder_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
