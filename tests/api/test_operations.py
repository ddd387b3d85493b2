"""Every REST operation says what it does, what it takes, which errors it answers, and on which standard it builds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.http.problems import KINDS, MEDIA_TYPE
from jobs.settings import Settings

ANY_CALL = frozenset(
    {"unknown_host", "internal", "database_unavailable", "foreign_origin"}
    | {"unauthorized", "forbidden", "rate_limited", "not_found"}
)
"""Problems that every call may answer; the document's introduction explains them. `not_found` may be the project."""
METHODS = frozenset({"get", "post", "put", "patch", "delete"})
FEWEST_WORDS = 8
SOURCES = {
    "Range": r"RFC 9110",
    "Last-Event-ID": r"HTML Living Standard",
    "accept": r"RFC 9110",
    "idempotency-key": r"draft-ietf-httpapi-idempotency-key-header",
    "multipart/form-data": r"RFC 7578|form",
    "text/csv": r"RFC 4180",
}
"""What an operation that has this parameter or media type must refer to."""


def defects(operation: dict[str, Any], codes_of_all: frozenset[str] = ANY_CALL) -> Iterator[str]:
    """What the description of one operation lacks."""
    if not operation.get("summary"):
        yield "no summary"
    about, _, errors = operation.get("description", "").partition("Errors:")
    if len(about.split()) < FEWEST_WORDS:
        yield f"a description of fewer than {FEWEST_WORDS} words"
    if not errors.strip():
        yield "no sentence about its errors (`Errors: …`)"
    for code in sorted(_codes(operation) - codes_of_all - {"invalid"}):
        if f"`{code}`" not in errors:
            yield f"nothing about its error `{code}`"
    for code in re.findall(r"`(\w+)`", errors):
        if code in KINDS and code not in _codes(operation):
            yield f"the error `{code}`, which its responses lack"
    for code, status in _statuses(errors):
        if KINDS[code].status != status:
            yield f"the error `{code}` as {status}, which is {KINDS[code].status}"
    for parameter in operation.get("parameters", []):
        if not parameter.get("description"):
            yield f"no description of the parameter {parameter['name']}"
    for status, response in operation["responses"].items():
        if not response.get("description"):
            yield f"no description of {status}"
        if status >= "400" and not response.get("content"):
            yield f"no body of {status}"
    whole = str(operation)
    for sign, source in SOURCES.items():
        if f"'{sign}'" in whole and not re.search(source, whole):
            yield f"no source of {sign} ({source})"


def _statuses(errors: str) -> Iterator[tuple[str, int]]:
    """Each code with the status that stands before it."""
    for clause in errors.split(";"):
        status = None
        for number, code in re.findall(r"\b([45]\d\d)\b|`(\w+)`", clause):
            if number:
                status = int(number)
            elif code in KINDS and status is not None:
                yield code, status


def _codes(operation: dict[str, Any]) -> frozenset[str]:
    contents = [response.get("content", {}).get(MEDIA_TYPE, {}) for response in operation["responses"].values()]
    return frozenset(code for content in contents for code in content.get("examples", {}))


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("data")
    return create_app(Settings(data_dir=folder)).openapi()


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    found = {
        f"{method.upper()} {path}": list(defects(operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }
    assert len(found) > 30
    assert {name: lacks for name, lacks in found.items() if lacks} == {}


def test_every_schema_of_an_answer_is_described(document: dict[str, Any]) -> None:
    undescribed = {name for name, schema in document["components"]["schemas"].items() if not schema.get("description")}
    answers = {name for name in undescribed if not name.endswith("Spec") and "Page_" not in name}
    assert {name for name in answers if _is_answer(document, name)} == set()


def _is_answer(document: dict[str, Any], name: str) -> bool:
    responses = [op["responses"] for path in document["paths"].values() for op in path.values()]
    return f"schemas/{name}'" in str(responses)


def test_a_poor_description_is_found() -> None:
    problem = {MEDIA_TYPE: {"examples": {"conflict": {}, "internal": {}}}}
    poor = {
        "summary": "Do",
        "description": "Does it.\n\nErrors: 404 `not_found`.",
        "parameters": [{"name": "Range", "in": "header"}],
        "responses": {"200": {"description": "OK"}, "409": {"description": "No", "content": problem}, "410": {}},
    }
    assert list(defects(poor)) == [
        "a description of fewer than 8 words",
        "nothing about its error `conflict`",
        "the error `not_found`, which its responses lack",
        "no description of the parameter Range",
        "no description of 410",
        "no body of 410",
        "no source of Range (RFC 9110)",
    ]
