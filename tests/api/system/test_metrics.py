"""`/metrics`: what it says of a service with work in it, what it says when parts are away, and what relies on it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, update

from api.system.metrics import COUNTERS, GAUGES
from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import health, recovery
from jobs.states import Cause, Drain, Status
from jobs.tables import Worker as WorkerRow
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.api.system.test_system import closed
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, fleet
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_body, train_spec

ROOT = Path(__file__).parents[3]
STATS: dict[str, Any] = {
    "lease_renewals_total": 7,
    "lease_lost_total": 1,
    "attempts_ended_total": {"succeeded": 3, "worker_lost": 2},
    "swept_total": {"blobs": 4},
    "spool_items": 4,
    "database_errors_total": 5,
    "broker_errors_total": 6,
    "cpu_seconds_total": 8.5,
    "rss_bytes": 1024,
    "running": 1,
    "gpu": [{"index": 0, "utilization": 50, "memory_used_bytes": 2048}],
}
Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.system.probes.KEEP_SECONDS", 0.0)
    monkeypatch.setattr("api.system.probes.KEEP_LONG_SECONDS", 0.0)


def scrape(api: httpx2.Client) -> Samples:
    answer = api.get("/metrics")
    assert answer.status_code == 200
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    [found] = [number for at, number in samples[name] if labels.items() <= at.items()]
    return found


def beat(worker: Worker, drain: Drain | None = None) -> None:
    """A heartbeat with a report in it."""
    with worker.database.write(SERVICE) as session:
        row = {"id": worker.id, "hostname": "here", "pid": 1, "slots": 2, "device": "cuda", "info": {"addercore": "1"}}
        row |= {"devices": ["cuda:0", "cpu"], "memory_mb": 4096, "offers": [], "stats": STATS}
        recovery.heartbeat(session, row)
        session.execute(update(WorkerRow).where(WorkerRow.id == worker.id).values(draining=drain))


def test_it_tells_what_the_service_is_about(api: httpx2.Client, worker: Worker) -> None:
    beat(worker)
    for changes in ({}, {}, {"priority": 5, "resources": {"device": "cuda"}}, {"resources": {"device": "cpu"}}):
        api.post("/v1/jobs", json=train_body(**changes))
    claim = worker.claim()
    worker.finish(claim, Status.FAILED, {"code": "diverged", "message": "NaN", "log_tail": ""})
    worker.claim()
    found = scrape(api)
    assert value(found, "adder_jobs", status="queued") == 2
    assert value(found, "adder_jobs", status="running") == 1
    assert value(found, "adder_queue_jobs", priority="5", device="cuda") == 1
    assert value(found, "adder_queue_jobs", priority="0", device="cpu") == 1
    assert 0 <= value(found, "adder_queue_oldest_seconds", priority="5", device="cuda") < 60
    assert value(found, "adder_attempts_on_record", cause="diverged") == 1
    assert value(found, "adder_expired_leases") == 0
    assert (value(found, "adder_database_up"), value(found, "adder_broker_up"), value(found, "adder_store_up")) == (
        1,
        1,
        1,
    )
    assert 0 < value(found, "adder_data_disk_free_bytes") <= value(found, "adder_data_disk_size_bytes")
    assert value(found, "adder_worker_running_jobs", worker=worker.id) == 1
    assert value(found, "adder_worker_free_slots", worker=worker.id) == 1
    assert value(found, "adder_workers", state="live") == 1
    assert value(found, "adder_worker_heartbeat_age_seconds", worker=worker.id) < 60
    assert value(found, "adder_streams_open") == 0
    assert value(found, "process_cpu_seconds_total") > 0


def test_a_workers_report_is_shown(api: httpx2.Client, worker: Worker) -> None:
    beat(worker, Drain.FINISH)
    found, of = scrape(api), {"worker": worker.id}
    assert value(found, "adder_worker_lease_renewals_total", **of) == 7
    assert value(found, "adder_worker_lease_losses_total", **of) == 1
    assert value(found, "adder_worker_attempts_ended_total", cause="worker_lost", **of) == 2
    assert value(found, "adder_worker_attempts_ended_total", cause="diverged", **of) == 0
    assert len(found["adder_worker_attempts_ended_total"]) == len(Cause)
    assert value(found, "adder_worker_swept_total", what="blobs", **of) == 4
    assert value(found, "adder_worker_spool_items", **of) == 4
    assert value(found, "adder_worker_database_errors_total", **of) == 5
    assert value(found, "adder_worker_broker_errors_total", **of) == 6
    assert value(found, "adder_worker_cpu_seconds_total", **of) == 8.5
    assert value(found, "adder_worker_resident_memory_bytes", **of) == 1024
    assert value(found, "adder_worker_gpu_utilization_ratio", gpu="0", **of) == 0.5
    assert value(found, "adder_worker_gpu_memory_used_bytes", gpu="0", **of) == 2048
    assert (value(found, "adder_workers", state="draining"), value(found, "adder_worker_free_slots")) == (1, 0)
    with worker.database.write(DEFAULT) as session:
        session.execute(update(WorkerRow).values(heartbeat_at=1))
    assert value(scrape(api), "adder_workers", state="silent") == 1


def test_a_real_workers_report_is_shown(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    """What a worker calls its numbers is what is looked for."""
    quick = quick_settings(tmp_path, sqlite_url, valkey.url, child_command=TINY_CHILD)
    with running(quick) as site, site.client() as api, fleet(quick) as workers:
        workers.submit([train_spec(labels={"seconds": "1.5"}), train_spec(labels={"do": "fail"})])

        def reported() -> bool:
            ended = {at["cause"]: count for at, count in scrape(api).get("adder_worker_attempts_ended_total", [])}
            return (ended.get("succeeded"), ended.get("diverged")) == (1, 1)

        wait_until(reported, "the worker to report how its attempts ended", every=0.2)
        found = scrape(api)
    for name in (*(f"{name}_total" for name, _ in COUNTERS.values()), *(name for name, _ in GAUGES.values())):
        assert f"adder_worker_{name}" in found
    assert value(found, "adder_worker_lease_renewals_total") >= 1
    assert value(found, "adder_worker_cpu_seconds_total") > 0
    assert value(found, "adder_worker_resident_memory_bytes") > 2**20


def test_a_queue_of_many_priorities_has_a_bounded_number_of_series(lite: Running, lite_api: httpx2.Client) -> None:
    for priority in range(25):
        lite_api.post("/v1/jobs", json=train_body(priority=priority))
    rows = scrape(lite_api)["adder_queue_jobs"]
    assert len(rows) == 21
    assert sum(count for _, count in rows) == 25
    assert [count for at, count in rows if at["priority"] == "other"] == [5]


def test_a_scrape_answers_when_database_and_broker_are_away(
    tmp_path: Path, fresh_postgres_url: str, postgres_url: str
) -> None:
    broker = Valkey(tmp_path / "valkey")
    broker.start()
    try:
        with running(quick_settings(tmp_path, fresh_postgres_url, broker.url)) as site, site.client() as api:
            assert value(scrape(api), "adder_broker_up") == 1
            broker.stop()
            with closed(fresh_postgres_url, postgres_url):
                found = scrape(api)
                assert (value(found, "adder_database_up"), value(found, "adder_broker_up")) == (0, 0)
                assert "adder_jobs" not in found, "what is not known is not said"
                assert value(found, "adder_store_up") == 1
                assert "adder_http_requests_total" in found
            broker.start()
            found = scrape(api)
            assert (value(found, "adder_database_up"), value(found, "adder_broker_up")) == (1, 1)
    finally:
        broker.close()


def test_a_part_that_hangs_holds_up_no_scrape_and_one_thread(tmp_path: Path, sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # takes connections and never answers
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with running(quick_settings(tmp_path, sqlite_url, url)) as site, site.client() as api:
            for _ in range(2):
                found = scrape(api)
                assert (value(found, "adder_broker_up"), value(found, "adder_database_up")) == (0, 1)
                assert [thread.name for thread in threading.enumerate()].count("probe-broker") == 1


def test_a_store_that_takes_nothing_is_down(lite: Running, lite_api: httpx2.Client) -> None:
    incoming = lite.server._app.state.service.store.incoming_dir
    if incoming.exists():
        shutil.rmtree(incoming)
    incoming.parent.mkdir(parents=True, exist_ok=True)
    incoming.write_text("in the way")
    assert value(scrape(lite_api), "adder_store_up") == 0
    incoming.unlink()
    assert value(scrape(lite_api), "adder_store_up") == 1


def test_the_queries_of_a_scrape_go_by_indexes(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read(SERVICE) as session:
        health.snapshot(session)
        event.remove(database.engine, "before_cursor_execute", note)
        connection = session.connection()
        for statement, parameters in statements:
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                scanned = re.match(r"SCAN (jobs|attempts)(?! USING COVERING INDEX)", row[3])
                assert not scanned, f"{row[3]}: {statement}"
    database.dispose()
    assert len(statements) > 5


def test_names_follow_the_conventions(api: httpx2.Client, worker: Worker) -> None:
    beat(worker)
    text = api.get("/metrics").text
    for family in text_string_to_metric_families(text):
        assert family.documentation.strip(), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        else:
            assert not family.name.endswith("_total"), family.name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent)$", family.name), family.name


@pytest.fixture
def known(lite_api: httpx2.Client, lite_worker: Worker) -> set[str]:
    """The names of all series there are."""
    beat(lite_worker)
    lite_api.post("/v1/jobs", json=train_body())
    return set(scrape(lite_api)) | set(scrape(lite_api))


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_there_are(known: set[str]) -> None:
    for rule in alerts():
        expression = re.sub(r'"[^"]*"', '""', rule["expr"])
        asked = set(re.findall(r"\b(?:adder|process)_\w+", expression))
        assert asked, rule["alert"]
        assert asked <= known, f"{rule['alert']} asks for {asked - known}"
        assert {"summary", "description", "runbook"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        causes = re.findall(r'cause=~?"([^"]+)"', rule["expr"])
        assert {cause for one in causes for cause in one.split("|")} <= set(Cause)


def test_promtool_takes_the_alerts() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool on this machine")
    done = subprocess.run([tool, "check", "rules", str(ROOT / "deploy/alerts.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_names_every_metric_and_every_alert(known: set[str]) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("adder_")}
    assert {name for name in families if f"`{name}`" not in page} == set()
    named = {name for name in re.findall(r"`(adder_\w+)`", page) if not name.endswith("_")}
    assert named <= families, "the page names nothing that is not there"
    assert {rule["alert"] for rule in alerts()} == set(re.findall(r"`(Adder[A-Z]\w+)`", page))
