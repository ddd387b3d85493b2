"""What a database takes on disk, and what it has logged."""

from __future__ import annotations

from sqlalchemy import text

from jobs.access.scope import DEFAULT
from jobs.database import Database


def database_bytes(store: Database) -> int:
    """Tables and indexes on disk, the log apart."""
    if store.sqlite:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("PRAGMA wal_checkpoint(PASSIVE)"))
    query = (
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if store.sqlite
        else "SELECT pg_database_size(current_database())"
    )
    with store.read(DEFAULT) as session:
        return int(session.execute(text(query)).scalar_one())


def logged_bytes(store: Database) -> int:
    """Position in PostgreSQL's write-ahead log; 0 for SQLite."""
    if store.sqlite:
        return 0
    with store.read(DEFAULT) as session:
        return int(session.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())


def open_connections(store: Database) -> int:
    """PostgreSQL's connections to this database, but for the one that asks."""
    query = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
    with store.read(DEFAULT) as session:
        return int(session.execute(text(query)).scalar_one())
