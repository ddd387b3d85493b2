"""Real workers that are drained, killed by a job, or left without a broker, steered by the real API and command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adderclient import Client, WorkerBusy
from jobs.access.scope import DEFAULT
from jobs.repository import lifecycle
from jobs.settings import Settings
from jobs.states import Cause, FailureCode, Status
from jobs.tables import Attempt
from tests.api.conftest import running as serving
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, Fleet, fleet, violations
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec

POINTS = 40


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    """A broker of this test's own, to be ill-treated."""
    server = Valkey(tmp_path / "broker")
    server.start()
    yield server
    server.close()


@pytest.fixture
def tiny(tmp_path: Path, sqlite_url: str, broker: Valkey) -> Settings:
    return quick_settings(tmp_path, sqlite_url, broker.url, child_command=TINY_CHILD, lease_seconds=6.0)


def queue_silently(running: Fleet, count: int = 1) -> list[str]:
    """Jobs whose wake-ups are never sent."""
    with running.database.write(DEFAULT) as session:
        return [lifecycle.submit(session, train_spec()).job.id for _ in range(count)]


def adder(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from adderclient.command import main; main()", *arguments]
    return subprocess.run(
        command, env=os.environ | {"ADDER_URL": url}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.long("five workers start")
def test_drained_workers_finish_or_hand_over_and_come_back(tiny: Settings) -> None:
    with serving(tiny) as site, Client(site.url) as client, fleet(tiny, workers=1) as running:
        finished = running.submit([train_spec(labels={"seconds": "10", "points": str(POINTS)})])[0]
        running.wait_status(finished, Status.RUNNING)
        (worker,) = client.workers.list()
        assert (worker.state, worker.running) == ("active", 1)
        assert client.workers.drain(worker.id[:-2]).state == "draining"
        with pytest.raises(WorkerBusy):
            client.workers.wait_drained(worker.id, timeout=0)
        waiting = running.submit(
            [train_spec(labels={"do": "checkpoint", "seconds": "60", "later": "2", "points": str(POINTS)})]
        )[0]
        client.workers.wait_drained(worker.id, timeout=300)
        assert running.job(finished).status == Status.SUCCEEDED
        assert running.job(waiting).attempt == 0, "a drained worker claims nothing"
        listed = adder(site.url, "worker", "list")
        assert "drained" in listed.stdout, listed.stderr

        assert adder(site.url, "worker", "undrain", worker.id).returncode == 0
        wait_until(lambda: (running.job(waiting).progress or {}).get("step", 0) >= 5, "the other job to run")
        done = adder(site.url, "worker", "drain", worker.hostname, "--hand-over", "--wait")
        assert done.returncode == 0, done.stderr
        job = running.job(waiting)
        assert (job.status, job.faults, job.attempt) == (Status.QUEUED, 0, 1)
        assert [one.cause for one in client.jobs.attempts(waiting)] == [Cause.HANDED_BACK]
        assert running.workers[0].poll() is None, "it stays alive"
        client.workers.undrain(worker.id)
        running.wait_final([waiting])
        assert violations(running.database, waiting, POINTS) == []
        shown = adder(site.url, "show", waiting)
        assert "handed_back" in shown.stdout


def test_an_unheard_of_worker_is_a_sentence_and_an_exit_code(tiny: Settings) -> None:
    with serving(tiny) as site:
        done = adder(site.url, "worker", "drain", "worker_gone")
    assert done.returncode == 3
    assert "no live worker 'worker_gone'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long("a broker is ended and started three times")
def test_a_worker_goes_on_whatever_befalls_the_broker(tiny: Settings, broker: Valkey) -> None:
    with fleet(tiny) as running:
        running.wait_final(running.submit([train_spec()]))
        broker.stop(signal.SIGKILL)
        running.wait_final(queue_silently(running, 3))

        broker.start()
        with broker.client() as client:
            client.flushall()
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
        running.wait_final(queue_silently(running))
        with broker.client() as client:
            client.config_set("maxmemory", "0")

        os.kill(broker.pid, signal.SIGSTOP)
        running.wait_final(queue_silently(running))
        os.kill(broker.pid, signal.SIGCONT)

        last = running.wait_final(running.submit([train_spec()]))
        assert [job.status for job in last] == [Status.SUCCEEDED]
        assert running.workers[0].poll() is None, "the same process all along"
        running.workers[0].terminate()
        assert running.workers[0].wait(timeout=300) == 0


def test_a_worker_starts_and_stops_without_a_broker(tiny: Settings, broker: Valkey) -> None:
    broker.stop()
    with fleet(tiny) as running:
        running.wait_final(queue_silently(running))
        held = queue_silently(running)[0]
        with running.database.write(DEFAULT) as session:
            job = lifecycle.get(session, held)
            job.spec = job.spec | {"labels": {"seconds": "60", "points": "600"}}
        running.wait_status(held, Status.RUNNING)
        running.workers[0].terminate()
        assert running.workers[0].wait(timeout=300) == 0
        assert (running.job(held).status, running.job(held).faults) == (Status.QUEUED, 0)


def test_a_worker_that_is_stopped_before_its_consumer_runs_hands_its_job_back(tiny: Settings) -> None:
    with fleet(tiny, 0) as running:
        held = queue_silently(running)[0]
        with running.database.write(DEFAULT) as session:
            job = lifecycle.get(session, held)
            job.spec = job.spec | {"labels": {"seconds": "60", "points": "600"}}
        running.start()
        running.wait_status(held, Status.RUNNING)
        running.workers[0].terminate()
        assert running.workers[0].wait(timeout=300) == 0
        assert (running.job(held).status, running.job(held).faults) == (Status.QUEUED, 0)


@pytest.mark.long("three workers die one after the other")
def test_a_job_that_kills_its_workers_fails_and_takes_nobody_along(tiny: Settings) -> None:
    settings = tiny.model_copy(update={"worker_slots": 3, "lease_seconds": 1.5})
    ended = threading.Event()
    with fleet(settings) as running:

        def restart() -> None:
            """As a container's restart policy does."""
            while not ended.is_set():
                if running.workers[-1].poll() is not None:
                    running.start()
                time.sleep(0.1)

        supervisor = threading.Thread(target=restart)
        supervisor.start()
        try:
            innocent = [train_spec(labels={"seconds": "2", "points": "4"})] * 5
            poison = running.submit([train_spec(labels={"do": "poison", "seconds": "1"}, priority=1)])[0]
            others = running.submit(innocent)
            jobs = running.wait_final([poison, *others], seconds=300)
        finally:
            ended.set()
            supervisor.join()
        error = running.job(poison).error
        assert error is not None
        assert error["code"] == FailureCode.WORKER_LOST
        assert "Its worker was lost 3 times" in error["message"]
        assert {job.id: job.status for job in jobs if job.id != poison} == dict.fromkeys(others, Status.SUCCEEDED)
        assert [text for job_id in others for text in violations(running.database, job_id, 4)] == []
        assert len(running.workers) == 4, "it was lost with three of them"
        with running.database.read(DEFAULT) as session:
            rows = session.query(Attempt).filter_by(job_id=poison)
            assert [row.cause for row in rows] == [Cause.WORKER_LOST] * 3
            last = session.get_one(Attempt, (poison, 3))
            for other in session.query(Attempt).where(Attempt.worker_id == last.worker_id, Attempt.job_id != poison):
                apart = other.started_at >= last.ended_at or other.ended_at <= last.started_at
                assert apart, "its last attempt ran alone"
