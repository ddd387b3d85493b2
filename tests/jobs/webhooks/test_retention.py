"""Deliveries that have ended are kept for so many days; what waits is kept."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update

from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.retention import DAY_MS, GarbageCollector
from jobs.settings import Settings
from jobs.store import store_of
from jobs.tables import Delivery
from tests.jobs.webhooks.conftest import cancelled, deliveries, hook


def test_deliveries_go_so_many_days_after_their_end(database: Database, tmp_path: Path) -> None:
    hook(database, "https://hooks.example/adder")
    for _ in range(3):
        cancelled(database)
    old, young, waiting = (row.id for row in deliveries(database))
    with database.write(SERVICE) as session:
        for id_, days in ((old, 8), (young, 6)):
            ended = {"status": "failed", "next_attempt_at": None, "finished_at": Delivery.created_at - days * DAY_MS}
            session.execute(update(Delivery).where(Delivery.id == id_).values(ended))
        waits = {"created_at": 1, "next_attempt_at": 1}
        session.execute(update(Delivery).where(Delivery.id == waiting).values(waits))
    settings = Settings(data_dir=tmp_path, keep_deliveries_days=7)
    assert GarbageCollector(database, store_of(settings), settings).step()["deliveries"] == 1
    assert [row.id for row in deliveries(database)] == [young, waiting]
    for_ever = settings.model_copy(update={"keep_deliveries_days": None})
    assert GarbageCollector(database, store_of(settings), for_ever).step()["deliveries"] == 0
