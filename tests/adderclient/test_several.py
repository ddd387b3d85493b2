"""Commands take several ids and all kinds of objects; what fails is named, the others are done."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from adderclient.command import several, sweep_watching, watching
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import attempt, job, model, sweep

MOMENTS = ("2026-11-20T10:00:00.000Z", "2026-11-20T10:00:13.000Z")


def test_what_fails_is_named_and_the_others_are_done(service: Service, adder: Adder) -> None:
    service.jobs = {
        "job_1": job("job_1", "running"),
        "job_2": job("job_2", "succeeded"),
        "job_3": job("job_3", "running"),
    }
    done = adder("pause", "job_1", "job_2", "job_9", "job_3")
    assert done.returncode == 3
    assert done.stdout == "job_1 paused\njob_3 paused\n"
    assert done.stderr == "adder: job_2: The job is succeeded.\nadder: There is no job job_9.\n"
    found = json.loads(adder("resume", "job_1", "job_3", "--json").stdout)
    assert [one["status"] for one in found["data"]] == ["queued", "queued"]
    assert json.loads(adder("cancel", "job_1", "--json").stdout)["id"] == "job_1", "one is itself, not a list of one"
    assert adder("retry", "job_1", "job_2").stdout == "job_0004\njob_0005\n"
    shown = adder("show", "job_1", "job_9", "job_2")
    assert shown.returncode == 3
    assert "job_1" in shown.stdout
    assert "job_2" in shown.stdout


def test_a_server_that_is_away_is_said_once(adder: Adder) -> None:
    done = adder("pause", "job_1", "job_2", "--url", "http://127.0.0.1:1")
    assert done.returncode == 4
    assert done.stderr.count("cannot reach") == 1


def test_several_are_downloaded_into_a_folder_each(service: Service, adder: Adder, tmp_path: Path) -> None:
    service.jobs = {"job_1": job("job_1", "succeeded"), "job_2": job("job_2", "succeeded")}
    service.artifacts = {"job_1": {"log.txt": b"one"}, "job_2": {"log.txt": b"two"}}
    assert adder("download", "job_1", "job_2", "-o", "all").returncode == 0
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt")} == {
        "all/job_1/log.txt",
        "all/job_2/log.txt",
    }


def test_show_and_delete_take_everything(service: Service, adder: Adder) -> None:
    service.jobs = {"job_1": job("job_1", "succeeded")}
    service.models = {"model_1": model("model_1", aliases=["champion"])}
    service.sweeps = {"sweep_1": sweep("sweep_1")}
    service.trials = {"sweep_1": []}
    shown = adder("show", "job_1", "champion", "sweep_1", "digits")
    assert (shown.returncode, shown.stderr) == (0, "")
    for part in ("job_1", "model_1", "sweep_1", "1×32×32"):
        assert part in shown.stdout
    nothing = adder("show", "nothing")
    assert (nothing.returncode, nothing.stderr) == (3, "adder: there is no job, model, sweep or dataset 'nothing'\n")
    done = adder("delete", "job_1", "champion", "sweep_1", "leaves@1", "--yes")
    assert done.returncode == 3, "the stand-in deletes jobs alone"
    assert [path for verb, path, *_ in service.requests if verb == "DELETE"] == [
        "/v1/jobs/job_1",
        "/v1/models/model_1",
        "/v1/sweeps/sweep_1",
    ]


@pytest.mark.parametrize(("answer", "deleted"), [(True, 1), (False, 0)])
def test_deletion_asks_on_a_terminal(
    service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch, answer: bool, deleted: int
) -> None:
    service.jobs = {"job_1": job("job_1", "succeeded")}
    asked: list[str] = []
    monkeypatch.setattr(several, "is_a_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question) or answer)
    done = adder("delete", "job_1")
    assert (done.returncode, len(service.seen("DELETE"))) == ((0, 1) if answer else (130, 0))
    assert asked == ["Delete job job_1?"]
    adder("delete", "job_1", "--yes")
    assert len(asked) == 1


def test_several_are_watched_at_once(service: Service, adder: Adder) -> None:
    service.jobs = {name: job(name, "running") for name in ("job_1", "job_2")}
    service.jobs["job_3"] = job("job_3", "paused", attempt=1)
    service.attempts["job_3"] = [attempt(1, *MOMENTS, "paused")]

    def end() -> None:
        service.finish("job_1", result={"val/accuracy": 0.975})
        service.finish("job_2", "failed", error={"code": "diverged", "message": "No number.", "log_tail": ""})

    threading.Timer(0.5, end).start()
    done = adder("watch", "job_1", "job_2", "job_3", "--interval", "0.1")
    assert done.returncode == 1, "a failure says more than a job that waits"
    assert "val/accuracy 97.50 %" in done.stdout
    assert "No number. (diverged)" in done.stdout
    assert "job_3 is paused and goes on when it is resumed: adder resume job_3" in done.stderr
    assert adder("watch", "job_1", "job_3").returncode == 5
    assert adder("watch", "job_1", "job_1").returncode == 0
    missed = adder("watch", "job_9", "job_1")
    assert (missed.returncode, missed.stdout.count("succeeded")) == (3, 1)
    assert "There is no job job_9." in missed.stderr


def test_a_sweep_whose_jobs_are_all_paused_is_not_watched_for_ever(
    service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_watching, "SECONDS", 0.05)
    counts = {"done": 1, "running": 2, "waiting": 0, "failed": 0, "cancelled": 0, "pruned": 0, "total": 3}
    service.sweeps["sweep_1"] = sweep("sweep_1", "running", progress=counts)
    service.jobs = {name: job(name, "paused") for name in ("job_1", "job_2")}
    for command in (("watch",), ("sweep", "watch")):
        done = adder(*command, "sweep_1", "--interval", "0.1")
        assert done.returncode == 5
        assert "2 jobs are paused: adder resume job_" in done.stderr
    monkeypatch.setattr(watching, "PATIENCE", 0.2)
    service.jobs["job_2"] = job("job_2", "queued", waiting_for="no live worker has a GPU")
    done = adder("watch", "sweep_1", "--interval", "0.1")
    assert done.returncode == 5
    assert "others are queued and cannot start: no live worker has a GPU" in done.stderr
    service.jobs["job_2"] = job("job_2", "running")
    threading.Timer(1.0, lambda: service.sweeps["sweep_1"].update(status="succeeded")).start()
    assert adder("watch", "sweep_1", "--interval", "0.1").returncode == 0, "one goes on"


def test_what_is_copied_asks_the_same_server(service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    service.jobs = {"job_1": job("job_1", "succeeded")}
    service.artifacts = {"job_1": {"log.txt": b"one"}}
    assert adder("show", "job_1").stderr == "Fetch them with: adder download job_1\n", "ADDER_URL says it"
    url = service.url
    monkeypatch.setenv("ADDER_URL", "http://127.0.0.1:1")
    assert (
        adder("show", "job_1", "--url", f"{url}/v1/").stderr == f"Fetch them with: adder download job_1 --url {url}\n"
    )
    monkeypatch.delenv("ADDER_URL")
    assert adder("--url", url, "show", "job_1").stderr == f"Fetch them with: adder download job_1 --url {url}\n"


def test_show_says_what_a_job_cost(service: Service, adder: Adder) -> None:
    counts = {"parameters": 61_942, "operations": {"add": 833_040, "mul": 0}, "energy_joules": 7.5e-7}
    service.jobs = {"job_1": job("job_1", "succeeded", result={"val/accuracy": 0.975, "counts": counts})}
    shown = {line[:17].strip(): line[17:].strip() for line in adder("show", "job_1").stdout.splitlines()}
    assert shown["additions"] == "833,040 an image"
    assert shown["multiplications"] == "0 an image"
    assert shown["energy"].startswith("0.75 µJ an image")
    assert shown["result"] == "val/accuracy 97.50 %"
    service.jobs = {"job_1": job("job_1", "queued")}
    assert "833,888" in adder("show", "job_1").stdout, "of a job without a result the server counts"
