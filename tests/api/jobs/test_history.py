"""What is read back of a job: metrics, events, logs, and the stream that must equal them."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from api.http.accept import preferred
from jobs.access.scope import DEFAULT
from jobs.states import Status
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_body


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streaming.job_changes.POLL_SECONDS", 0.05)


def submitted(api: httpx2.Client) -> str:
    return f"/v1/jobs/{api.post('/v1/jobs', json=train_body()).json()['id']}"


Frame = tuple[str, str | None, dict[str, Any]]


def frames(lines: Any) -> Any:
    """(event, id, data) of a stream's lines, as they come."""
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            if "data" in event:
                yield event["event"], event.get("id"), json.loads(event["data"])
            event = {}


def streamed(api: httpx2.Client, path: str, **headers: str) -> list[Frame]:
    with api.stream("GET", f"{path}/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(frames(answer.iter_lines()))


def test_metrics_are_read_in_pieces(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    claim = worker.claim()
    worker.metrics(claim, 1, 25)
    worker.metrics(claim, 1, 3, name="val/accuracy")
    page = api.get(f"{path}/metrics", params={"limit": 10}).json()
    points = page["data"]
    assert page["has_more"]
    while page["has_more"]:
        page = api.get(f"{path}/metrics", params={"limit": 10, "after": page["next"]}).json()
        points += page["data"]
    assert page["next"] is None
    assert [point["seq"] for point in points] == sorted({point["seq"] for point in points})
    assert len(points) == 28
    assert points == api.get(f"{path}/metrics").json()["data"]
    assert points[9] | {"seq": 0} == {
        "seq": 0, "name": "train/loss", "step": 10, "epoch": 0, "value": None, "time": "2025-11-21T03:00:00.133Z",
    }  # fmt: skip
    later = api.get(f"{path}/metrics", params={"after_seq": points[20]["seq"], "name": "val/accuracy"}).json()
    assert [(point["name"], point["step"]) for point in later["data"]] == [("val/accuracy", n) for n in (1, 2, 3)]
    again = api.get(f"{path}/metrics", params={"after_seq": points[-1]["seq"]}).json()
    assert again == {"data": [], "has_more": False, "next": None}


def test_metrics_as_csv(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    worker.metrics(worker.claim(), 1, 1500)
    answer = api.get(f"{path}/metrics", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    points = api.get(f"{path}/metrics", params={"limit": 10_000}).json()["data"]
    assert len(rows) == len(points) == 1500
    for row, point in zip(rows, points, strict=True):
        assert row["value"] == ("" if point["value"] is None else repr(point["value"]))
        assert (int(row["seq"]), row["name"], row["time"]) == (point["seq"], point["name"], point["time"])
    some = api.get(f"{path}/metrics", params={"limit": 2}, headers={"Accept": "text/csv"})
    assert len(some.text.splitlines()) == 3
    assert api.get(f"{path}/metrics", headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("text/csv;q=0.9, application/json", "json"),
        ("text/csv;q=0, */*", "json"),
        ("TEXT/CSV", "csv"),
        ("text/csv;q=bad", None),
        ("application/json;q=0, text/csv;q=0", None),
        ("text/html", None),
    ],
)
def test_accept_is_weighed(accept: str | None, kind: str | None) -> None:
    names = {"json": "application/json", "csv": "text/csv", None: None}
    assert preferred(accept, ("application/json", "text/csv")) == names[kind]


def test_events_tell_the_states(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    worker.finish(worker.claim())
    events = api.get(f"{path}/events").json()["data"]
    assert [event["data"]["to"] for event in events if event["type"] == "status"] == ["queued", "running", "succeeded"]
    page = api.get(f"{path}/events", params={"limit": 1}).json()
    rest = api.get(f"{path}/events", params={"after": page["next"]}).json()
    assert page["data"] + rest["data"] == events


def test_logs_whole_and_tail(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    claim = worker.claim()
    assert api.get(f"{path}/logs").text == ""
    for n in range(120):
        worker.log(claim, f"epoch {n} × fine\n")
    whole = api.get(f"{path}/logs")
    assert whole.text == "".join(f"epoch {n} × fine\n" for n in range(120))
    assert whole.headers["content-type"].startswith("text/plain")
    assert api.get(f"{path}/logs", params={"tail": 2}).text == "epoch 118 × fine\nepoch 119 × fine\n"
    assert api.get(f"{path}/logs", params={"tail": 0}).text == ""


def test_a_line_of_the_log_ends_with_a_line_feed_and_nothing_else(lite_api: httpx2.Client, lite_worker: Worker) -> None:
    """A progress bar writes carriage returns; a form feed or a line separator may stand in any text."""
    path = submitted(lite_api)
    claim = lite_worker.claim()
    bar = "10 %\r20 %\r100 %\x0c\x0b\x1c\x85\u2028done\n"
    lite_worker.log(claim, f"one\n{bar}")
    lite_worker.log(claim, "last, not ended")
    tails = [lite_api.get(f"{path}/logs", params={"tail": lines}).text for lines in (1, 2, 3, 9)]
    assert tails == ["last, not ended", f"{bar}last, not ended", *[f"one\n{bar}last, not ended"] * 2]
    lite_worker.log(claim, "\n")
    assert lite_api.get(f"{path}/logs", params={"tail": 2}).text == f"{bar}last, not ended\n"


def test_forty_readers_of_a_log_at_once_need_one_connection_each(lite: Running, lite_worker: Worker) -> None:
    """Each request holds one session at a time: with two, forty would wait for each other until the pool's time-out."""
    with lite.client() as client:
        path = submitted(client)
    lite_worker.log(lite_worker.claim(), "line\n" * 1000)

    def read(_: int) -> int:
        with lite.client() as client:
            return client.get(f"{path}/logs").status_code

    with ThreadPoolExecutor(40) as readers:
        assert set(readers.map(read, range(80))) == {200}


def test_followed_logs_end_with_the_job(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    claim = worker.claim()
    worker.log(claim, "one\ntwo\n")
    with api.stream("GET", f"{path}/logs", params={"follow": "true", "tail": 1}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "two"
        worker.log(claim, "three\n")
        assert next(lines) == "three"
        worker.log(claim, "four\n")
        worker.finish(claim)
        assert list(lines) == ["four"]


def test_a_stream_equals_the_lists_wherever_it_is_taken_up(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    claim = worker.claim()
    worker.metrics(claim, 1, 1200)
    worker.finish(claim)
    listed = [("metric", point) for point in api.get(f"{path}/metrics", params={"limit": 10_000}).json()["data"]]
    listed += [("event", event) for event in api.get(f"{path}/events").json()["data"]]
    listed.sort(key=lambda row: row[1]["seq"])
    whole = streamed(api, path)
    assert [(kind, data) for kind, _, data in whole[:-1]] == listed
    assert [id for _, id, _ in whole[:-1]] == [str(data["seq"]) for _, data in listed]
    assert (whole[-1][0], whole[-1][1], whole[-1][2]["status"]) == ("status", None, "succeeded")
    for seq in (1, 2, 600, 1001, listed[-1][1]["seq"], 2**62):
        rest = streamed(api, path, **{"Last-Event-ID": str(seq)})
        assert [(kind, data) for kind, _, data in rest[:-1]] == [row for row in listed if row[1]["seq"] > seq]
        assert rest[-1][2]["status"] == "succeeded"


def test_a_stream_follows_a_job_to_its_end(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    with api.stream("GET", f"{path}/stream") as answer:
        seen = frames(answer.iter_lines())
        assert [next(seen)[2].get(key) for key in ("status",)] == ["queued"]
        assert next(seen)[2]["data"]["to"] == "queued"
        claim = worker.claim()
        assert next(seen)[2]["status"] == "running"
        assert next(seen)[0] == "event"
        worker.metrics(claim, 1, 3)
        kinds = [next(seen)[0] for _ in range(4)]
        assert sorted(kinds) == ["metric", "metric", "metric", "status"]
        worker.finish(claim, Status.FAILED, {"code": "code_error", "message": "It broke.", "log_tail": ""})
        rest = list(seen)
    assert [frame[0] for frame in rest] == ["event", "status"]
    assert (rest[1][2]["status"], rest[1][2]["error"]["code"]) == ("failed", "code_error")


def test_a_client_that_leaves_frees_its_place(site: Running, api: httpx2.Client) -> None:
    path = submitted(api)
    service = site.server.config.app.state.service  # type: ignore[union-attr]
    with api.stream("GET", f"{path}/stream") as answer:
        lines = answer.iter_lines()
        next(lines)
        assert service.streams.used == 1
    wait_until(lambda: service.streams.used == 0, "the place to be free")
    assert api.head(f"{path}/stream").status_code == 200
    assert service.streams.used == 0


def test_a_deleted_job_ends_its_streams(api: httpx2.Client, worker: Worker) -> None:
    path = submitted(api)
    worker.claim()
    with api.stream("GET", f"{path}/stream") as answer:
        lines = answer.iter_lines()
        next(lines)
        with worker.database.write(DEFAULT) as session:
            session.connection().exec_driver_sql("DELETE FROM jobs")
        list(lines)


@pytest.mark.parametrize("call", ["stream", "logs?follow=true"])
def test_streams_are_bounded_for_each_client(tmp_path: Any, sqlite_url: str, valkey: Valkey, call: str) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, max_streams=8, max_client_streams=1)
    with running(settings) as site, site.client() as api:
        path = submitted(api)
        with api.stream("GET", f"{path}/stream") as first:
            lines = first.iter_lines()  # kept: without it the answer would be closed at once
            next(lines)
            full = api.get(f"{path}/{call}")
            assert (full.status_code, full.json()["code"]) == (429, "client_limit")
            assert "ADDER_MAX_CLIENT_STREAMS" in full.json()["detail"]
            other = httpx2.HTTPTransport(local_address="127.0.0.2")
            with (
                httpx2.Client(base_url=site.url, transport=other, timeout=300) as client,
                client.stream("GET", f"{path}/stream") as second,
            ):
                assert second.status_code == 200


def test_streams_are_bounded_and_end_with_the_server(tmp_path: Any, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, max_streams=2)
    ended: list[float] = []

    def watch(url: str, path: str) -> None:
        with httpx2.Client(base_url=url, timeout=300) as client, client.stream("GET", f"{path}/stream") as answer:
            list(answer.iter_lines())
        ended.append(time.monotonic())

    with running(settings) as site:
        service = site.server.config.app.state.service  # type: ignore[union-attr]
        with site.client() as api:
            path = submitted(api)
            watchers = [threading.Thread(target=watch, args=(site.url, path)) for _ in range(2)]
            for watcher in watchers:
                watcher.start()
            wait_until(lambda: service.streams.used == 2, "two streams")
            for call in ("stream", "logs?follow=true"):
                full = api.get(f"{path}/{call}")
                assert (full.status_code, full.json()["code"]) == (503, "too_many_streams")
                assert int(full.headers["retry-after"]) > 0
            assert api.get(f"{path}/logs").status_code == 200
    for watcher in watchers:
        watcher.join(timeout=300)
    assert len(ended) == 2
