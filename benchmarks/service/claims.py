"""What a claim, a submission and a place in the queue cost as the queue grows: flat, or the service stalls."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import text

from benchmarks.rows import Row, filesystem
from benchmarks.service.setup import Alone, Setup, api_alone
from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import lifecycle, outlook, queue
from jobs.repository.queue import Offer
from jobs.spec import SPEC, Spec
from jobs.tables import Job

SIZES = (100, 1_000, 10_000, 50_000)
TIMES = 100
TRANSACTION = 200  # jobs of one, while the queue is filled
LEASE_MS = 3_600_000
USERS = 5
IMPOSSIBLE = 0.35
"""Share of the queue that stands in front (by priority) and that the claiming worker cannot run: another device."""


def measure(setup: Setup) -> Iterator[Row]:
    for database in setup.databases:
        with api_alone(setup, database, fair_share_label="user", max_queued_jobs="1000000") as service:
            yield from _growing(setup, database, service)


def _growing(setup: Setup, database: str, service: Alone) -> Iterator[Row]:
    store, chance, size = Database(service.database_url), random.Random(0), 0
    for wanted in (size for size in SIZES if size <= setup.amounts.queue):
        load = os.getloadavg()
        last = _fill(store, chance, wanted - size)
        size = wanted
        if not store.sqlite:
            with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE jobs"))  # what autovacuum does within a minute
        about = {
            "database": database, "quick": setup.quick, "queued": size, "shares": USERS, "priorities": 4,
            "of_another_device_in_front": IMPOSSIBLE, "filesystem": filesystem(setup.scratch),
        }  # fmt: skip
        name = f"{database}, {size} queued"
        claimed, submitted = _turnover(store, chance)
        yield Row("queue: claim, with its commit", name, "ms", claimed, load, about)
        yield Row("queue: submission, with its commit", name, "ms", submitted, load, about)
        yield Row("queue: place of the last", name, "ms", _places(store, last), load, about)
    store.dispose()


def _fill(store: Database, chance: random.Random, count: int) -> str:
    """Queues so many jobs; returns the last one's id."""
    last = ""
    for first in range(0, count, TRANSACTION):
        with store.write(DEFAULT) as session:
            for _ in range(min(TRANSACTION, count - first)):
                last = lifecycle.submit(session, _spec(chance)).job.id
    return last


def _spec(chance: random.Random) -> Spec:
    """One of a few users' jobs, of one of three priorities; or one that only another worker can run, in front."""
    impossible = chance.random() < IMPOSSIBLE
    document: dict[str, Any] = {
        "kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"},
        "epochs": chance.randint(1, 50), "labels": {"user": f"user-{chance.randrange(USERS)}"},
        "priority": 10 if impossible else chance.randint(-1, 1),
        "resources": {"device": "cuda" if impossible else chance.choice(("auto", "cpu"))},
    }  # fmt: skip
    return SPEC.validate_python(document)


def _turnover(store: Database, chance: random.Random) -> tuple[list[float], list[float]]:
    """ms of each of `TIMES` claims and as many submissions in turn, so that the queue stays as long as it is."""
    offer, claimed, submitted = Offer("bench"), [], []

    def claim() -> None:
        with store.write(SERVICE) as session:
            if queue.claim(session, offer, LEASE_MS) is None:
                raise RuntimeError("a claim found nothing in a long queue")

    def submit() -> None:
        with store.write(DEFAULT) as session:
            lifecycle.submit(session, spec)

    for _ in range(TIMES):
        spec = _spec(chance)
        claimed.append(_ms(claim))
        submitted.append(_ms(submit))
    return claimed, submitted


def _places(store: Database, job_id: str) -> list[float]:
    def place() -> None:
        with store.read(DEFAULT) as session:
            outlook.forecast(session, LEASE_MS).position(outlook.waiting_of(session.get_one(Job, job_id)))

    return [_ms(place) for _ in range(TIMES)]


def _ms(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)
