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
        ("/v1/jobs?cursor=x", "/query/cursor", "did you mean after?"),
        ("/v1/jobs?per_page=10", "/query/per_page", "did you mean limit?"),
        ("/v1/jobs?status=done", "/query/status/0", "must be one of queued, running, "),
        ("/v1/jobs?status=done", "/query/status/0", 'got "done" (did you mean succeeded?)'),
        ("/v1/jobs?status=Canceled", "/query/status/0", "did you mean cancelled?"),
        ("/v1/jobs?label=user=ann", "/query/label/0", "must be a label as name:value, such as user:ann"),
        ("/v1/jobs?kind=training", "/query/kind", "must be one of train, evaluate"),
        ("/v1/jobs?kind=quantise", "/query/kind", "did you mean quantize?"),
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
        ({"model": {"arch": "LeNet-5-BN"}}, "/model/arch", 'got "LeNet-5-BN" (did you mean lenet5_bn?)'),
        ({"model": {"arch": "ResNet20"}}, "/model/arch", "did you mean resnet20?"),
        ({"model": {"arch": "lenet5_bn", "method": "AdderNet"}}, "/model/method", "did you mean adder?"),
        ({"model": {"arch": "lenet5_bn", "method": "cnn"}}, "/model/method", "did you mean conv?"),
        ({"resources": {"device": "gpu"}}, "/resources/device", "did you mean cuda?"),
        ({"dataset": {"name": "MNIST"}}, "/dataset/name", "'MNIST' is no dataset (did you mean mnist?); published: "),
        ({"dataset": {"name": "Fashion-MNIST"}}, "/dataset/name", "did you mean fashion_mnist?"),
        ({"dataset": {"name": "nowhere"}}, "/dataset/name", "'nowhere' is no dataset; published: "),
        ({"name": "mine"}, "/name", "is not a field; known: "),
        ({"dataset": "digits"}, "/dataset", "must be an object"),
        ({"dataset": ["digits"]}, "/dataset", "must be an object, got a list"),
        ({"epochs": {"max": 3}}, "/epochs", "must be an integer ≥ 1 and ≤ 100000, got an object"),
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


@pytest.mark.parametrize(
    ("path", "body", "pointer", "says"),
    [
        ("/v1/keys", {"name": "a", "role": "owner"}, "/role", "did you mean admin?"),
        ("/v1/keys", {"name": "a", "role": "read"}, "/role", "did you mean viewer?"),
        ("/v1/webhooks", {"endpoint": "https://a.example"}, "/endpoint", "did you mean url?"),
        (
            "/v1/webhooks",
            {"url": "https://a.example", "events": ["job.done"]},
            "/events/0",
            "did you mean job.succeeded?",
        ),
        ("/v1/sweeps", {"spec": train_body(), "grid": {"seed": [1]}}, "/spec", "did you mean base?"),
        ("/v1/sweeps", train_body(), "", "is a job's spec; put it under base"),
        ("/v1/sweeps", {"base": train_body(), "random": {}}, "/random", "did you mean search?"),
        (
            "/v1/sweeps",
            {"base": train_body(), "search": {"trials": 4}},
            "/search/trials",
            "must be the range of a field",
        ),
    ],
)
def test_keys_webhooks_and_sweeps_are_refused_in_words(
    lite_api: httpx2.Client, path: str, body: dict[str, Any], pointer: str, says: str
) -> None:
    assert says in errors(lite_api.post(path, json=body))[pointer]


def test_headers_and_parts_of_forms_are_refused_in_words(lite_api: httpx2.Client) -> None:
    answer = lite_api.post("/v1/jobs", json=train_body(), headers={"Idempotency-Key": "a b"})
    assert errors(answer)["/header/idempotency-key"].startswith("must be 1 to 255 visible ASCII characters")
    answer = lite_api.post("/v1/models", files={"weight": b"x"})
    assert "did you mean weights?" in errors(answer)["/weight"]


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"[]", "must be an object, got a list"), (b"null", "must be an object"), (b'"train"', "must be an object")],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sweeps"])
def test_a_body_is_an_object(lite_api: httpx2.Client, path: str, body: bytes, says: str) -> None:
    answer = lite_api.post(path, content=body, headers={"Content-Type": "application/json"})
    assert errors(answer)[""].startswith(says)


def test_a_name_that_stands_twice_is_not_guessed(lite_api: httpx2.Client) -> None:
    for body, name in ((b'{"kind": "train", "kind": "evaluate"}', "kind"), (b'{"a": [{"b": 1, "b": 1}]}', "b")):
        for path in ("/v1/jobs", "/v1/sweeps"):
            answer = lite_api.post(path, content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")
            assert f"an object has '{name}' twice" in answer.json()["detail"]
