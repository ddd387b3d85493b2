"""The ``adder`` command as a user runs it: processes, exit codes, stdout apart from stderr."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import event, job, metric

SPEC = """\
kind: train
model: {arch: lenet5_bn}
dataset: {name: digits}
optimizer: {lr: 0.1, weight_decay: 5e-4}
"""


def test_submit_yaml_with_overrides(service: Service, adder: Adder, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = adder("submit", "spec.yaml", "--set", "optimizer.lr=5e-2", "--set", "labels.study=eta", "--set", "epochs=3")
    assert (done.returncode, done.stdout) == (0, "job_0001\n")
    spec = service.jobs["job_0001"]["spec"]
    assert spec["optimizer"] == {"lr": 0.05, "weight_decay": 5e-4}
    assert (spec["labels"], spec["epochs"]) == ({"study": "eta"}, 3)


def test_submit_from_stdin_as_json(service: Service, adder_process: Adder) -> None:
    done = adder_process("submit", "-", "--json", stdin=json.dumps({"kind": "train"}))
    assert json.loads(done.stdout)["id"] == "job_0001"
    assert done.stderr == ""


def test_the_same_idempotency_key_makes_one_job(service: Service, adder: Adder) -> None:
    for _ in range(2):
        assert adder("submit", "-", "--idempotency-key", "k", stdin=SPEC).stdout == "job_0001\n"
    assert len(service.jobs) == 1


def test_validate_only(service: Service, adder: Adder) -> None:
    done = adder("submit", "-", "--validate-only", stdin=SPEC)
    assert done.returncode == 0
    assert "833,888" in done.stdout
    assert "conv1" in done.stdout
    assert (
        json.loads(adder("submit", "-", "--validate-only", "--json", stdin=SPEC).stdout)["model"]["parameters"] == 61706
    )
    assert service.jobs == {}


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        ("- a\n- b", (), "a spec is a mapping"),
        ("", (), "this is empty"),
        ("{a: [", (), "not YAML"),
        (SPEC, ("--set", "epochs"), "name=value"),
        (SPEC, ("--set", "kind.x=1"), "kind is a text"),
        (SPEC, ("--set", "epochs=[1"), "not YAML"),
    ],
)
def test_bad_specs(adder: Adder, content: str, arguments: tuple[str, ...], said: str) -> None:
    done = adder("submit", "-", *arguments, stdin=content)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_spec_the_server_refuses(service: Service, adder: Adder) -> None:
    errors = [{"pointer": "/optimizer/lr", "detail": "must be greater than 0"}]
    service.bad_spec = {"title": "Bad", "detail": "x", "errors": errors}
    done = adder("submit", "-", stdin=SPEC)
    assert done.returncode == 2
    assert "optimizer.lr: must be greater than 0 (/optimizer/lr)" in done.stderr


def test_exit_codes(service: Service, adder_process: Adder) -> None:
    adder = adder_process
    assert adder("show", "job_9").returncode == 3
    service.jobs["job_1"] = job("job_1", "succeeded")
    assert adder("pause", "job_1").returncode == 3
    service.break_("GET", status=500)
    assert adder("show", "job_1").returncode == 4
    assert adder("--nonsense").returncode == 2
    assert adder("show", "job_1", "--url", "nonsense").returncode == 2
    unreachable = adder("jobs", ADDER_URL="http://127.0.0.1:1")
    assert unreachable.returncode == 4
    assert "adder up" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr
    assert adder("--url", service.url, "jobs", ADDER_URL="http://127.0.0.1:1").returncode == 0


def test_jobs_listing(service: Service, adder: Adder) -> None:
    service.jobs = {f"job_{n:04d}": job(f"job_{n:04d}", labels={"n": str(n)}) for n in range(150)}
    listed = adder("jobs", "--limit", "120", "--json")
    page = json.loads(listed.stdout)
    assert len(page["data"]) == 120
    assert page["has_more"]
    assert len(json.loads(adder("jobs", "-n", "100", "--json", "--after", page["next"]).stdout)["data"]) == 30
    shown = adder("jobs", "--label", "n:7", "--status", "queued", "--kind", "train")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["JOB", "job_0007"]
    assert "lenet5_bn adder on digits" in shown.stdout
    assert adder("jobs", "--status", "dreaming").returncode == 2
    assert adder("jobs", "--label", "x").returncode == 2


def test_show(service: Service, adder: Adder) -> None:
    error = {"code": "diverged", "message": "The loss is not a number.", "log_tail": "step 3 [bold]"}
    service.jobs["job_1"] = job("job_1", "failed", error=error, labels={"odd": "[/red]"})
    service.artifacts["job_1"] = {"log.txt": b"text"}
    shown = adder("show", "job_1").stdout
    for part in ("job_1", "failed", "The loss is not a number. (diverged)", "step 3 [bold]", "[/red]", "log.txt"):
        assert part in shown
    assert json.loads(adder("show", "job_1", "--json").stdout) == service.jobs["job_1"]


def test_a_queued_job_says_where_it_stands(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1", queue_position=3)
    service.jobs["job_2"] = job("job_2", queue_position=4, estimated_start_at="2026-11-20T10:00:05.000Z")
    service.jobs["job_3"] = job("job_3", queue_position=1, waiting_for="no live worker has a GPU")
    listed = {line.split()[0]: line for line in adder("jobs").stdout.splitlines()}
    assert "3 in queue" in listed["job_1"]
    assert "4 in queue, starts in 0 s" in listed["job_2"], "that moment has passed: it may start at any time"
    assert "no live worker has a GPU" in listed["job_3"]
    assert "2026-11-20 10:00:05" in adder("show", "job_2").stdout
    assert "no live worker has a GPU" in adder("show", "job_3").stdout


def test_actions(service: Service, adder: Adder) -> None:
    service.jobs["job_0001"] = job("job_0001", "running")
    assert adder("pause", "job_0001").stdout == "job_0001 paused\n"
    assert adder("resume", "job_0001").stdout == "job_0001 queued\n"
    assert json.loads(adder("cancel", "job_0001", "--json").stdout)["status"] == "cancelled"
    assert adder("retry", "job_0001", "--from", "checkpoint").stdout == "job_0002\n"
    assert adder("continue", "job_0001", "--epochs", "10").stdout == "job_0003\n"
    assert "continued from" in adder("show", "job_0003").stdout
    assert adder("delete", "job_0001").returncode == 0
    assert list(service.jobs) == ["job_0002", "job_0003"]


def test_watch_to_success_and_failure(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1", "running")
    service.metrics["job_1"] = [
        metric(1, "train/loss", 0.4321),
        metric(2, "val/accuracy", 0.975),
    ]
    threading.Timer(1.5, lambda: service.finish("job_1", result={"val/accuracy": 0.975}, model_id="model_1")).start()
    done = adder("watch", "job_1", "--interval", "0.1")
    assert done.returncode == 0
    assert "epoch 1/4  loss 0.4321  val accuracy 97.50 %" in done.stderr
    assert "model_1" in done.stdout
    assert json.loads(adder("watch", "job_1", "--json").stdout)["status"] == "succeeded"
    service.finish(
        "job_1", "failed", error={"code": "out_of_memory", "message": "Out of memory.", "log_tail": "last words"}
    )
    failed = adder("watch", "job_1")
    assert failed.returncode == 1
    assert "Out of memory. (out_of_memory)" in failed.stderr
    assert "last words" in failed.stderr
    assert "curves" not in failed.stderr
    service.artifacts["job_1"] = {"curves.png": b"png", "log.txt": b"text"}
    assert "Its curves up to there are kept; fetch them with: adder download job_1" in adder("watch", "job_1").stderr


def test_interrupting_watch_leaves_the_job(service: Service) -> None:
    service.jobs["job_1"] = job("job_1", "running")
    # Where a shell started the tests in the background they inherited that SIGINT is ignored.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heard}; from adderclient.command import main; main()", "watch", "job_1"]
    environment = {**os.environ, "ADDER_URL": service.url}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stderr is not None
        assert "running" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=300)
    assert watching.returncode == 130
    assert "job_1 goes on" in said
    assert "Traceback" not in said
    assert service.jobs["job_1"]["status"] == "running"


def test_metrics_events_and_logs(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1")
    service.metrics["job_1"] = [metric(1), metric(2, "lr", None)]
    service.events["job_1"] = [event(n, f"no {n}") for n in range(25)]
    service.logs["job_1"] = "one\ntwo [not markup]\n"
    rows = list(csv.DictReader(io.StringIO(adder("metrics", "job_1", "--csv").stdout)))
    assert [(row["name"], row["value"]) for row in rows] == [("train/loss", "0.5"), ("lr", "")]
    listed = json.loads(adder("metrics", "job_1", "--json", "--name", "lr").stdout)["data"]
    assert listed == [
        {"seq": 2, "name": "lr", "step": 2, "epoch": 0, "value": None, "time": "2026-11-20T10:00:00.123Z"}
    ]
    assert "train/loss" in adder("metrics", "job_1").stdout
    assert len(json.loads(adder("events", "job_1", "--json").stdout)["data"]) == 25
    assert "no 24" in adder("events", "job_1").stdout
    assert adder("logs", "job_1", "--tail", "1").stdout == "two [not markup]\n"


def test_download(service: Service, adder: Adder, tmp_path: Path) -> None:
    service.jobs["job_1"] = job("job_1", "succeeded")
    service.artifacts["job_1"] = {"model.safetensors": b"t" * 5000, "log.txt": b"text"}
    done = adder("download", "job_1")
    assert done.stdout.splitlines() == ["job_1/model.safetensors", "job_1/log.txt"]
    assert (tmp_path / "job_1" / "model.safetensors").read_bytes() == b"t" * 5000
    assert len(json.loads(adder("download", "job_1", "-o", "x", "--name", "log.txt", "--json").stdout)["data"]) == 1
    service.published["log.txt"] = "0" * 64
    broken = adder("download", "job_1", "-o", "y", "--name", "log.txt")
    assert broken.returncode == 4
    assert "sha256" in broken.stderr
    (tmp_path / "file").touch()
    assert adder("download", "job_1", "-o", "file").returncode == 2


def test_models_predict_and_the_rest(service: Service, adder: Adder, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"tensors")
    assert adder("import", "m.safetensors", "--manifest", "m.json").returncode == 2
    assert adder("import", "m.safetensors").stdout == "model_0001\n"
    assert "goes with --from-authors alone" in adder("import", "m.safetensors", "--dataset", "mnist").stderr
    refused = adder("import", "--from-authors", "m.safetensors")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "m.safetensors is no file of torch.save" in refused.stderr
    service.models["model_0001"] |= {"arch": "lenet5_bn", "metrics": {"val/accuracy": 0.5}, "parameters": 61706}
    assert "50.00 %" in adder("models").stdout
    assert json.loads(adder("show", "model_0001", "--json").stdout)["arch"] == "lenet5_bn"
    (tmp_path / "digit.png").write_bytes(b"picture")
    predicted = adder("predict", "model_0001", "digit.png", "--top", "1").stdout.split()
    assert predicted[-3:] == ["one", "87.50", "%"]
    assert adder("predict", "model_0001", "nothing.png").returncode == 2
    assert "digits" in adder("datasets").stdout
    assert json.loads(adder("system", "--json").stdout)["ready"] is True


def test_help_names_the_exit_codes(adder: Adder) -> None:
    done = adder("--help")
    assert done.returncode == 0
    assert "Exit codes: 0 done; 1 the job failed" in " ".join(done.stdout.split())
