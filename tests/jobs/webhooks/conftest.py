"""Webhooks of the project `default`, and jobs whose ends are told to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import core, lifecycle
from jobs.settings import Settings
from jobs.store import store_of
from jobs.tables import Delivery, Webhook
from jobs.webhooks import repository
from jobs.webhooks.events import EventType
from jobs.webhooks.sender import Sender
from tests.api.attempt import Worker
from tests.support.receiver import Net
from tests.support.specs import train_spec


class Clock:
    """The database's time when it is first asked, and what a test adds to it: it does not run by itself."""

    def __init__(self) -> None:
        self.ahead = 0
        self._began: int | None = None

    def __call__(self, session: core.Transaction) -> int:
        if self._began is None:
            self._began = core.now(session)
        return self._began + self.ahead


def hook(database: Database, url: str, *events: EventType) -> Webhook:
    with database.write(DEFAULT) as session:
        return repository.create(session, name=None, url=url, wanted=events or tuple(EventType), most=100, by=None)


def cancelled(database: Database) -> str:
    """A job that has just ended."""
    with database.write(DEFAULT) as session:
        job = lifecycle.submit(session, train_spec()).job.id
        lifecycle.cancel(session, job)
        return job


def deliveries(database: Database) -> list[Delivery]:
    with database.read(SERVICE) as session:
        return list(session.execute(select(Delivery).order_by(Delivery.id)).scalars())


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    return Worker(database, store_of(Settings(data_dir=tmp_path)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def sender_of(database: Database, clock: Clock) -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(net: Net | None = None, **options: float) -> Sender:
        guard = None if net is None else net.guard()
        made.append(Sender(database, private=net is None, guard=guard, clock=clock, **options))
        return made[-1]

    yield make
    for sender in made:
        sender.stop()
