"""Requests that schemathesis makes from the OpenAPI document, half of them such as the document forbids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.fuzz.objects import LISTS
from tests.fuzz.server import Server
from tests.fuzz.watch import Watch

EXPECTED = {("/readyz", 503)}
"""Answers of 5xx that are right: no worker runs here."""
PATIENCE_SECONDS = 30.0
MOST_AT_ONCE = 200
"""Requests of one operation in a row, so that objects of other rooms come in between."""


Ask = Callable[[Any], None]
"""Sends a case and looks at its answer."""


def operations(url: str) -> list[Any]:
    """Every operation of the document of a server."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=2 * PATIENCE_SECONDS)
    return [found.ok() for found in document.get_all_operations()]


def send(server: Server, watch: Watch, number: int, start: int, answers: Counter[int]) -> Iterator[str]:
    """Sends about `number` requests; yields what is wrong with an answer.

    Args:
        number: of requests in all.
        start: the seed from which all of them follow.
        answers: counts the answers by status.
    """
    known = _known(server)

    def of(operation: Any, wrong: list[str]) -> Ask:
        watch.doing(f"{operation.method.upper()} {operation.path} was asked")
        return _asking(operation, answers, known, wrong)

    yield from rounds(operations(server.url), number, start, answers, of)


def rounds(
    found: list[Any], number: int, start: int, answers: Counter[int], of: Callable[[Any, list[str]], Ask]
) -> Iterator[str]:
    """Sends cases of all operations in turns until `answers` has so many; yields what is wrong.

    Args:
        found: the operations.
        number: of requests in all.
        start: the seed from which all of them follow.
        answers: counts the answers by status.
        of: makes what sends the cases of an operation, which adds what is wrong to a list.
    """
    calls = [(operation, mode) for operation in found for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    round_ = 0
    while sum(answers.values()) < number:
        left = number - sum(answers.values())
        share = min(MOST_AT_ONCE, max(1, left // len(calls)))
        for operation, mode in tuple(calls):
            wrong: list[str] = []
            try:
                _generated(operation, mode, share, start + round_, of(operation, wrong))
            except Unsatisfiable:  # a call that takes nothing cannot be made wrongly: found out once, after 500 tries
                calls.remove((operation, mode))
            yield from wrong
        round_ += 1


def _generated(operation: Any, mode: GenerationMode, number: int, start: int, ask: Ask) -> None:
    @seed(start)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        ask(case)

    each()


def _known(server: Server) -> dict[str, str]:
    """An id that leads somewhere, by the first part of the path behind `/v1/`."""
    with httpx2.Client(base_url=server.url) as api:
        return {name: api.get(f"/v1/{name}").json()["data"][0]["id"] for name in LISTS}


def _asking(operation: Any, answers: Counter[int], known: dict[str, str], wrong: list[str]) -> Ask:
    room = operation.path.split("/")[2] if operation.path.startswith("/v1/") else ""
    leads = room in known and operation.method != "delete"

    def ask(case: Any) -> None:
        # An id that the document allows is one of an object that is not there; two of three shall lead somewhere.
        if leads and "id" in (case.path_parameters or {}) and sum(answers.values()) % 3:
            case.path_parameters["id"] = known[room]
        try:
            answer = case.call(timeout=PATIENCE_SECONDS)
        except Exception as error:  # noqa: BLE001  (a finding, whatever it is)
            wrong.append(f"{case.method} {case.path}: {type(error).__name__}: {error}\n{case.as_curl_command()}")
            return
        answers[answer.status_code] += 1
        if answer.status_code >= 500 and (operation.path, answer.status_code) not in EXPECTED:
            wrong.append(f"{answer.status_code} {answer.text[:300]}\n{case.as_curl_command()[:1000]}")

    return ask
