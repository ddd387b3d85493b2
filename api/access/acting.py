"""The service as one request has it: it acts for whoever sent the request, in that one's project."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx2
from anyio import CapacityLimiter

from api.http.shares import Shares
from api.jobs.queue_positions import QueuePositions
from api.service import Service
from api.streaming.job_changes import JobChanges
from jobs.access import audit
from jobs.access.roles import Role
from jobs.access.scope import SERVICE, OwnTransaction, Project, ServiceTransaction
from jobs.database import Database
from jobs.scheduling import Rules
from jobs.settings import Settings
from jobs.store import ArtifactStore
from jobs.wakeups import Relay

ADMITTED: Final = "adder.acting"
"""Key of the ASGI scope with the service as the request has it."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as the authentication found."""

    project: Project
    """In which the request acts: the key's own, or the one that an operator names."""
    project_name: str
    role: Role
    key_id: str | None
    """None: authentication is off."""
    key_name: str | None
    max_streams: int | None
    """Streams that the project may keep open in this process; None: no limit of its own."""
    request_id: str
    address: str | None
    action: str
    """The operation, as the audit calls it."""
    object_id: str | None
    """The id in the request's path."""


@dataclass(frozen=True)
class CallersDatabase:
    """Transactions of the caller's project. No route can open another one by accident."""

    _database: Database
    _caller: Caller

    def read(self) -> AbstractContextManager[OwnTransaction]:
        """A transaction that reads the caller's project."""
        return self._database.read(self._caller.project)

    @contextmanager
    def write(self) -> Iterator[OwnTransaction]:
        """A transaction that changes the caller's project; committed with its row of the audit at the end of the
        block."""
        with self._database.write(self._caller.project) as session:
            yield session
            audit.write(session, self._caller)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._database.engine.dialect.name


@dataclass(frozen=True)
class Acting:
    """What a route gets as its service."""

    whole: Service
    """The service itself, for what belongs to no project: workers, metrics, garbage."""
    caller: Caller
    database: CallersDatabase = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "database", CallersDatabase(self.whole.database, self.caller))

    def read_all(self) -> AbstractContextManager[ServiceTransaction]:
        """A transaction across all projects, for operations that only operators may do."""
        return self.whole.database.read(SERVICE)

    @contextmanager
    def write_all(self) -> Iterator[ServiceTransaction]:
        """As `read_all`, and committed with its row of the audit at the end of the block."""
        with self.whole.database.write(SERVICE) as session:
            yield session
            audit.write(session, self.caller)

    async def may_go_on(self) -> bool:
        """Whether the caller's key is valid still; for what stays open for long."""
        return self.caller.key_id is None or await self.whole.keyring.is_valid(self.caller.key_id)

    @property
    def settings(self) -> Settings:
        return self.whole.settings

    @property
    def rules(self) -> Rules:
        """What a submission is held to."""
        return Rules.of(self.whole.settings)

    @property
    def store(self) -> ArtifactStore:
        return self.whole.store

    def discard(self, digests: list[str]) -> None:
        """Removes stored blobs that no row of any project names any more."""
        self.whole.store.discard(self.whole.database, digests)

    @property
    def relay(self) -> Relay:
        return self.whole.relay

    @property
    def queue_positions(self) -> QueuePositions:
        return self.whole.queue_positions

    @property
    def inference(self) -> httpx2.AsyncClient | None:
        return self.whole.inference

    @property
    def job_changes(self) -> JobChanges:
        return self.whole.job_changes

    @property
    def streams(self) -> Shares:
        return self.whole.streams

    @property
    def stream_threads(self) -> CapacityLimiter:
        return self.whole.stream_threads

    @property
    def predictions(self) -> Shares:
        return self.whole.predictions

    @property
    def closing(self) -> asyncio.Event:
        return self.whole.closing
