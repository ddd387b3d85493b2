"""Numbers for Prometheus, in a registry of this application's own."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from jobs.database import Database
from jobs.repository import recovery

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()  # type: ignore[no-untyped-call]


class Monitor:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["method", "route"]
        self._requests = Counter(
            "adder_http_requests", "Requests answered.", [*labels, "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "adder_http_request_seconds", "Time to the first byte of the answer.", labels, registry=self.registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request. `route` is the template (`/v1/jobs/{id}`), so that ids make no new series."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, database: Database) -> bytes:
        """Prometheus' text format: what this process counted, then what the database says now."""
        jobs = CollectorRegistry()
        jobs.register(_Jobs(database))
        return generate_latest(self.registry) + generate_latest(jobs)


class _Jobs(Collector):
    """Read when it is asked for; a database that is away shows as `adder_database_up 0`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("adder_database_up", "1 when the database answers.")
        try:
            with self._database.read() as session:
                depth = recovery.depth(session)
                oldest = recovery.oldest_queued_ms(session)
                unsent = recovery.unsent_wakeups(session)
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        jobs = GaugeMetricFamily("adder_jobs", "Jobs by status.", labels=["status"])
        for status, count in depth.items():
            jobs.add_metric([status], count)
        yield jobs
        yield GaugeMetricFamily("adder_oldest_queued_seconds", "Age of the longest queued job.", value=oldest / 1000)
        yield GaugeMetricFamily("adder_outbox_depth", "Wake-ups not yet sent to the broker.", value=unsent)
