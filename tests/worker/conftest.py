"""A worker's context in this process, with the child that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD
from tests.support.servers import Valkey, wait_until
from worker.context import WorkerContext
from worker.template.client import Template


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """A template of the real child: tests that train fork from it, as importing torch takes longer than they do."""
    yield from ready(Template())


def ready(template: Template) -> Iterator[Template]:
    restarted(template)
    yield template
    template.close()


def restarted(template: Template) -> int:
    template.keep()
    wait_until(lambda: template.settled and template.pid is not None, "the template to be ready", 120)
    assert template.pid is not None
    return template.pid


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
