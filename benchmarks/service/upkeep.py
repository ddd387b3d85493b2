"""What idle workers and running jobs cost all the time: PostgreSQL's transactions, log and connections, CPU, memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.cpu import cpu_seconds, tree_seconds
from benchmarks.rows import Row, filesystem
from benchmarks.service.clients import SLOTS, WORKERS, running
from benchmarks.service.processes import resident_mib
from benchmarks.service.setup import TINY_CHILD, Setup, api_alone
from jobs.access.scope import DEFAULT
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
    if setup.postgres is None:
        return
    with ExitStack() as stack:
        child = f"{sys.executable} -I -S {TINY_CHILD}"
        service = stack.enter_context(api_alone(setup, "postgresql", child_command=child))
        store = Database(service.database_url)
        stack.callback(store.dispose)
        parts = {"api": [service.parts["api"]], "postgresql": [setup.postgres.pid], "workers": []}
        yield from _rows(setup, store, parts, "API alone")
        with service.workers(1) as idle:
            parts["workers"] = [process.pid for process in idle]
            yield from _rows(setup, store, parts, "API, 1 idle worker")
        for points, name in ((QUIET, "that say nothing"), (SPEAKING, "that say a point a second")):
            with running(service, points) as busy:
                parts["workers"] = busy.workers
                yield from _rows(setup, store, parts, f"API, {WORKERS} workers, {WORKERS * SLOTS} jobs {name}")


def _rows(setup: Setup, store: Database, parts: Mapping[str, Sequence[int]], name: str) -> Iterator[Row]:
    load = os.getloadavg()
    time.sleep(SETTLE)
    before, cpu = _read(store), _cpu(parts)
    time.sleep(setup.amounts.seconds)
    after, used = _read(store), _cpu(parts)
    about = {"database": "postgresql", "quick": setup.quick, "filesystem": filesystem(setup.scratch)}
    seconds = after.moment - before.moment
    rate, log = (after.transactions - before.transactions) / seconds, (after.wal - before.wal) / seconds / 1024
    yield Row("upkeep: transactions", name, "1/s", [rate], load, about)
    yield Row("upkeep: write-ahead log", name, "KiB/s", [log], load, about)
    yield Row("upkeep: connections", name, "", [after.connections], load, about)
    for part, pids in parts.items():
        if pids:
            share = 100 * (used[part] - cpu[part]) / seconds
            yield Row("upkeep: CPU", f"{name}: {part}", "% of a core", [share], load, about)
    if parts["workers"]:
        memory = [resident_mib(pid) for pid in parts["workers"]]
        yield Row("upkeep: memory of a worker", name, "MiB", memory, load, about)


def _cpu(parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Seconds so far; PostgreSQL's with its backends."""
    return {
        part: sum(tree_seconds(pid) if part == "postgresql" else cpu_seconds(pid) for pid in pids)
        for part, pids in parts.items()
    }


def _read(store: Database) -> Reading:
    """Without this benchmark's own connection; its own transactions are a handful."""
    query = text(
        "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()),"
        " (SELECT pg_current_wal_lsn() - '0/0'::pg_lsn),"
        " (SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database())"
    )
    with store.read(DEFAULT) as session:
        transactions, wal, connections = session.execute(query).one()
    return Reading(time.monotonic(), int(transactions), int(wal), int(connections))
