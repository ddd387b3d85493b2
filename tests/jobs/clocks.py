"""Time of the artifact store, for tests of what is young in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from jobs.store import ArtifactStore


@contextmanager
def stopped_clock(store: ArtifactStore, at: float) -> Iterator[None]:
    """In this block the store's clock says `at`, so that what is stored later is young, however busy the machine is."""
    with mock.patch.object(store, "now", return_value=at):
        yield
