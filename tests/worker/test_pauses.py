"""How long an attempt waits before it asks a database that was away again."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from sqlalchemy.exc import OperationalError

from tests.conftest import quick_settings
from worker.context import WorkerContext
from worker.outage import Outage

AWAY = OperationalError("SELECT 1", {}, Exception("gone"))
AWAY.connection_invalidated = True


@pytest.mark.parametrize(("lease", "longest"), [(2.0, 0.5), (60.0, 10.0)])
def test_pauses_grow_to_a_part_of_the_lease(tmp_path: Path, lease: float, longest: float) -> None:
    """Others take a job when they have seen the database for a lease: its owner must have asked before."""
    settings = quick_settings(tmp_path, f"sqlite:///{tmp_path / 'adder.db'}", "redis://", lease_seconds=lease)
    context = WorkerContext.create(settings)
    outage = Outage(context, structlog.get_logger())
    with structlog.testing.capture_logs() as lines:
        for _ in range(12):
            outage.note(AWAY)
    pauses = [line["retry_seconds"] for line in lines]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (settings.poll_seconds, longest)
    context.database.dispose()
