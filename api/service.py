"""What one API process holds: database, artifact store, broker, inference client, open streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx2
from anyio import CapacityLimiter
from celery import Celery

from api.http.problems import Problem
from api.jobs.queue import Line
from api.streaming.changes import Changes
from api.system.monitor import Monitor
from jobs.database import Database
from jobs.migrate import require_current
from jobs.settings import Settings
from jobs.store import ArtifactStore, store_of
from jobs.wakeups import Relay, celery_app

STREAM_THREADS = 8
"""Threads in which streams read the database: their own, so that a slow database does not take all of the API's."""
INFERENCE_TIMEOUT = httpx2.Timeout(30.0, connect=2.0)


@dataclass
class Service:
    """Made once per application; routes get it by `api.http.dependencies.ServiceDep`."""

    settings: Settings
    database: Database
    store: ArtifactStore
    broker: Celery
    relay: Relay
    line: Line
    inference: httpx2.AsyncClient | None
    monitor: Monitor = field(default_factory=Monitor)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to shut down: open streams end."""
    streams: int = 0
    stream_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(STREAM_THREADS))
    changes: Changes = field(init=False)

    def __post_init__(self) -> None:
        self.changes = Changes(self.database, self.stream_threads, self.closing)

    @classmethod
    def of(cls, settings: Settings) -> Service:
        database = Database(settings.resolved_database_url)
        broker = celery_app(settings)
        return cls(
            settings=settings,
            database=database,
            store=store_of(settings),
            broker=broker,
            relay=Relay(settings, database, broker),
            line=Line(settings),
            inference=_inference_client(settings.inference_url),
        )

    def start(self) -> None:
        """Raises JobsError when the database's schema is not this version's."""
        require_current(self.database)
        self.relay.start()

    async def stop(self) -> None:
        self.closing.set()
        await asyncio.to_thread(self.relay.stop)
        self.broker.close()
        if self.inference is not None:
            await self.inference.aclose()
        self.database.dispose()

    def open_stream(self) -> None:
        """Takes one of the places for streams; whoever took it calls `close_stream`."""
        if self.streams >= self.settings.max_streams:
            raise Problem("too_many_streams", f"{self.streams} streams are open here, the most that are allowed.")
        self.streams += 1

    def close_stream(self) -> None:
        self.streams -= 1


def _inference_client(url: str) -> httpx2.AsyncClient | None:
    """A client for `unix:/path.sock` or `http://host:port`; None where no inference process is configured."""
    if not url:
        return None
    if url.startswith("unix:"):
        transport = httpx2.AsyncHTTPTransport(uds=url.removeprefix("unix:").removeprefix("//"))
        return httpx2.AsyncClient(transport=transport, base_url="http://inference", timeout=INFERENCE_TIMEOUT)
    return httpx2.AsyncClient(base_url=url, timeout=INFERENCE_TIMEOUT, trust_env=False)
