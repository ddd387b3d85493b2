"""Requests with keys of two projects: no answer to one has a word of the other.

Every field of one project's objects that its users choose has a canary in it. Half of the other's generated requests
name these objects, in paths, queries and bodies. What a request says itself its answer may repeat.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.database import Database
from jobs.migrate import migrate
from tests.api.access.conftest import CANARY, Access, Party
from tests.api.conftest import running
from tests.conftest import quick_settings
from tests.fuzz.requests import PATIENCE_SECONDS, Ask, operations, rounds
from tests.support.servers import Valkey

OF_ROOM = {"jobs": "job", "models": "model", "datasets": "dataset", "sweeps": "sweep", "keys": "key"}
FIELDS = {
    "init_from": "model", "teacher": "model", "model_id": "model", "job": "job", "id": "job", "sweep": "sweep",
    "dataset": "dataset", "object": "job", "dataset/name": "dataset", "label": "word", "q": "word",
}  # fmt: skip
"""Names of parameters and of fields of bodies, and what of the other project can stand there. Only what refers to an
object: a free text that repeats a canary would be stored, and later answers would rightly have it."""
OWN = 20
"""One request in so many is sent with the canaries' own key: it shows that they can be seen."""


def run(folder: Path, number: int, seed: int) -> list[str]:
    """Sends so many requests to a server of its own, and prints what was answered. Returns what is wrong."""
    answers: Counter[int] = Counter()
    seen: Counter[str] = Counter()
    valkey = Valkey(folder / "valkey")
    valkey.start()
    try:
        settings = quick_settings(
            folder / "data", f"sqlite:///{folder / 'adder.db'}", valkey.url, auth="on", max_queued_jobs=1_000_000
        )
        database = Database(settings.resolved_database_url)
        migrate(database)
        database.dispose()
        with running(settings) as site:
            access = Access(site)
            one, other = access.party(CANARY), access.party("audio")
            access.fill(one, CANARY)
            found = list(_send(site.url, one, other, number, seed, answers, seen))
            access.database.dispose()
    finally:
        valkey.close()
    named = ", ".join(f"{status} × {count}" for status, count in sorted(answers.items()))
    print(f"{sum(answers.values())} requests with keys of two projects: {named}")
    print(f"canaries in {seen['own']} answers to their own project and in {seen['other']} to the other")
    if not seen["own"]:
        found.append("no canary was seen by its own project: nothing was tried")
    return found


def _send(
    url: str, one: Party, other: Party, number: int, seed: int, answers: Counter[int], seen: Counter[str]
) -> Iterator[str]:
    chance = random.Random(seed)
    canaries = {CANARY, one.project.id, *(one.ids[kind] for kind in OF_ROOM.values())}

    def of(operation: Any, wrong: list[str]) -> Ask:
        reads = operation.method.upper() == "GET" and not operation.path.endswith(("/stream", "/logs"))

        def ask(case: Any) -> None:
            own = reads and chance.randrange(OWN) == 0
            if own or chance.random() < 0.5:
                _name(case, one, chance)
            key = (one if own else other).keys["admin"]
            try:
                answer = case.call(timeout=PATIENCE_SECONDS, headers={"Authorization": f"Bearer {key}"})
            except Exception as error:  # noqa: BLE001  (a finding, whatever it is)
                wrong.append(f"{case.method} {case.path}: {type(error).__name__}: {error}")
                return
            answers[answer.status_code] += 1
            asked = _said(case)
            told = f"{answer.headers}\n{answer.content.decode(errors='replace')}"  # a model's file is no text
            leaked = sorted(word for word in canaries if word in told and word not in asked)
            if leaked:
                seen["own" if own else "other"] += 1
            if leaked and not own:
                wrong.append(f"{leaked} in {answer.status_code} to {case.as_curl_command()[:1000]}\n{told[:500]}")

        return ask

    yield from rounds(operations(url), number, seed, answers, of)


def _name(case: Any, one: Party, chance: random.Random) -> None:
    """Puts ids of a project's objects where a request names some."""
    room = case.path.split("/")[2] if case.path.startswith("/v1/") else ""
    kind = OF_ROOM.get(room)
    path = case.path_parameters or {}
    if "id" in path:
        path["id"] = one.project.id if room == "projects" else one.ids[kind or "job"]
    for document in (case.query, case.body):
        _replace(document, one, chance)


def _replace(document: Any, one: Party, chance: random.Random, parent: str = "") -> None:
    values = document.items() if isinstance(document, dict) else enumerate(document) if _is_list(document) else ()
    for name, value in list(values):
        kind = FIELDS.get(str(name), FIELDS.get(f"{parent}/{name}"))
        if kind is not None and isinstance(value, str | None) and chance.random() < 0.7:
            document[name] = CANARY if kind == "word" else one.ids[kind]
        else:
            _replace(value, one, chance, str(name))


def _is_list(document: Any) -> bool:
    return isinstance(document, list)


def _said(case: Any) -> str:
    """What a request says: an answer may repeat it."""
    return json.dumps([case.path_parameters, case.query, case.headers, case.body], default=str)
