"""A real HTTP server on a loopback port that answers what a test arranged, and breaks on demand.

Each JSON answer that it was not told to break is compared with the OpenAPI document of the real API.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.adderclient import openapi
from tests.adderclient.documents import (
    artifact,
    attempt,
    dataset,
    job,
    model,
    readiness,
    recipe,
    system,
    upload,
    validation,
)

FINAL = ("succeeded", "failed", "cancelled")
SHEET = b"\x89PNG picture"


@dataclass
class Fault:
    """What goes wrong with the next requests whose ``METHOD /path`` begins with ``prefix``."""

    prefix: str
    status: int | None = None  # answer this instead
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    cut_after: int | None = None  # body bytes, then the connection drops; of a stream: events
    close_before_answer: bool = False
    times: int = 1


class Service:
    """State that tests arrange and inspect."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.metrics: dict[str, list[dict[str, Any]]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.logs: dict[str, str] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.weights: dict[str, bytes] = {}
        self.published: dict[str, str] = {}  # sha256 by artifact name, where it is not that of the bytes
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.keys: dict[str, tuple[bytes, str]] = {}
        self.attempts: dict[str, list[dict[str, Any]]] = {}
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, list[dict[str, Any]]] = {}
        self.compared: dict[str, Any] = {}
        self.ready: tuple[int, dict[str, Any]] = (200, readiness())
        self.etags = True
        self.bad_spec: dict[str, Any] | None = None
        self.looks = 0  # at a dataset that is being validated
        self.of_another_version = False  # what it says need not fit the document
        self.mistakes: list[str] = []  # answers that do not
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def break_(self, prefix: str, **what: Any) -> None:
        self.faults.append(Fault(prefix, **what))

    def seen(self, prefix: str) -> list[tuple[str, str, dict[str, str], bytes]]:
        return [entry for entry in self.requests if f"{entry[0]} {entry[1]}".startswith(prefix)]

    def finish(self, identity: str, status: str = "succeeded", **more: Any) -> None:
        """One attempt of 42.5 s, and its end."""
        began, ended = "2026-11-20T10:00:01.000Z", "2026-11-20T10:00:43.500Z"
        self.attempts[identity] = [attempt(1, began, ended, status if status != "failed" else "code_error")]
        own = {"status": status, "attempt": 1, "queue_position": None, "started_at": began, "finished_at": ended}
        self.jobs[identity] |= {**own, "run_seconds": 42.5, **more}

    def take_fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if request.startswith(fault.prefix):
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing when the connection was dropped, on purpose or by the client."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Bound(_Handler):
        state = service

    return Bound


class _Handler(BaseHTTPRequestHandler):
    state: Service
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_PATCH = do_PUT = do_GET  # noqa: N815

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.state.requests.append((self.command, self.path, headers, self.body))
        self.fault = self.state.take_fault(f"{self.command} {self.path}")
        if self.fault and self.fault.close_before_answer:
            self._drop()
        elif self.fault and self.fault.status:
            self._answer(self.fault.status, self.fault.body or {"title": "broken on purpose"}, self.fault.headers)
        else:
            self._route([unquote(part) for part in url.path.strip("/").split("/")])

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if status < 400 and isinstance(body, dict) and not self.fault and not self.state.of_another_version:
            self.state.mistakes += openapi.mistakes(self.command, urlsplit(self.path).path, status, body)
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json"
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.fault and self.fault.cut_after is not None:
            self.wfile.write(data[: self.fault.cut_after])
            self._drop()
            return
        self.wfile.write(data)

    def _problem(self, status: int, detail: str, **more: Any) -> None:
        self._answer(status, {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more})

    def _listing(self, items: list[dict[str, Any]]) -> None:
        limit = int(self.query.get("limit", ["20"])[0])
        start = int(self.query.get("after", ["0"])[0])
        more = start + limit < len(items)
        cursor = str(start + limit) if more else None
        self._answer(200, {"data": items[start : start + limit], "has_more": more, "next": cursor})

    def _route(self, parts: list[str]) -> None:
        match (self.command, *parts):
            case ("GET", "readyz"):
                self._answer(*self.state.ready, {"Content-Type": "application/json"})
            case ("GET", "v1", "system"):
                self._answer(200, system())
            case ("GET", "v1", "datasets"):
                self._listing([dataset("digits")])
            case ("POST", "v1", "datasets"):
                self._answer(201, upload())
            case ("GET", "v1", "datasets", "leaves"):
                self.state.looks += 1
                failed = {"status": "failed", "problems": ["cat/1.png is no image."]}
                self._answer(200, upload(**failed if self.state.looks > 2 else {}))
            case ("GET", "v1", "datasets", "looked"):
                more = {"status": "ready", "notes": ["3 images lay."], "preview": "/v1/datasets/ds_2/preview"}
                self._answer(200, upload(id="ds_2", **more) | {"name": "looked"})
            case ("GET", "v1", "datasets", "looked", "preview"):
                self._file(SHEET, "looked.png")
            case ("DELETE", "v1", "datasets", "leaves@1"):
                self._answer(204, None)
            case ("GET", "v1", "datasets", name) if name == "digits":
                self._answer(200, dataset("digits"))
            case ("GET", "v1", "recipes"):
                self._listing([recipe(*self.query.get("dataset", []))])
            case ("GET", "v1", "recipes", "table1"):
                self._answer(200, recipe(*self.query.get("dataset", [])))
            case ("POST", "v1", "jobs"):
                self._submit()
            case ("GET", "v1", "jobs"):
                self._jobs()
            case (_, "v1", "jobs", identity, *rest):
                if identity in self.state.jobs:
                    self._job(identity, rest)
                else:
                    self._problem(404, f"There is no job {identity}.", code="not_found")
            case ("GET", "v1", "resolve"):
                self._resolve(self.query["id"][0])
            case ("GET", "v1", "compare"):
                self._answer(200, self.state.compared)
            case ("GET", "v1", "sweeps"):
                self._listing(list(self.state.sweeps.values()))
            case ("GET", "v1", "sweeps", identity) if identity in self.state.sweeps:
                self._answer(200, self.state.sweeps[identity])
            case ("GET", "v1", "sweeps", identity, "trials"):
                self._listing(self.state.trials[identity])
            case (_, "v1", "models", *rest):
                self._models(rest)
            case _:
                self._problem(404, "There is nothing here.")

    def _resolve(self, end: str) -> None:
        known = {"job": self.state.jobs, "model": self.state.models, "sweep": self.state.sweeps}
        found = [
            {"id": one["id"], "type": kind, "name": one.get("name"), "created_at": one["created_at"]}
            for kind, objects in known.items()
            for one in objects.values()
            if one["id"].endswith(end)
        ]
        self._answer(200, {"data": found[:20], "has_more": len(found) > 20, "next": None})

    def _edited(self, entry: dict[str, Any]) -> None:
        change = json.loads(self.body)
        labels = {**entry["labels"], **(change.pop("labels", None) or {})}
        entry |= change | {"labels": {key: value for key, value in labels.items() if value is not None}}
        self._answer(200, entry)

    def _submit(self) -> None:
        spec = json.loads(self.body)
        if self.state.bad_spec:
            self._answer(422, self.state.bad_spec)
            return
        if self.query.get("validate_only") == ["true"]:
            self._answer(200, validation(spec))
            return
        key = self.headers.get("Idempotency-Key", "")
        if key in self.state.keys:
            body, identity = self.state.keys[key]
            if body != self.body:
                self._problem(422, "This Idempotency-Key was used with another body.")
            else:
                self._answer(200, self.state.jobs[identity])
            return
        identity = f"job_{len(self.state.jobs) + 1:04d}"
        self.state.jobs[identity] = job(identity, spec=spec, labels=spec.get("labels", {}))
        self.state.keys[key] = (self.body, identity)
        self._answer(201, self.state.jobs[identity], {"Location": f"/v1/jobs/{identity}"})

    def _jobs(self) -> None:
        found = sorted(self.state.jobs.values(), key=lambda item: item["id"], reverse=True)
        for name in ("status", "kind"):
            if name in self.query:
                found = [item for item in found if item[name] == self.query[name][0]]
        for label in self.query.get("label", []):
            key, _, value = label.partition(":")
            found = [item for item in found if item["labels"].get(key) == value]
        self._listing(found)

    def _job(self, identity: str, rest: list[str]) -> None:
        entry = self.state.jobs[identity]
        match (self.command, *rest):
            case ("GET",):
                self._answer(200, entry)
            case ("PATCH",):
                self._edited(entry)
            case ("DELETE",):
                del self.state.jobs[identity]
                self._answer(204)
            case ("POST", "cancel" | "pause" | "resume" as action):
                if entry["status"] in FINAL and action != "cancel":
                    self._problem(409, f"The job is {entry['status']}.", code="conflict")
                else:
                    entry["status"] = {"cancel": "cancelled", "pause": "paused", "resume": "queued"}[action]
                    entry["queue_position"] = 1 if action == "resume" else None
                    self._answer(202, entry)
            case ("POST", "retry"):
                new = f"job_{len(self.state.jobs) + 1:04d}"
                self.state.jobs[new] = job(new, retry_of=identity, spec={"from": self.query["from"][0]})
                self._answer(201, self.state.jobs[new])
            case ("POST", "continue"):
                new = f"job_{len(self.state.jobs) + 1:04d}"
                self.state.jobs[new] = job(new, continued_from=identity, spec=json.loads(self.body))
                self._answer(201, self.state.jobs[new])
            case ("GET", "metrics"):
                self._metrics(identity)
            case ("GET", "attempts"):
                self._listing(self.state.attempts.get(identity, []))
            case ("GET", "events"):
                self._listing(self.state.events.get(identity, []))
            case ("GET", "logs"):
                lines = self.state.logs.get(identity, "").splitlines(keepends=True)
                tail = int(self.query.get("tail", [len(lines)])[0])
                text = "".join(lines[len(lines) - tail :]).encode()
                self._answer(200, text, {"Content-Type": "text/plain"})
            case ("GET", "stream"):
                self._stream(identity)
            case ("GET", "artifacts"):
                files = self.state.artifacts.get(identity, {})
                self._listing([self._artifact(name, data) for name, data in files.items()])
            case ("GET", "artifacts", name):
                self._file(self.state.artifacts[identity][name], name)
            case _:
                self._problem(404, "There is nothing here.")

    def _metrics(self, identity: str) -> None:
        after, limit = int(self.query["after_seq"][0]), int(self.query["limit"][0])
        names = self.query.get("name")
        points = [
            point
            for point in self.state.metrics.get(identity, [])
            if point["seq"] > after and (not names or point["name"] in names)
        ]
        self._answer(200, {"data": points[:limit], "has_more": len(points) > limit, "next": None})

    def _artifact(self, name: str, data: bytes) -> dict[str, Any]:
        return artifact(name, data, self.state.published.get(name) or hashlib.sha256(data).hexdigest())

    def _file(self, data: bytes, name: str) -> None:
        etag = f'"{self.state.published.get(name) or hashlib.sha256(data).hexdigest()}"'
        headers = {"Content-Type": "application/octet-stream", **({"ETag": etag} if self.state.etags else {})}
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") in (None, etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[start:], headers | {"Content-Range": span})
            return
        self._answer(200, data, headers)

    def _stream(self, identity: str) -> None:
        """What the job has by now, then what comes; a status without id at the start and, if final, at the end."""
        last = int(self.headers.get("Last-Event-ID") or 0)
        cut = self.fault.cut_after if self.fault else None
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk("retry: 2000\n\n")
        if self.state.jobs[identity]["status"] not in FINAL:
            self._status(self.state.jobs[identity])
        while True:
            entry = self.state.jobs[identity]
            done = entry["status"] in FINAL
            for kind, data in [
                *(("metric", point) for point in self.state.metrics.get(identity, [])),
                *(("event", event) for event in self.state.events.get(identity, [])),
            ]:
                if data["seq"] <= last:
                    continue
                if cut == 0:
                    self._chunk(f'id: {data["seq"]}\nevent: {kind}\ndata: {{"se')
                    self._drop()
                    return
                last = data["seq"]
                self._chunk(f"id: {last}\nevent: {kind}\ndata: {json.dumps(data)}\n\n")
                cut = cut - 1 if cut is not None else None
            if done:
                self._status(entry)
                self._chunk("")
                return
            self._chunk(": still here\n\n")
            time.sleep(0.02)

    def _status(self, entry: dict[str, Any]) -> None:
        self._chunk(f"event: status\ndata: {json.dumps({'status': entry['status'], 'attempt': 1})}\n\n")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _models(self, rest: list[str]) -> None:
        models = self.state.models
        if rest:  # an alias stands for its model
            rest[0] = next((one["id"] for one in models.values() if rest[0] in one["aliases"]), rest[0])
        match (self.command, *rest):
            case ("GET",):
                self._listing(list(models.values()))
            case ("POST",):
                identity = f"model_{len(models) + 1:04d}"
                models[identity] = model(identity)
                self._answer(201, models[identity])
            case ("PATCH", identity) if identity in models:
                self._edited(models[identity])
            case ("PUT", identity, "aliases", alias) if identity in models:
                models[identity]["aliases"] = sorted({*models[identity]["aliases"], alias})
                self._answer(200, models[identity])
            case ("DELETE", identity, "aliases", alias) if identity in models and alias in models[identity]["aliases"]:
                models[identity]["aliases"].remove(alias)
                self._answer(204)
            case ("GET", identity) if identity in models:
                self._answer(200, models[identity])
            case ("GET", identity, "download") if identity in models:
                self._file(self.state.weights[identity], identity)
            case ("POST", identity, "predict") if identity in models:
                self._answer(200, {"label": "one", "probabilities": {"zero": 0.125, "one": 0.875}})
            case _:
                self._problem(404, "There is no such model.", code="not_found")
