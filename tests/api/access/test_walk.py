"""Every call and every page, with every kind of key, against the table of operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from api.access.operations import CALLS, OPEN, PAGES, ROWS
from api.app import _routes, create_app
from jobs.access.roles import Role
from jobs.ids import new_id
from jobs.settings import Settings
from tests.api.access.conftest import CANARY, Access, Party
from tests.support.specs import train_body

OF_PATH = {
    "jobs": "job",
    "models": "model",
    "datasets": "dataset",
    "sweeps": "sweep",
    "keys": "key",
    "webhooks": "webhook",
}
BODIES: dict[str, Any] = {
    "POST /v1/jobs": train_body(),
    "PATCH /v1/jobs/{id}": {"starred": True},
    "POST /v1/jobs/{id}/continue": {"epochs": 1},
    "PATCH /v1/models/{id}": {"starred": True},
    "POST /v1/models/{id}/predict": {"array": [[0.0]]},
    "POST /v1/sweeps": {"base": train_body(), "grid": {"seed": [1, 2]}},
    "POST /v1/keys": {"name": "made", "role": "viewer"},
    "POST /v1/webhooks": {"url": "https://hooks.example/adder"},
    "PATCH /v1/webhooks/{id}": {"name": "changed"},
    "POST /v1/projects": {"name": "made"},
    "PATCH /v1/projects/{id}": {},
    "POST /v1/workers/{id}/drain": {"mode": "finish"},
}


@dataclass(frozen=True)
class Call:
    """A row of the table, made into a request."""

    name: str
    role: Role | None

    @property
    def method(self) -> str:
        return self.name.split()[0]

    @property
    def template(self) -> str:
        return self.name.split()[1]

    @property
    def names_an_object(self) -> bool:
        return self.kind is not None and "{" in self.template

    @property
    def kind(self) -> str | None:
        return next((kind for part, kind in OF_PATH.items() if f"/{part}/{{" in self.template), None)

    def path(self, party: Party | None) -> str:
        """The path to an object of a party; without one, to an object that nobody has."""
        kind = self.kind or "job"
        ids = {} if party is None else party.ids
        id_ = ids.get(kind) or new_id({"dataset": "ds"}.get(kind, kind))
        if "/projects/{id}" in self.template:
            id_ = "nowhere" if party is None else party.project.id
        delivery = (ids.get("delivery") if party else None) or new_id("delivery")
        path = self.template.replace("{delivery_id}", delivery)
        path = re.sub(r"\{(id|\w+_id)\}", id_, path)
        path = path.replace("{alias}", CANARY).replace("/artifacts/{name}", "/artifacts/log.txt")
        path = path.replace("/recipes/{name}", "/recipes/table1").replace("{name}", "base.css")
        if self.template.endswith("/compare"):
            path += f"?job={id_}&job={new_id('job')}"
        if self.template == "/v1/resolve":
            path += f"?id={id_}"
        return path

    def send(self, client: httpx2.Client, party: Party | None) -> httpx2.Response:
        options: dict[str, Any] = {"json": BODIES[self.name]} if self.name in BODIES else {}
        path = self.path(party)
        if self.template.endswith(("/stream", "/logs")):  # its head tells whether it would be sent
            return client.request("HEAD", path)
        return client.request(self.method, path, follow_redirects=False, **options)


def rows(table: Any = ROWS) -> Iterator[Call]:
    for name, role in table.items():
        yield Call(name, role)


def test_every_route_has_a_row_and_every_row_a_route(tmp_path: Any) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    routes = {f"{method} {route.path}" for route in _routes(app.routes) for method in route.methods or ()}
    assert routes == set(ROWS)
    document = app.openapi()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in document.items() for method in methods} == set(CALLS)
    for name, role in CALLS.items():
        method, path = name.split()
        assert document[path][method.lower()].get("x-role") == role, name


def test_without_a_valid_key_nothing_opens_but_what_is_open(guarded: Access) -> None:
    party = guarded.party("vision")
    headers = [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer adw_x"}, {"Cookie": "adder_session=x"}]
    headers += [{"Authorization": f"Bearer {party.keys[name]}"} for name in ("revoked", "expired")]
    mistyped = party.keys["admin"][:-1] + ("x" if party.keys["admin"][-1] != "x" else "y")
    headers.append({"Authorization": f"Bearer {mistyped}"})
    with guarded.site.client() as client:
        for given in headers:
            client.headers = httpx2.Headers(given)
            for call in rows():
                answer = call.send(client, None)
                if call.role is OPEN:
                    assert answer.status_code not in (401, 403, 500), call
                else:
                    assert answer.status_code == 401, (call, given, answer.text)
                    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_what_the_table_says(guarded: Access, role: Role) -> None:
    party = guarded.party("vision")
    with party.client(role) as client:
        for call in rows():
            answer = call.send(client, None)
            assert answer.status_code < 500 or call.template in ("/readyz", "/v1/models/{id}/predict"), (call, answer)
            if call.role is OPEN or role.includes(call.role):
                assert answer.status_code not in (401, 403), (call, answer.text)
            else:
                assert answer.status_code == 403, (call, answer.text)
                assert answer.json()["role_needed"] == call.role


def test_an_object_of_another_project_is_not_there(guarded: Access) -> None:
    """Whatever the call, whatever the role; and no answer has a word of the other project."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    guarded.fill(other, "plain")
    before = _all_of(one)
    for role in (Role.ADMIN, Role.OPERATOR):
        with other.client(role) as client:
            for call in rows():
                if role is Role.OPERATOR and call.role is Role.OPERATOR:
                    continue  # the service itself
                answer = call.send(client, one)
                assert answer.status_code < 500 or call.role is OPEN, (call, answer.text)
                if call.role is not OPEN and call.names_an_object and role.includes(call.role):
                    assert answer.status_code == 404, (call, answer.text)
                assert CANARY not in _without_the_question(answer, call.path(one)), call
    assert _all_of(one) == before, "nothing of the other project was changed"


def _without_the_question(answer: httpx2.Response, path: str) -> str:
    """The answer without what it repeats of the request's own path: an alias that the caller wrote there."""
    return answer.text.replace(path, "") if CANARY not in path else answer.text.replace(CANARY, "", 1)


LASTING = ("id", "status", "name", "notes", "labels", "starred", "aliases", "version", "finished_at")
"""Fields that nobody but users and workers change: a queued job's expected start is new each time."""


def _all_of(party: Party) -> dict[str, Any]:
    with party.client("admin") as api:
        found: dict[str, Any] = {}
        for path in ("/v1/jobs", "/v1/models", "/v1/datasets", "/v1/sweeps", "/v1/webhooks"):
            rows = api.get(path, params={"limit": 100}).json()["data"]
            found[path] = [{name: row.get(name) for name in LASTING} for row in rows]
        found["artifact"] = api.get(f"/v1/jobs/{party.ids['job']}/artifacts/log.txt").text
        found["keys"] = [(key["id"], key["revoked_at"]) for key in api.get("/v1/keys").json()["data"]]
        return found


def test_an_operator_reaches_every_project_by_naming_it(guarded: Access) -> None:
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    path = f"/v1/jobs/{one.ids['job']}"
    with other.client("operator") as operator, other.client("admin") as admin:
        assert operator.get(path).status_code == 404
        for name in (one.name, one.project.id):
            assert operator.get(path, params={"project": name}).json()["id"] == one.ids["job"]
            assert admin.get(path, params={"project": name}).status_code == 404
        assert admin.get("/v1/jobs", params={"project": other.name}).status_code == 200
        assert operator.get("/v1/jobs", params={"project": "nowhere"}).status_code == 404


def test_the_pages_are_in_the_table_too() -> None:
    assert {name.split()[1] for name in PAGES} >= {"/", "/models", "/datasets", "/sweeps", "/keys", "/audit", "/usage"}
