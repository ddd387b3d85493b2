"""Every way a request can be wrong is a problem, and none is a 500."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.http.problems import KINDS
from tests.api.conftest import Running
from tests.support.specs import train_body

JSON = {"Content-Type": "application/json"}


def problem(answer: httpx2.Response) -> dict[str, Any]:
    """The checked problem of an answer."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    kind = KINDS[found["code"]]
    assert found["status"] == answer.status_code == kind.status
    assert found["title"] == kind.title
    assert found["type"] == f"/docs#{found['code']}"
    assert found["detail"]
    return found


BODIES: list[tuple[bytes, str, list[str]]] = [
    (b"", "bad_json", []),
    (b"{", "bad_json", []),
    (b"\xff\xfe", "bad_json", []),
    (b'\xef\xbb\xbf{"kind": "train"}', "invalid", ["/model", "/dataset"]),  # a byte order mark is passed over
    (b"\xef\xbb\xbf", "bad_json", []),
    (b'{"a": ' * 40 + b"1" + b"}" * 40, "invalid", ["/a" * 32]),
    (b'{"kind": "train", "x": 9223372036854775808}', "invalid", ["/x"]),
    (b'{"optimizer": {"lr": NaN}}', "bad_json", []),
    (b'{"optimizer": {"lr": -Infinity}}', "bad_json", []),
    (b"[" * 200_000, "bad_json", []),
    (b'{"epochs": ' + b"9" * 5000 + b"}", "bad_json", []),
    (b"null", "invalid", [""]),
    (b"[]", "invalid", [""]),
    (b"{}", "invalid", ["/kind"]),
    (b'{"kind": "sweep"}', "invalid", ["/kind"]),
    (b'{"kind": {"a": 1}}', "invalid", ["/kind"]),
    (b'{"kind": "train"}', "invalid", ["/model", "/dataset"]),
    (json.dumps(train_body(optimizer={"lr": -1})).encode(), "invalid", ["/optimizer/lr"]),
    (json.dumps(train_body(optimizer={"lr": 0}, epochs=0, colour=1)).encode(), "invalid",
     ["/optimizer/lr", "/epochs", "/colour"]),
    (json.dumps(train_body(epochs=10**400)).encode(), "invalid", ["/epochs"]),
    (json.dumps(train_body()).replace('"digits"', '["digits"]').encode(), "invalid", ["/dataset/name"]),
    (json.dumps(train_body()).replace('"digits"', '"a\\u0000"').encode(), "invalid", ["/dataset/name"]),
    (json.dumps(train_body(labels={"a": "\x00"})).encode(), "invalid", ["/labels/a"]),
    (json.dumps(train_body(labels={"a/b~": [1]})).encode(), "invalid", ["/labels/a~1b~0"]),
    (json.dumps(train_body(labels={"a:b": "c"})).encode(), "invalid", ["/labels/a:b"]),
    (json.dumps(train_body(labels={"a": "\ud800"})).encode(), "invalid", ["/labels/a"]),
    (json.dumps(train_body(optimizer={"momentum": 0})).encode(), "invalid", ["/optimizer/nesterov"]),
    (json.dumps(train_body(optimizer={"lr": 1})).replace("1}", "1e999}").encode(), "invalid", ["/optimizer/lr"]),
]  # fmt: skip


def test_bad_bodies_name_their_fields(api: httpx2.Client) -> None:
    for body, code, pointers in BODIES:
        found = problem(api.post("/v1/jobs", content=body, headers=JSON))
        assert (found["code"], [error["pointer"] for error in found.get("errors", [])]) == (code, pointers), body[:80]
    assert api.get("/v1/jobs").json()["data"] == []


def test_a_label_with_a_lone_surrogate_as_key(api: httpx2.Client) -> None:
    problem(api.post("/v1/jobs", content=b'{"kind": "train", "\\ud800": 1}', headers=JSON))


QUERIES = [
    ("/v1/jobs?limit=0", "/query/limit"),
    ("/v1/jobs?limit=101", "/query/limit"),
    ("/v1/jobs?limit=99999999999999999999999", "/query/limit"),
    ("/v1/jobs?limit=x", "/query/limit"),
    ("/v1/jobs?stauts=queued", "/query/stauts"),
    ("/v1/jobs?status=late", "/query/status/0"),
    ("/v1/jobs?label=nocolon", "/query/label/0"),
    ("/v1/jobs?label=a:%00", "/query/label/0"),
    ("/v1/jobs?kind=%00", "/query/kind"),
    ("/v1/jobs?after=nonsense", "/query/after"),
    ("/v1/jobs?after=%FF%00", "/query/after"),
    ("/v1/models?after=nonsense", "/query/after"),
    ("/v1/datasets?after=nonsense", "/query/after"),
    ("/healthz?x=1", "/query/x"),
]


def test_bad_parameters_are_named(api: httpx2.Client) -> None:
    for path, pointer in QUERIES:
        found = problem(api.get(path))
        assert (found["status"], found["errors"][0]["pointer"]) == (422, pointer), path
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    for call in ("metrics?after_seq=9223372036854775808", "metrics?after_seq=-1", "metrics?name=%00", "logs?tail=-1"):
        assert problem(api.get(f"/v1/jobs/{job}/{call}"))["code"] == "invalid"
    assert problem(api.get(f"/v1/jobs/{job}/artifacts/a%00b"))["code"] == "not_found"
    stale = problem(api.get(f"/v1/jobs/{job}/stream", headers={"Last-Event-ID": "x"}))
    assert stale["errors"][0]["pointer"] == "/header/last-event-id"
    key = problem(api.post("/v1/jobs", json=train_body(), headers={"Idempotency-Key": "a b"}))
    assert key["errors"][0]["pointer"] == "/header/idempotency-key"


def test_a_forged_cursor_is_refused(api: httpx2.Client) -> None:
    from jobs.repository.paging import Place, _make_cursor, place_of

    for job in (train_body(), train_body()):
        api.post("/v1/jobs", json=job)
    cursor = api.get("/v1/jobs", params={"limit": 1}).json()["next"]
    digest = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")[0]
    for forged in (
        "job_\x00",
        "job_1:1e999",
        'job_1:"x"',
        "job_1:[1]",
        "job_1:1:2",
        "job_1:[1,1e3]",
        "job_1:[null,-1]",
    ):
        after = base64.urlsafe_b64encode(f"{digest}:{forged}".encode()).decode().rstrip("=")
        assert problem(api.get("/v1/jobs", params={"after": after}))["code"] == "bad_cursor"
    assert place_of(_make_cursor(Place("job_01jv3m8z4k6wq0x9t2rhf5ybcd", 0.5), {}), {}).value == 0.5


def test_a_problem_repeats_no_bulk(lite_api: httpx2.Client) -> None:
    secret = "s3cret" * 1000
    answer = lite_api.post("/v1/jobs", json=train_body(epochs=secret, model={"arch": secret}, **{"k" * 5000: 1}))
    problem(answer)
    assert "s3crets3cret" not in answer.text
    assert len(answer.text) < 6000
    many = problem(lite_api.post("/v1/jobs", json=train_body(**{f"f{n}": 1 for n in range(500)})))
    assert len(many["errors"]) == 50


def test_unknown_paths_and_methods(lite_api: httpx2.Client) -> None:
    assert problem(lite_api.get("/nothing"))["code"] == "not_found"
    assert problem(lite_api.get("/v1/jobs/"))["code"] == "not_found"
    for method, path, allowed in (
        ("PUT", "/v1/jobs", {"GET", "HEAD", "POST"}),
        ("PUT", "/v1/jobs/x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", "/v1/jobs/x/cancel", {"POST"}),
        ("HEAD", "/v1/jobs/x/cancel", {"POST"}),
        ("DELETE", "/v1/models", {"GET", "HEAD", "POST"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
        ("POST", "/docs", {"GET", "HEAD"}),
        ("DELETE", "/", {"GET", "HEAD"}),
    ):
        answer = lite_api.request(method, path)
        assert answer.status_code == 405, (method, path)
        assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)


def test_head_answers_as_get_without_a_body(lite_api: httpx2.Client) -> None:
    for path in ("/v1/jobs", "/healthz", "/v1/datasets/digits", "/docs", "/openapi.json", "/metrics", "/"):
        get, head = lite_api.get(path), lite_api.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]


def test_bodies_are_bounded_and_typed(lite: Running, lite_api: httpx2.Client) -> None:
    big = b" " * (lite.settings.max_body_bytes + 1)

    def drip() -> Iterator[bytes]:
        for _ in range(5):
            yield big[: len(big) // 4]

    assert problem(lite_api.post("/v1/jobs", content=big, headers=JSON))["code"] == "body_too_large"
    assert problem(lite_api.post("/v1/jobs", content=drip(), headers=JSON))["code"] == "body_too_large"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "text/json", ""):
        answer = lite_api.post("/v1/jobs", content=b"{}", headers={"Content-Type": kind})
        assert problem(answer)["code"] == "unsupported_media_type"
    assert problem(lite_api.post("/v1/models", json={}))["code"] == "unsupported_media_type"
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.adder+json"):
        answer = lite_api.post("/v1/jobs", content=json.dumps(train_body()), headers={"Content-Type": kind})
        assert answer.status_code == 201


def test_what_is_no_http_is_a_problem_too(lite: Running) -> None:
    host, _, port = lite.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad_request"


def test_other_sites_may_not_change_anything(lite: Running, lite_api: httpx2.Client) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        answer = lite_api.post("/v1/jobs", json=train_body(), headers={"Origin": origin})
        assert problem(answer)["code"] == "foreign_origin"
    own = lite_api.post("/v1/jobs", json=train_body(), headers={"Origin": lite.url})
    assert own.status_code == 201
    assert lite_api.get("/v1/jobs", headers={"Origin": "http://evil.example"}).status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_only_loopback_names_are_answered(lite: Running, lite_api: httpx2.Client) -> None:
    port = lite.url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
        assert problem(lite_api.get("/healthz", headers={"Host": host}))["code"] == "unknown_host", host
    for host in ("localhost", f"LOCALHOST:{port}", f"[::1]:{port}", "127.0.0.1"):
        assert lite_api.get("/healthz", headers={"Host": host}).status_code == 200, host


def test_an_unforeseen_error_says_nothing_but_its_id(lite_api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("jobs.repository.finding.list_jobs", broken)
    with capture_logs(processors=[merge_contextvars]) as logged:
        answer = lite_api.get("/v1/jobs")
    found = problem(answer)
    assert found["code"] == "internal"
    assert "hunter2" not in answer.text
    assert found["id"] in found["detail"]
    assert answer.headers["x-request-id"] == found["id"]
    assert ("request.failed", found["id"]) in [(line["event"], line["request"]) for line in logged]


def test_a_number_that_no_column_holds_is_a_bad_field(api: httpx2.Client) -> None:
    for value in (1.4e293, 1_000_001):
        answer = problem(api.post("/v1/jobs", json=train_body(resources={"memory_gb": value})))
        assert [error["pointer"] for error in answer["errors"]] == ["/resources/memory_gb"]
