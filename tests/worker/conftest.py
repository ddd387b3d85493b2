"""A worker's context in this process, with the child that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD
from tests.support.servers import Valkey
from worker.context import WorkerContext


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    """On each kind of database: tests that use it run twice."""
    yield from _context(settings)


@pytest.fixture
def lite_context(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[WorkerContext]:
    """On SQLite, for what does not depend on the database."""
    yield from _context(quick_settings(tmp_path, sqlite_url, valkey.url))


def _context(settings: Settings) -> Iterator[WorkerContext]:
    context = WorkerContext.create(settings.model_copy(update={"child_command": TINY_CHILD}))
    yield context
    context.draining.set()
    context.app.close()
    context.database.dispose()
