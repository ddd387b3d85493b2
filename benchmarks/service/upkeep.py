"""What the service asks of PostgreSQL all the time: transactions, log and connections a worker and a running job."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.rows import Row, filesystem
from benchmarks.service.clients import SLOTS, WORKERS, running
from benchmarks.service.setup import TINY_CHILD, Alone, Setup, api_alone
from jobs.database import Database

SETTLE = 12.0  # seconds: two rounds of housekeeping, and what a start writes
QUIET, SPEAKING = 0, 3600
"""Points that a job says in an hour: none, one a second."""


@dataclass(frozen=True)
class Reading:
    """PostgreSQL's counters, of the whole server."""

    moment: float
    transactions: int
    wal: int
    connections: int


def measure(setup: Setup) -> Iterator[Row]:
    """Each part is added to the ones before, on one server."""
    if "postgresql" not in setup.databases:
        return
    with ExitStack() as stack:
        child = f"{sys.executable} -I -S {TINY_CHILD}"
        service = stack.enter_context(api_alone(setup, "postgresql", child_command=child))
        store = Database(service.database_url)
        stack.callback(store.dispose)
        yield from _rows(setup, service, store, "API alone")
        with service.workers(1):
            yield from _rows(setup, service, store, "API, 1 idle worker")
        for points, name in ((QUIET, "that say nothing"), (SPEAKING, "that say a point a second")):
            with running(service, points):
                yield from _rows(setup, service, store, f"API, {WORKERS} workers, {WORKERS * SLOTS} jobs {name}")


def _rows(setup: Setup, service: Alone, store: Database, name: str) -> Iterator[Row]:
    load = os.getloadavg()
    time.sleep(SETTLE)
    before = _read(store)
    time.sleep(setup.amounts.seconds)
    after = _read(store)
    about = {"database": "postgresql", "quick": setup.quick, "filesystem": filesystem(setup.scratch)}
    seconds = after.moment - before.moment
    rate, log = (after.transactions - before.transactions) / seconds, (after.wal - before.wal) / seconds / 1024
    yield Row("upkeep: transactions", name, "1/s", [rate], load, about)
    yield Row("upkeep: write-ahead log", name, "KiB/s", [log], load, about)
    yield Row("upkeep: connections", name, "", [after.connections], load, about)


def _read(store: Database) -> Reading:
    """Without this benchmark's own connection; its own transactions are a handful."""
    query = text(
        "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()),"
        " (SELECT pg_current_wal_lsn() - '0/0'::pg_lsn),"
        " (SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database())"
    )
    with store.read() as session:
        transactions, wal, connections = session.execute(query).one()
    return Reading(time.monotonic(), int(transactions), int(wal), int(connections))
