"""What every page shows beside its own content: the menu's section and the state of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.workers.liveness import live_workers
from jobs.access.scope import OwnTransaction
from jobs.repository import core, recovery
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables import Worker

PAGE_SIZE = 25
"""Rows on one page of a list."""


@dataclass(frozen=True)
class ServiceStatus:
    """The line at the top of every page."""

    counts: Mapping[str, int]
    """Jobs by status."""
    workers: Sequence[Worker]
    """The live workers."""

    @property
    def queued(self) -> int:
        return self.counts[Status.QUEUED]

    @property
    def running(self) -> int:
        return sum(self.counts[status] for status in Status if status.owned)


def page_header(session: OwnTransaction, settings: Settings, *, section: str) -> dict[str, Any]:
    """The part of a template's context that every page needs: `section`, `service` and `now` (ms since 1970)."""
    service = ServiceStatus(recovery.depth(session), live_workers(session, settings))
    return {"section": section, "service": service, "now": core.now(session)}
