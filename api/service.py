"""What one API process holds: database, artifact store, broker, inference client, open streams."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

import httpx2
from anyio import CapacityLimiter
from celery import Celery

from api.access.keyring import Keyring
from api.access.rates import Rates
from api.http.shares import Shares
from api.jobs.queue_positions import QueuePositions
from api.streaming.job_changes import JobChanges
from api.system.request_metrics import RequestMetrics
from jobs.database import Database
from jobs.migrate import require_current
from jobs.settings import Settings
from jobs.store import ArtifactStore, store_of
from jobs.wakeups import Relay, celery_app
from jobs.webhooks.sender import Sender

STREAM_THREADS = 8
"""Streams read the database in threads of their own, so that a slow database does not use up those of requests."""
INFERENCE_TIMEOUT = httpx2.Timeout(30.0, connect=2.0)


@dataclass
class Service:
    """Made once for each application. Routes get it as `api.http.dependencies.ServiceDep`."""

    settings: Settings
    database: Database
    store: ArtifactStore
    broker: Celery
    relay: Relay
    webhooks: Sender
    queue_positions: QueuePositions
    inference: httpx2.AsyncClient | None
    request_metrics: RequestMetrics = field(default_factory=RequestMetrics)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to shut down; open streams then end."""
    stream_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(STREAM_THREADS))
    keyring: Keyring = field(init=False)
    rates: Rates = field(default_factory=Rates)
    project_streams: Shares = field(default_factory=lambda: Shares(sys.maxsize))
    """Open streams by project, each of which may have a limit of its own."""
    job_changes: JobChanges = field(init=False)
    streams: Shares = field(init=False)
    """Open streams. This and the next two have bounds for one client address too."""
    predictions: Shares = field(init=False)
    bodies: Shares = field(init=False)
    """Bytes of request bodies that are held in memory while they arrive."""

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.database)
        self.job_changes = JobChanges(self.database, self.stream_threads, self.closing)
        bounds = self.settings
        self.streams = Shares(bounds.max_streams, bounds.max_client_streams)
        self.predictions = Shares(bounds.max_predictions, -(-bounds.max_predictions // 2))
        self.bodies = Shares(bounds.max_buffered_bytes, bounds.max_buffered_bytes // 2)

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """The service that `settings` describe. Nothing is connected yet."""
        database = Database(settings.resolved_database_url)
        broker = celery_app(settings)
        return cls(
            settings=settings,
            database=database,
            store=store_of(settings),
            broker=broker,
            relay=Relay(settings, database, broker),
            webhooks=Sender(
                database, private=settings.webhook_allow_private, poll_seconds=settings.webhook_poll_seconds
            ),
            queue_positions=QueuePositions(settings),
            inference=_inference_client(settings.inference_url),
        )

    def start(self) -> None:
        """Starts the relay of wake-ups and the sender of webhooks.

        Raises:
            JobsError: the database's schema is not this version's.
        """
        require_current(self.database)
        self.relay.start()
        self.webhooks.start()

    async def stop(self) -> None:
        """Ends open streams and closes all connections."""
        self.closing.set()
        await asyncio.to_thread(self.relay.stop)
        await asyncio.to_thread(self.webhooks.stop)
        self.broker.close()
        if self.inference is not None:
            await self.inference.aclose()
        self.database.dispose()


def _inference_client(url: str) -> httpx2.AsyncClient | None:
    """A client for `unix:/path.sock` or `http://host:port`; None where no inference process is configured."""
    if not url:
        return None
    if url.startswith("unix:"):
        # No TLS on a socket of this machine, and so no certificates to load, which takes 30 ms.
        transport = httpx2.AsyncHTTPTransport(uds=url.removeprefix("unix:").removeprefix("//"), verify=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://inference", timeout=INFERENCE_TIMEOUT)
    return httpx2.AsyncClient(base_url=url, timeout=INFERENCE_TIMEOUT, trust_env=False, verify=url.startswith("https:"))
