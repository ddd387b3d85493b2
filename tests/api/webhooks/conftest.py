"""A server that sends webhooks to loopback, as it may here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import PATIENT, Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey


@pytest.fixture
def sending(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[Running]:
    options = PATIENT | {"webhook_poll_seconds": 0.05, "webhook_allow_private": True}
    with running(quick_settings(tmp_path, sqlite_url, valkey.url, **options)) as site:
        yield site
