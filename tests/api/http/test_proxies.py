"""Behind a proxy and from pages of other origins: a path prefix, CORS, compressed answers and bodies."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.http.compression import takes_gzip
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_body

LAB = "https://lab.example"


@pytest.fixture
def api(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[httpx2.Client]:
    """Below /adder, open to pages of one other origin."""
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, path_prefix="/adder/", cors_origins=f"{LAB},http://b:1")
    with running(settings) as site, site.client() as client:
        yield client


class Links(HTMLParser):
    """Paths in the attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for _, value in attrs if value and value.startswith("/")]


@pytest.mark.parametrize("left", ["", "/adder"], ids=["the proxy removes it", "the proxy leaves it"])
def test_below_a_prefix_every_link_begins_with_it(api: httpx2.Client, left: str) -> None:
    labels = {"evil": 'href="/x" src="/y"'}
    made = api.post(f"{left}/v1/jobs", json=train_body(labels=labels))
    assert made.headers["location"] == f"/adder/v1/jobs/{made.json()['id']}"
    assert made.json()["labels"] == labels
    for path in ("/", f"/jobs/{made.json()['id']}", "/models", "/datasets", "/sweeps", "/recipes", "/docs", "/nope"):
        page = api.get(left + path, headers={"Accept": "text/html"})
        links = Links()
        links.feed(page.text)
        assert links.found, path
        assert [link for link in links.found if not link.startswith("/adder/")] == [], path
    script = api.get(f"{left}/static/page.js").text
    assert "${prefix}/readyz" in script
    missing = api.get("/adders/healthz")
    assert (missing.status_code, missing.json()["type"]) == (404, "/adder/docs#not_found")


def test_no_script_knows_a_path_from_the_root() -> None:
    """They put `prefix` before it."""
    import api.web

    for path in (Path(api.web.__file__).parent / "static").glob("*.js"):
        assert re.findall(r"""["'`]/(?:v1|jobs|models|datasets|sweeps|readyz|static)""", path.read_text()) == [], path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Origin": "https://other.example"}, "'https://other.example'"),
        ({"Access-Control-Request-Method": "TRACE"}, "GET, POST, PUT, PATCH, DELETE"),
        ({"Access-Control-Request-Headers": "x-mine"}, "Idempotency-Key"),
        ({"Access-Control-Request-Private-Network": "true"}, "private network"),
    ],
    ids=["origin", "method", "header", "network"],
)
def test_a_refused_preflight_says_why(api: httpx2.Client, changed: dict[str, str], said: str) -> None:
    asked = {"Origin": LAB, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "range"}
    assert api.options("/v1/jobs", headers=asked).status_code == 200
    refused = api.options("/v1/jobs", headers=asked | changed)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert "Origin" in refused.headers["vary"]
    assert said in refused.json()["detail"]


def test_pages_of_named_origins_may_call(api: httpx2.Client) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, may in ((LAB, True), ("http://b:1", True), ("https://other.example", False), ("null", False)):
        before = api.options("/v1/jobs", headers={"Origin": origin, **asked})
        assert (before.status_code == 200) is may, origin
        made = api.post("/v1/jobs", json=train_body(), headers={"Origin": origin})
        assert made.status_code == (201 if may else 403)
        read = api.get("/v1/jobs", headers={"Origin": origin})
        for answer in (before, made, read):
            assert answer.headers.get("access-control-allow-origin") == (origin if may else None)
            assert "access-control-allow-credentials" not in answer.headers
        if may:
            assert "Location" in made.headers["access-control-expose-headers"]
            missing = api.get("/v1/jobs/job_01jv3m8z4k6wq0x9t2rhf5ybcd", headers={"Origin": origin})
            assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, origin)


def test_without_the_setting_no_other_origin_may(lite_api: httpx2.Client) -> None:
    asked = {"Origin": LAB, "Access-Control-Request-Method": "POST"}
    before = lite_api.options("/v1/jobs", headers=asked)
    assert before.status_code == 405
    assert not [name for name in before.headers if name.startswith("access-control-")]
    assert lite_api.post("/v1/jobs", json=train_body(), headers={"Origin": LAB}).status_code == 403


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.00, *", False),
        ("identity, *;q=0", False),
    ],
)
def test_whether_a_client_takes_gzip(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken


def test_long_answers_are_compressed_where_that_is_taken(lite: Running) -> None:
    with lite.client() as api:
        ids = [api.post("/v1/jobs", json=train_body(labels={"n": str(n)})).json()["id"] for n in range(20)]

        def raw(path: str, method: str = "GET", **headers: str) -> tuple[httpx2.Response, bytes]:
            with api.stream(method, path, headers=headers) as answer:
                return answer, b"".join(answer.iter_raw())

        for path in ("/v1/jobs", "/openapi.json", "/", "/docs"):
            plain, long = raw(path, **{"Accept-Encoding": "identity"})
            short, body = raw(path, **{"Accept-Encoding": "gzip"})
            assert "content-encoding" not in plain.headers
            assert short.headers["content-encoding"] == "gzip"
            assert int(short.headers["content-length"]) == len(body) < len(long) / 2
            assert "accept-encoding" in plain.headers["vary"].lower()
            assert "accept-encoding" in short.headers["vary"].lower()
            if "json" in plain.headers["content-type"]:
                assert [row["id"] for row in json.loads(gzip.decompress(body)).get("data", [])] in ([], ids[::-1])
            head, nothing = raw(path, "HEAD", **{"Accept-Encoding": "gzip"})
            assert (nothing, head.headers["content-encoding"]) == (b"", "gzip")
        for path in ("/healthz", "/static/base.css"):
            assert "content-encoding" not in raw(path, **{"Accept-Encoding": "gzip"})[0].headers, path


def sent(api: httpx2.Client, body: bytes, encoding: str) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = api.post("/v1/jobs", content=body, headers=headers)
    return answer.status_code, answer.json()


def test_bodies_in_gzip_are_decoded_up_to_the_limit(lite_api: httpx2.Client) -> None:
    body = json.dumps(train_body()).encode()
    half = len(body) // 2
    assert sent(lite_api, gzip.compress(body), "gzip")[0] == 201
    assert sent(lite_api, gzip.compress(body[:half]) + gzip.compress(body[half:]), "x-gzip")[0] == 201
    bomb = gzip.compress(b" " * 200_000_000)
    for sort, encoding, status, code in (
        (bomb, "gzip", 413, "body_too_large"),
        (gzip.compress(body)[:-4], "gzip", 400, "bad_request"),
        (gzip.compress(body) + b"x", "gzip", 400, "bad_request"),
        (body, "gzip", 400, "bad_request"),
        (body, "br", 415, "unsupported_media_type"),
        (gzip.compress(body), "gzip, gzip", 415, "unsupported_media_type"),
    ):
        answered, found = sent(lite_api, sort, encoding)
        assert (answered, found["code"]) == (status, code)
    form = {"file": ("x.zip", b"x")}
    refused = lite_api.post("/v1/datasets", files=form, headers={"Content-Encoding": "gzip"})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (0.5, "0.5"), (-1e-7, "-1e-07"), (True, "true")])
def test_a_label_may_be_a_number(lite_api: httpx2.Client, value: object, text: str) -> None:
    made = lite_api.post("/v1/jobs", json=train_body(labels={"run": value}))
    assert made.status_code == 201, made.text
    assert made.json()["labels"] == {"run": text}
    assert made.json()["spec"]["labels"] == {"run": text}
    assert len(lite_api.get("/v1/jobs", params={"label": f"run:{text}"}).json()["data"]) == 1
    sweep = lite_api.post("/v1/sweeps", json={"base": train_body(), "grid": {"seed": [0]}, "labels": {"run": value}})
    assert sweep.json()["labels"] == {"run": text}
    for other in (None, [], {"a": 1}):
        assert lite_api.post("/v1/jobs", json=train_body(labels={"run": other})).status_code == 422
