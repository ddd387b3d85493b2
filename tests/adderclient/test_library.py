"""The library against a real server that sometimes breaks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adderclient import (
    ApiError,
    Client,
    ConflictError,
    ConnectionFailed,
    InvalidRequestError,
    JobFailed,
    NotFoundError,
    ServerError,
    WaitTimeout,
)
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import event, job, metric, readiness

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_importing_loads_nothing_of_the_server() -> None:
    code = """
import sys, adderclient, adderclient.command
heavy = {"torch", "numpy", "api", "worker", "jobs", "addercore", "sqlalchemy", "celery", "fastapi", "pydantic_settings"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_submit_get_and_list(service: Service, client: Client) -> None:
    first = client.jobs.submit(SPEC | {"labels": {"study": "eta"}})
    second = client.jobs.submit(SPEC)
    assert first.id != second.id
    assert first.status == "queued"
    assert client.jobs.get(first.id) == first
    assert first.created_at is not None
    assert first.created_at.isoformat() == "2026-11-20T10:00:00.123000+00:00"
    assert first.progress.images_per_second == 900.5
    assert [item.id for item in client.jobs.list(labels={"study": "eta"})] == [first.id]
    assert [item.id for item in client.jobs.list(status="running")] == []


def test_iterate_walks_all_pages(service: Service, client: Client) -> None:
    service.jobs = {f"job_{n:04d}": job(f"job_{n:04d}") for n in range(230)}
    assert [item.id for item in client.jobs.iterate()] == sorted(service.jobs, reverse=True)
    assert len(service.seen("GET /v1/jobs")) == 3


def test_a_newer_server_may_send_more_and_less(service: Service, client: Client) -> None:
    service.of_another_version = True
    service.jobs["job_1"] = {"id": "job_1", "status": "dreaming", "mood": {"deep": True}}
    found = client.jobs.get("job_1")
    assert (found.status, found.raw["mood"]) == ("dreaming", {"deep": True})
    assert not found.finished


@pytest.mark.parametrize("status", [502, 503, 504, 429])
def test_a_get_is_tried_again(service: Service, client: Client, status: int) -> None:
    service.jobs["job_1"] = job("job_1")
    service.break_("GET /v1/jobs/job_1", status=status, times=3)
    assert client.jobs.get("job_1").id == "job_1"
    assert len(service.requests) == 4


def test_tries_end(service: Service, client: Client) -> None:
    service.break_("GET /v1/jobs/job_1", status=503, body={"title": "Gone fishing", "detail": "no database"}, times=9)
    with pytest.raises(ServerError, match="no database"):
        client.jobs.get("job_1")
    assert len(service.requests) == 4


def test_500_and_404_are_not_tried_again(service: Service, client: Client) -> None:
    service.break_("GET /v1/jobs/job_1", status=500)
    with pytest.raises(ServerError):
        client.jobs.get("job_1")
    with pytest.raises(NotFoundError, match="There is no job job_1"):
        client.jobs.get("job_1")
    assert len(service.requests) == 2


def test_retry_after_is_honoured_and_bounded(service: Service, client: Client) -> None:
    service.jobs["job_1"] = job("job_1")
    service.break_("GET", status=503, headers={"Retry-After": "1"})
    began = time.monotonic()
    client.jobs.get("job_1")
    assert time.monotonic() - began >= 1
    service.break_("GET", status=503, headers={"Retry-After": "3600"})
    with pytest.raises(ServerError):
        client.jobs.get("job_1")


def test_a_submit_whose_answer_was_lost_creates_one_job(service: Service, client: Client) -> None:
    service.break_("POST /v1/jobs", status=201, body={"id": "job_0001", "status": "queued"}, cut_after=5)
    submitted = client.jobs.submit(SPEC)
    assert list(service.jobs) == [submitted.id]
    keys = [headers["idempotency-key"] for _, _, headers, _ in service.seen("POST /v1/jobs")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_what_must_not_be_repeated_is_not(service: Service, client: Client) -> None:
    service.jobs["job_1"] = job("job_1", "failed")
    service.break_("POST /v1/jobs/job_1/retry", close_before_answer=True)
    with pytest.raises(ConnectionFailed):
        client.jobs.retry("job_1")
    assert len(service.seen("POST")) == 1


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ConnectionFailed) as caught:
        client.jobs.get("job_1")
    assert url in str(caught.value)
    assert "adder up" in str(caught.value)
    assert "ADDER_URL" in str(caught.value)


def test_a_server_that_never_answers(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.1) as client, pytest.raises(ConnectionFailed, match="no answer in time"):
            client.jobs.get("job_1")


def test_bad_fields_are_named(service: Service, client: Client) -> None:
    errors = [
        {"pointer": "/optimizer/lr", "detail": "must be greater than 0"},
        {"pointer": "/epochs", "detail": "huge"},
    ]
    service.bad_spec = {"title": "Bad", "code": "invalid_spec", "detail": "2 fields are wrong.", "errors": errors}
    with pytest.raises(InvalidRequestError) as caught:
        client.jobs.submit(SPEC)
    error = caught.value
    assert str(error) == "optimizer.lr: must be greater than 0 (/optimizer/lr)\nepochs: huge (/epochs)"
    assert (error.status, error.code, error.errors[0].pointer) == (422, "invalid_spec", "/optimizer/lr")


def test_an_error_that_is_no_problem_document(service: Service, client: Client) -> None:
    service.break_("GET", status=418, body=b"I am a teapot", headers={"Content-Type": "text/plain"})
    with pytest.raises(ApiError, match=r"418.*teapot"):
        client.jobs.get("job_1")


def test_actions(service: Service, client: Client) -> None:
    service.jobs["job_0001"] = job("job_0001", "running")
    assert client.jobs.pause("job_0001").status == "paused"
    assert client.jobs.resume("job_0001").status == "queued"
    assert client.jobs.cancel("job_0001").status == "cancelled"
    with pytest.raises(ConflictError, match="The job is cancelled"):
        client.jobs.resume("job_0001")
    retried = client.jobs.retry("job_0001", "checkpoint")
    assert (retried.retry_of, retried.spec) == ("job_0001", {"from": "checkpoint"})
    continued = client.jobs.continue_training("job_0001", 10, lr=0.01)
    assert (continued.continued_from, continued.spec) == ("job_0001", {"epochs": 10, "lr": 0.01})
    client.jobs.delete("job_0001")
    assert "job_0001" not in service.jobs


def test_an_id_cannot_leave_its_path(service: Service, client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.jobs.get("../system?x=")
    assert service.requests[0][1] == "/v1/jobs/..%2Fsystem%3Fx%3D"


def test_metrics_come_in_pages(service: Service, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adderclient._sync.job_data.METRICS_PAGE", 10)
    service.jobs["job_1"] = job("job_1")
    service.metrics["job_1"] = [metric(n, ("train/loss", "lr")[n % 2], None if n == 4 else n / 2) for n in range(1, 51)]
    assert [point.seq for point in client.jobs.metrics("job_1")] == list(range(1, 51))
    assert [point.seq for point in client.jobs.metrics("job_1", ["lr"], after_seq=40)] == [41, 43, 45, 47, 49]
    assert [point.seq for point in client.jobs.metrics("job_1", limit=13)] == list(range(1, 14))
    assert client.jobs.metrics("job_1", limit=4)[3].value is None


def test_logs(service: Service, client: Client) -> None:
    service.jobs["job_1"] = job("job_1")
    service.logs["job_1"] = "one\ntwo\nthree\n"
    assert list(client.jobs.logs("job_1")) == ["one", "two", "three"]
    assert list(client.jobs.logs("job_1", tail=1, follow=True)) == ["three"]
    assert "follow=true" in service.requests[-1][1]
    with pytest.raises(NotFoundError):
        list(client.jobs.logs("job_2"))


def test_wait(service: Service, client: Client) -> None:
    service.jobs |= {name: job(name, "running") for name in ("job_1", "job_2", "job_3")}
    threading.Timer(0.3, lambda: service.finish("job_1", result={"val/accuracy": 0.9})).start()
    done = client.jobs.wait("job_1", timeout=300)
    assert (done.status, done.result) == ("succeeded", {"val/accuracy": 0.9})
    service.finish("job_2", "failed", error={"code": "diverged", "message": "the loss is NaN", "log_tail": "…"})
    with pytest.raises(JobFailed, match="job_2 failed: the loss is NaN \\(diverged\\)"):
        client.jobs.wait("job_2")
    assert client.jobs.wait("job_2", check=False).error is not None
    with pytest.raises(WaitTimeout, match="still running"):
        client.jobs.wait("job_3", timeout=0)


def test_wait_bears_an_outage(service: Service, client: Client) -> None:
    service.jobs["job_1"] = job("job_1", "running")
    threading.Timer(0.6, lambda: service.finish("job_1")).start()
    threading.Timer(0.1, lambda: service.break_("GET /v1/jobs/job_1", status=503, times=9)).start()
    assert client.jobs.wait("job_1", timeout=300).status == "succeeded"


def a_job_with_a_stream(service: Service) -> None:
    service.jobs["job_1"] = job("job_1", "running")
    service.metrics["job_1"] = [metric(n, value=1 / n) for n in range(1, 8)]
    service.events["job_1"] = [event(8)]


def test_stream_goes_on_after_drops_without_loss(service: Service, client: Client) -> None:
    a_job_with_a_stream(service)
    service.break_("GET /v1/jobs/job_1/stream", cut_after=3)
    service.break_("GET /v1/jobs/job_1/stream", status=503)
    service.break_("GET /v1/jobs/job_1/stream", cut_after=2)
    service.break_("GET /v1/jobs/job_1/stream", close_before_answer=True)
    threading.Timer(0.3, lambda: service.finish("job_1")).start()
    seen = list(client.jobs.stream("job_1"))
    rows = [item for item in seen if item.type != "status"]
    assert [item.id for item in rows] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert rows[3].metric is not None
    assert rows[3].metric.value == 0.25
    assert rows[7].event is not None
    assert rows[7].event.message == "one is done"
    assert [item.status for item in seen if item.type == "status"] == ["running", "running", "running", "succeeded"]
    assert (seen[-1].status, seen[-1].id) == ("succeeded", "8")
    last_ids = [headers.get("last-event-id") for _, _, headers, _ in service.seen("GET /v1/jobs/job_1/stream")]
    assert last_ids == [None, "3", "3", "5", "5"]


def test_stream_from_a_given_event(service: Service, client: Client) -> None:
    a_job_with_a_stream(service)
    service.finish("job_1")
    assert [(item.type, item.id) for item in client.jobs.stream("job_1", "6")] == [
        ("metric", "7"),
        ("event", "8"),
        ("status", "8"),
    ]
    assert [item.status for item in client.jobs.stream("job_1", "8")] == ["succeeded"]


def test_a_stream_that_ends_without_a_final_status(service: Service, client: Client) -> None:
    """Some proxy ended it in order: the job says whether that was the end."""
    a_job_with_a_stream(service)
    headers = {"Content-Type": "text/event-stream"}
    service.break_("GET /v1/jobs/job_1/stream", status=200, body=b"id: 5\nevent: note\ndata: {}\n\n", headers=headers)
    service.break_("GET /v1/jobs/job_1/stream", status=200, body=b": nothing\n\n", headers=headers)
    service.finish("job_1")
    assert [item.id for item in client.jobs.stream("job_1")] == ["5"]
    service.jobs["job_1"]["status"] = "running"
    threading.Timer(0.2, lambda: service.finish("job_1")).start()
    assert [item.id for item in client.jobs.stream("job_1")][-1] == "8"


def test_stream_gives_up_at_last(service: Service, client: Client) -> None:
    a_job_with_a_stream(service)
    service.break_("GET /v1/jobs/job_1/stream", close_before_answer=True, times=99)
    with pytest.raises(ConnectionFailed):
        list(client.jobs.stream("job_1"))
    assert len(service.requests) == 8
    with pytest.raises(NotFoundError):
        list(client.jobs.stream("job_2"))


def test_models(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"tensors")
    (tmp_path / "model.json").write_text("{}")
    model = client.models.import_(tmp_path / "model.safetensors", tmp_path / "model.json")
    assert model.source == "imported"
    body = service.requests[-1][3]
    assert b'name="weights"; filename="model.safetensors"' in body
    assert b'name="manifest"; filename="model.json"' in body
    assert [item.id for item in client.models.iterate()] == [model.id]
    assert client.models.get(model.id) == model
    assert client.models.predict(model.id, [[0.0, 1.0]])["label"] == "one"
    assert json.loads(service.requests[-1][3]) == {"array": [[0.0, 1.0]]}


def test_readiness_and_system(service: Service, client: Client) -> None:
    assert client.ready().ready
    service.ready = (503, readiness(False, "none is alive"))
    unready = client.ready()
    assert not unready.ready
    assert unready.checks["worker"]["detail"] == "none is alive"
    assert client.system()["versions"]["adderworks"] == "0.1.0"
    assert client.datasets.get("digits").name == "digits"
    assert [item.name for item in client.datasets.list()] == ["digits"]


def test_url_and_key_come_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDER_URL", service.url + "/")
    monkeypatch.setenv("ADDER_API_KEY", "secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be asked for this machine
    with Client() as client:
        client.system()
    assert service.requests[-1][2]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(Exception, match="URL"):
        Client(url)
