"""The client against a server that breaks on purpose or is of another version, as the real one is on no request."""

from __future__ import annotations

import socket
import threading
import time
import traceback

import pytest

from adderclient import ApiError, Client, ConnectionFailed, NotFoundError, ServerError
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import event, job, metric

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ConnectionFailed) as caught:
        client.jobs.get("job_1")
    assert url in str(caught.value)
    assert "adder up" in str(caught.value)
    assert "ADDER_URL" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "httpx" not in shown, "the transport's own traceback"
    assert "During handling" not in shown


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


def test_a_server_that_never_answers(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.1) as client, pytest.raises(ConnectionFailed, match="no answer in time"):
            client.jobs.get("job_1")


def test_an_error_that_is_no_problem_document(service: Service, client: Client) -> None:
    service.break_("GET", status=418, body=b"I am a teapot", headers={"Content-Type": "text/plain"})
    with pytest.raises(ApiError, match=r"418.*teapot"):
        client.jobs.get("job_1")


def test_an_id_cannot_leave_its_path(service: Service, client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.jobs.get("../system?x=")
    assert service.requests[0][1] == "/v1/jobs/..%2Fsystem%3Fx%3D"


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


def test_url_and_key_come_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDER_URL", service.url + "/")
    monkeypatch.setenv("ADDER_API_KEY", "secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be asked for this machine
    with Client() as client:
        client.system()
    assert service.requests[-1][2]["authorization"] == "Bearer secret"
