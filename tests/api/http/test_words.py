"""What the API answers to what it does not take: the nearest thing that it does, in words and not in expressions."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from tests.support.specs import train_body

SENTENCES_OF_PYDANTIC = re.compile(r"valid (integer|tuple|string|list|dict|boolean|number)|pattern|\\x|\^\[|Input ")


def errors(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("path", "pointer", "says"),
    [
        ("/v1/jobs?state=queued", "/query/state", "did you mean status?"),
        (
            "/v1/jobs?tags=a",
            "/query/tags",
            "known: after, dataset, kind, label, limit, order, project, q, sort, starred, status, sweep",
        ),
        ("/v1/jobs?limt=3", "/query/limt", "did you mean limit?"),
        ("/v1/jobs?limit=many", "/query/limit", "must be an integer"),
        ("/v1/jobs?limit=0", "/query/limit", "must be ≥ 1, got "),
        ("/v1/jobs?limit=101", "/query/limit", "must be ≤ 100"),
        ("/v1/jobs?status=done", "/query/status/0", "must be one of queued, running, "),
        ("/v1/jobs?label=user=ann", "/query/label/0", "must be a label as name:value, such as user:ann"),
        ("/v1/jobs?kind=training", "/query/kind", "must be one of train, evaluate"),
        ("/v1/compare?job=job_1", "/query/job", "must have at least 2 entries, got 1"),
        (f"/v1/jobs?after={'x' * 201}", "/query/after", "must have at most 200 characters"),
    ],
)
def test_parameters_are_refused_in_words(lite_api: httpx2.Client, path: str, pointer: str, says: str) -> None:
    found = errors(lite_api.get(path))
    assert says in found[pointer]
    assert not SENTENCES_OF_PYDANTIC.search(found[pointer])


@pytest.mark.parametrize(
    ("changes", "pointer", "says"),
    [
        ({"labels": {"a:b": "x"}}, "/labels/a:b", "none of them a colon"),
        ({"labels": {"a": [7]}}, "/labels/a", "must be a label's text"),
        ({"optimizer": {"learning_rate": 1}}, "/optimizer/learning_rate", "did you mean optimizer.lr?"),
        ({"num_workers": 2}, "/num_workers", "did you mean resources.loader_workers?"),
        ({"amp": True}, "/amp", "did you mean precision?"),
        ({"random_state": 1}, "/random_state", "did you mean seed?"),
        ({"model": {"architecture": "resnet20"}}, "/model/architecture", "did you mean model.arch?"),
        ({"dataset": "digits"}, "/dataset", "must be an object"),
        ({"early_stop": 3}, "/early_stop", "must be an object"),
        ({"epochs": "ten"}, "/epochs", "must be an integer ≥ 1"),
        ({"init_from": "no model!"}, "/init_from", "must be a model's id"),
    ],
)
def test_a_spec_is_refused_in_words(lite_api: httpx2.Client, changes: dict[str, Any], pointer: str, says: str) -> None:
    body = {**train_body(), **changes} if isinstance(changes.get("dataset"), str) else train_body(**changes)
    found = errors(lite_api.post("/v1/jobs", json=body))
    assert says in found[pointer]
    assert not SENTENCES_OF_PYDANTIC.search(found[pointer])


def test_headers_and_parts_of_forms_are_refused_in_words(lite_api: httpx2.Client) -> None:
    answer = lite_api.post("/v1/jobs", json=train_body(), headers={"Idempotency-Key": "a b"})
    assert errors(answer)["/header/idempotency-key"].startswith("must be 1 to 255 visible ASCII characters")
    answer = lite_api.post("/v1/models", files={"weight": b"x"})
    assert "did you mean weights?" in errors(answer)["/weight"]
