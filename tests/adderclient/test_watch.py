"""Watching ends with a word where a job does not go on by itself; durations are those of the attempts."""

from __future__ import annotations

import json
import threading

import pytest

from adderclient import Client
from adderclient.command import watching
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import attempt, job, sweep, trial

DAY = "2026-11-20T"


def paused_once(service: Service) -> None:
    """A job that ran for 13 s, was paused for an hour, and ran for another 10 s."""
    service.jobs["job_1"] = job("job_1")
    service.finish(
        "job_1", attempt=2, run_seconds=23.0, finished_at=f"{DAY}11:00:23.000Z", started_at=f"{DAY}10:00:00.000Z"
    )
    service.attempts["job_1"] = [
        attempt(1, f"{DAY}10:00:00.000Z", f"{DAY}10:00:13.000Z", "paused"),
        attempt(2, f"{DAY}11:00:13.000Z", f"{DAY}11:00:23.000Z", "succeeded"),
    ]


def test_a_duration_is_that_of_the_attempts(service: Service, adder: Adder, client: Client) -> None:
    paused_once(service)
    assert client.jobs.run_seconds(client.jobs.get("job_1")) == 23.0
    assert service.seen("GET /v1/jobs/job_1/attempts") == []
    assert "ran for 23 s" in adder("watch", "job_1").stderr
    shown = adder("show", "job_1").stdout
    assert "23 s" in shown
    assert "1 h 00 min" not in shown


def test_the_attempts_are_added_up_where_the_server_does_not(service: Service, client: Client) -> None:
    paused_once(service)
    service.of_another_version = True
    del service.jobs["job_1"]["run_seconds"]
    assert client.jobs.run_seconds(client.jobs.get("job_1")) == 23.0


def test_watching_a_paused_job_says_how_it_goes_on(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1", "paused", attempt=1)
    service.attempts["job_1"] = [attempt(1, f"{DAY}10:00:00.000Z", f"{DAY}10:00:13.000Z", "paused")]
    done = adder("watch", "job_1")
    assert done.returncode == 5
    assert "job_1 is paused and goes on when it is resumed: adder resume job_1" in done.stderr
    told = json.loads(adder("watch", "job_1", "--json").stdout)
    assert told["status"] == "paused"


def test_a_job_that_is_paused_meanwhile_says_why(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1", "running", attempt=1)
    full = attempt(1, f"{DAY}10:00:00.000Z", f"{DAY}10:00:13.000Z", "disk_full", message="No space is left.")

    def pause() -> None:
        service.attempts["job_1"] = [full]
        service.jobs["job_1"] |= {"status": "paused"}

    threading.Timer(0.5, pause).start()
    done = adder("watch", "job_1", "--interval", "0.1")
    assert done.returncode == 5
    assert "job_1 is paused (No space is left) and goes on" in done.stderr


def test_watching_a_job_that_nobody_can_run_ends_after_a_while(
    service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.3)
    service.jobs["job_1"] = job("job_1", waiting_for="no live worker has a GPU")
    done = adder("watch", "job_1", "--interval", "0.1")
    assert done.returncode == 5
    assert "queued  no live worker has a GPU" in done.stderr
    assert "job_1 is queued and cannot start: no live worker has a GPU" in done.stderr


def test_a_worker_that_comes_in_time_is_waited_for(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1", waiting_for="there is no live worker")
    threading.Timer(0.5, lambda: service.finish("job_1", waiting_for=None)).start()
    assert adder("watch", "job_1", "--interval", "0.1").returncode == 0


def test_the_exit_code_is_documented(adder: Adder) -> None:
    assert "5 what was watched is paused" in " ".join(adder("--help").stdout.split())


def test_a_trial_whose_job_is_queued_or_paused_is_not_shown_as_running(service: Service, adder: Adder) -> None:
    service.sweeps["sweep_1"] = sweep("sweep_1")
    service.trials["sweep_1"] = [
        trial(0, "succeeded", "succeeded", value=0.9861, seconds=3.0),
        trial(1, "running", "running"),
        trial(2, "running", "queued"),
        trial(3, "running", "paused"),
        trial(4, "cancelled", "cancelled"),
    ]
    shown = adder("sweep", "show", "sweep_1").stdout
    states = [line.split()[1] for line in shown.splitlines() if line.strip()[:1].isdigit()]
    assert states == ["succeeded", "running", "queued", "paused", "cancelled"]
    assert "98.61 %" in shown


def test_a_sweep_counts_its_trials_in_the_servers_words(service: Service, adder: Adder) -> None:
    counts = {"done": 1, "running": 0, "waiting": 0, "failed": 0, "cancelled": 2, "pruned": 0, "total": 3}
    service.sweeps["sweep_1"] = sweep("sweep_1", "cancelled", progress=counts)
    service.trials["sweep_1"] = []
    shown = adder("sweep", "show", "sweep_1").stdout
    assert "1/3 done, 2 cancelled" in shown
    assert "failed" not in shown


def test_compare_shows_accuracies_in_per_cent_and_durations_of_the_attempts(service: Service, adder: Adder) -> None:
    def side(identity: str) -> dict[str, object]:
        whole = job(identity, "succeeded")
        own = {"seconds": 23.0, "counts": {"parameters": 61_942, "energy_joules": 7.5e-7}}
        names = ("id", "kind", "status", "spec", "labels", "created_at", "finished_at", "result", "model_id")
        return {name: whole[name] for name in names} | own

    service.compared = {
        "jobs": [side("job_0001"), side("job_0002")],
        "differences": [{"pointer": "/seed", "values": [0, 1]}],
        "metrics": ["val/accuracy"],
        "results": {"val/accuracy": [0.9583, None]},
    }
    rows = {line.split("  ")[0]: line for line in adder("compare", "job_0001", "job_0002").stdout.splitlines()}
    assert rows["val/accuracy"].split() == ["val/accuracy", "95.83", "%", "–"]
    assert rows["ran for"].count("23 s") == 2
    assert "0.75" in rows["energy, µJ an image"]
    assert "61,942" in rows["parameters"]
    as_csv = adder("compare", "job_0001", "job_0002", "--csv").stdout.splitlines()
    assert as_csv[0] == "what,job_0001,job_0002"
    assert {"/seed,0,1", "val/accuracy,0.9583,", "ran for,23.0,23.0", "parameters,61942,61942"} <= set(as_csv)
    assert json.loads(adder("compare", "job_0001", "job_0002", "--json").stdout) == service.compared
    first = adder("compare", "job_0001", "job_0002", "--sort", "what", "--limit", "1", "--columns", "what,job_0002")
    assert [line.split() for line in first.stdout.splitlines()] == [["…job_0002"], ["/seed", "1"]]
