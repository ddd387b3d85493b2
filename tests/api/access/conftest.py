"""A server that needs keys, two projects with objects of every kind, and keys of every role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from jobs.access import keys, projects
from jobs.access.limits import Limits
from jobs.access.roles import Role
from jobs.access.scope import SERVICE, Project
from jobs.database import Database
from jobs.repository import attempts
from jobs.settings import Settings
from jobs.store import store_of
from tests.api.attempt import MANIFEST, Worker, model_file
from tests.api.conftest import Running, running
from tests.support.specs import train_body
from tests.support.uploads import folders, zipped

CANARY = "canary9f1c"
"""A word in every field of the first project that its users choose."""


@dataclass
class Party:
    """A project with its keys and objects."""

    site: Running
    project: Project
    name: str
    keys: dict[str, str] = field(default_factory=dict)
    """The key by its role; also `revoked` and `expired`."""
    ids: dict[str, str] = field(default_factory=dict)
    """An object of each kind."""

    def client(self, role: str = "member") -> httpx2.Client:
        return self.site.client(headers={"Authorization": f"Bearer {self.keys[role]}"})


class Access:
    """Makes projects and keys, by way of the database."""

    def __init__(self, site: Running) -> None:
        self.site = site
        self.database = Database(site.settings.resolved_database_url)
        self.worker = Worker(self.database, store_of(site.settings))

    def party(self, name: str, **limits: Any) -> Party:
        with self.database.write(SERVICE) as session:
            row = projects.create(session, name, Limits(**limits))
            party = Party(self.site, projects.scope_of(row), name)
        for role in Role:
            party.keys[role] = self.key(party, role)
        party.keys["revoked"] = self.key(party, Role.ADMIN, revoked=True)
        party.keys["expired"] = self.key(party, Role.ADMIN, expires_at=1)
        return party

    def key(self, party: Party, role: Role, *, revoked: bool = False, expires_at: int | None = None) -> str:
        with self.database.write(party.project) as session:
            row, text = keys.create(session, f"{party.name} {role}", role, expires_at, by=None)
            if revoked:
                keys.revoke(session, row.id)
            party.ids.setdefault("key", row.id)
        return text

    def fill(self, party: Party, word: str) -> None:
        """Makes an object of each kind whose names, labels and files have the word."""
        self.worker.heartbeat()
        with party.client("admin") as api:
            hook = {"name": word, "url": f"https://hooks.example/{word}"}
            party.ids["webhook"] = api.post("/v1/webhooks", json=hook).raise_for_status().json()["id"]
            sent = api.post(f"/v1/webhooks/{party.ids['webhook']}/test").raise_for_status()
            party.ids["delivery"] = sent.json()["id"]
        with party.client() as api:
            made = api.post("/v1/jobs", json=train_body(labels={word: word}), headers={"Idempotency-Key": "the-key"})
            job = made.raise_for_status().json()["id"]
            claim = self.claimed(job)
            self.worker.metrics(claim, 1, 3, name=f"{word}/loss")
            self.worker.log(claim, f"{word} in the log\n")
            self.worker.checkpoint(claim, 3)
            self.worker.artifact(claim, "log.txt", word.encode(), "text/plain")
            self.worker.publish(claim)
            self.worker.finish(claim)
            api.patch(f"/v1/jobs/{job}", json={"name": word, "notes": word}).raise_for_status()
            weights = {"weights": ("model.safetensors", model_file({**MANIFEST, "config": {"seed": len(word)}}))}
            model = api.post("/v1/models", files=weights).raise_for_status().json()["id"]
            api.patch(f"/v1/models/{model}", json={"name": word, "labels": {word: word}}).raise_for_status()
            api.put(f"/v1/models/{model}/aliases/{word}").raise_for_status()
            files = {"file": ("a.zip", zipped(folders(word, "b")))}
            dataset = api.post("/v1/datasets", data={"name": word}, files=files).raise_for_status().json()["id"]
            body = {"name": word, "base": train_body(labels={word: word}), "grid": {"optimizer.eta": [1, 0.5]}}
            sweep = api.post("/v1/sweeps", json=body).raise_for_status().json()["id"]
            party.ids |= {"job": job, "model": model, "dataset": dataset, "sweep": sweep, "alias": word}

    def attempt(self, party: Party) -> attempts.Claim:
        """A running job of the project."""
        with party.client() as api:
            job = api.post("/v1/jobs", json=train_body()).raise_for_status().json()["id"]
        return self.claimed(job)

    def claimed(self, job: str) -> attempts.Claim:
        """The claim of a job; what is before it in the queue is claimed too, and stays so."""
        while (claim := self.worker.claim()).job_id != job:
            pass
        return claim


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Authentication is on."""
    return settings.model_copy(update={"auth": "on"})


@pytest.fixture
def guarded(settings: Settings) -> Iterator[Access]:
    """A server that needs keys, on each kind of database."""
    with running(settings) as site:
        access = Access(site)
        yield access
        access.database.dispose()
