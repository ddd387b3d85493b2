"""`/metrics`: the probes' results as Prometheus metric families. `docs/monitoring.md` lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.service import Service
from api.system.probes import ProbeResults, Probes
from jobs.repository.health import Snapshot, Waiting, WorkerHealth
from jobs.states import Cause

MOST_PRIORITIES = 20
"""The highest priorities of the queue have series of their own; the others are added up under `other`."""

Rows = Iterable[tuple[Sequence[str], float]]

COUNTERS = {
    "lease_renewals_total": ("lease_renewals", "Times that a worker renewed the lease of a job."),
    "lease_lost_total": ("lease_losses", "Attempts that found their job taken by somebody else."),
    "database_errors_total": ("database_errors", "Times that a worker did not reach the database."),
    "broker_errors_total": ("broker_errors", "Times that a worker did not reach the broker."),
    "cpu_seconds_total": ("cpu_seconds", "CPU time of a worker and of its trainings that have ended."),
}
"""Counters that workers report with their heartbeat: key of the report → name of the metric, meaning."""
GAUGES = {
    "spool_items": ("spool_items", "Messages of trainings that wait in a worker for the database."),
    "rss_bytes": ("resident_memory_bytes", "Memory of a worker process, without its trainings."),
}


def render(service: Service, probes: Probes) -> bytes:
    """Prometheus' text format: what this process counted, then what the probes find now. Blocks for some seconds."""
    registry = CollectorRegistry()
    registry.register(_ServiceCollector(service, probes.run()))
    return generate_latest(service.request_metrics.registry) + generate_latest(registry)


class _ServiceCollector(Collector):
    """Turns the probes' results into metric families."""

    def __init__(self, service: Service, results: ProbeResults) -> None:
        self._service = service
        self._results = results

    def collect(self) -> Iterator[Metric]:
        yield _gauge("adder_build_info", "Version of this API process.", [([version("adderworks")], 1)], ["version"])
        yield _gauge("adder_streams_open", "Streams that this API process keeps open.", self._service.streams.used)
        most = self._service.settings.max_streams
        yield _gauge("adder_streams_limit", "Streams that it may keep open.", most)
        yield from _stores(self._results)
        database = self._results.database
        yield _gauge("adder_database_up", "1 when the database answers.", database is not None)
        if database is not None:
            yield _gauge("adder_database_round_trip_seconds", "Time of the smallest query.", database.seconds)
            yield from _jobs(database.value)
            yield from _workers(database.value.workers, self._service.settings.live_ms / 1000)


def _stores(results: ProbeResults) -> Iterator[Metric]:
    yield _gauge("adder_broker_up", "1 when the broker answers.", results.broker is not None)
    if results.broker is not None:
        yield _gauge("adder_broker_round_trip_seconds", "Time of the smallest command.", results.broker.seconds)
        yield _gauge("adder_broker_queue_length", "Wake-ups that no worker has taken yet.", results.broker.value)
    yield _gauge(
        "adder_store_up", "1 when the artifact store takes a few bytes and gives them back.", results.store is not None
    )
    if results.store is not None:
        yield _gauge("adder_store_round_trip_seconds", "Time of that.", results.store)
    if results.stored is not None:
        rows = [([kind], size) for kind, size in results.stored.items()]
        yield _gauge("adder_store_named_bytes", "Bytes in the artifact store that rows name.", rows, ["kind"])
    if results.disk is not None:
        size, free = results.disk
        yield _gauge("adder_data_disk_size_bytes", "Size of the disk with the data folder.", size)
        yield _gauge("adder_data_disk_free_bytes", "Free there.", free)


def _jobs(found: Snapshot) -> Iterator[Metric]:
    yield _gauge("adder_jobs", "Jobs by status.", _by_name(found.jobs), ["status"])
    labels = ["priority", "device"]
    waiting = _bounded(found.waiting)
    yield _gauge(
        "adder_queue_jobs",
        "Queued jobs by priority and by the device they ask for.",
        [(key, sum(row.jobs for row in rows)) for key, rows in waiting.items()],
        labels,
    )
    yield _gauge(
        "adder_queue_oldest_seconds",
        "Age of the longest queued of them.",
        [(key, max(row.oldest_seconds for row in rows)) for key, rows in waiting.items()],
        labels,
    )
    oldest = max((row.oldest_seconds for row in found.waiting), default=0.0)
    yield _gauge("adder_oldest_queued_seconds", "Age of the longest queued job.", oldest)
    yield _gauge(
        "adder_expired_leases", "Jobs whose owner is silent and that nobody has taken back.", found.expired_leases
    )
    yield _gauge(
        "adder_attempts_on_record",
        "Ended attempts of the jobs there are, by cause.",
        _by_name(found.attempts),
        ["cause"],
    )
    yield _gauge("adder_outbox_depth", "Wake-ups not yet sent to the broker.", found.outbox)
    yield _gauge("adder_outbox_oldest_seconds", "Age of the oldest of them.", found.outbox_oldest_seconds)


def _workers(workers: Sequence[WorkerHealth], live_seconds: float) -> Iterator[Metric]:
    states = dict.fromkeys(("live", "draining", "silent"), 0)
    free: list[tuple[WorkerHealth, float]] = []
    for worker in workers:
        silent = worker.heartbeat_age_seconds > live_seconds
        state = "silent" if silent else "draining" if worker.row.draining else "live"
        states[state] += 1
        free.append((worker, max(0, worker.row.slots - worker.running) if state == "live" else 0))
    yield _gauge("adder_workers", "Workers: at work, draining, or without a heartbeat.", _by_name(states), ["state"])
    yield _each("adder_worker_free_slots", "Jobs it could take now: none where it drains or is silent.", free)
    info = ["worker", "hostname", "device", "version"]
    yield _gauge(
        "adder_worker_info",
        "Where a worker runs, its best device and its version.",
        [([w.row.id, w.row.hostname, w.row.device, str(w.row.info.get("addercore", ""))], 1) for w in workers],
        info,
    )
    yield _each("adder_worker_slots", "Jobs it may run side by side.", [(w, w.row.slots) for w in workers])
    yield _each("adder_worker_running_jobs", "Jobs it owns.", [(w, w.running) for w in workers])
    ages = [(w, w.heartbeat_age_seconds) for w in workers]
    yield _each("adder_worker_heartbeat_age_seconds", "Time since it was last heard of.", ages)
    for key, (name, meaning) in COUNTERS.items():
        rows = [([w.row.id], w.row.stats[key]) for w in workers if key in w.row.stats]
        yield _counter(f"adder_worker_{name}", meaning, rows, ["worker"])
    for key, (name, meaning) in GAUGES.items():
        yield _each(f"adder_worker_{name}", meaning, [(w, w.row.stats[key]) for w in workers if key in w.row.stats])
    yield _counter(
        "adder_worker_attempts_ended",
        "Attempts that ended on a worker, by cause.",
        # Each cause from the start: what appears with its first count has no rate yet.
        [([w.row.id, cause], _ended(w).get(cause, 0)) for w in workers if w.row.stats for cause in Cause],
        ["worker", "cause"],
    )
    swept = [([w.row.id, what], count) for w in workers for what, count in w.row.stats.get("swept_total", {}).items()]
    yield _counter("adder_worker_swept", "What the housekeeping of a worker removed.", swept, ["worker", "what"])
    gpus = [([w.row.id, str(gpu["index"])], gpu) for w in workers for gpu in w.row.stats.get("gpu", ())]
    labels = ["worker", "gpu"]
    busy = [(key, gpu["utilization"] / 100) for key, gpu in gpus]
    yield _gauge("adder_worker_gpu_utilization_ratio", "Share of the time that a GPU computed.", busy, labels)
    used = [(key, gpu["memory_used_bytes"]) for key, gpu in gpus]
    yield _gauge("adder_worker_gpu_memory_used_bytes", "Memory of a GPU that is in use.", used, labels)


def _ended(worker: WorkerHealth) -> Mapping[str, int]:
    ended: Mapping[str, int] = worker.row.stats.get("attempts_ended_total", {})
    return ended


def _bounded(waiting: Sequence[Waiting]) -> dict[tuple[str, str], list[Waiting]]:
    """The rows by their label values, priority and device."""
    own = {row.priority for row in waiting}
    own = set(sorted(own, reverse=True)[:MOST_PRIORITIES])
    found: dict[tuple[str, str], list[Waiting]] = {}
    for row in waiting:
        key = (str(row.priority) if row.priority in own else "other", row.device)
        found.setdefault(key, []).append(row)
    return found


def _by_name(counts: Mapping[str, float]) -> Rows:
    return [([name], count) for name, count in counts.items()]


def _each(name: str, meaning: str, rows: Iterable[tuple[WorkerHealth, float]]) -> Metric:
    return _gauge(name, meaning, [([worker.row.id], value) for worker, value in rows], ["worker"])


def _gauge(name: str, meaning: str, value: Rows | float, labels: Sequence[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, meaning, labels=labels), value)


def _counter(name: str, meaning: str, value: Rows | float, labels: Sequence[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(name, meaning, labels=labels), value)


def _filled(family: Any, value: Rows | float) -> Metric:
    for key, one in [((), value)] if isinstance(value, (int, float)) else value:
        family.add_metric(list(key), float(one))
    return family  # type: ignore[no-any-return]
