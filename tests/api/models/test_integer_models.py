"""Integer models by REST: what can be made of which model, and in which formats each is downloaded."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from jobs.access.scope import DEFAULT
from jobs.repository import models
from tests.api.attempt import MANIFEST, Worker, model_file

QUANTISATION = {"bits": 8, "groups": 1, "rescale": "multiply", "correction": "affine", "finetune": None}
DIGITS = {"name": "digits"}


def published(worker: Worker, content: bytes = b"integers", format: str = "safetensors", **changes: Any) -> str:
    """The id of a model with a manifest that says so."""
    stored = worker.store.put_stream([content])
    with worker.database.write(DEFAULT) as session:
        row = models.new_model(MANIFEST | changes, stored, source="trained", job_id=None, metrics=None, format=format)
        models.add_model(session, row)
        return row.id


@pytest.fixture
def floating(worker: Worker) -> str:
    return published(worker, model_file())


@pytest.fixture
def integer(worker: Worker) -> str:
    return published(worker, format="adder", quantisation=QUANTISATION)


def detail(answer: httpx2.Response, pointer: str) -> str:
    assert answer.status_code == 422, answer.text
    return next(str(one["detail"]) for one in answer.json()["errors"] if one["pointer"] == pointer)


def test_each_is_downloaded_as_what_it_is(api: httpx2.Client, floating: str, integer: str) -> None:
    assert api.get(f"/v1/models/{integer}").json()["format"] == "adder"
    for url in (f"/v1/models/{integer}/download", f"/v1/models/{integer}/download?format=adder"):
        answer = api.get(url)
        assert (answer.content, answer.status_code) == (b"integers", 200)
        assert f'filename="{integer}.adder"' in answer.headers["content-disposition"]
    assert api.get(f"/v1/models/{floating}/download").content == model_file()
    for model, format, says in ((integer, "safetensors", "no float weights"), (floating, "adder", "kind quantize")):
        refused = api.get(f"/v1/models/{model}/download", params={"format": format})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert says in refused.json()["detail"]


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"kind": "quantize", "model_id": "INTEGER"}, "/model_id"),
        ({"kind": "analyze", "recipe": "figure4", "model_id": "INTEGER"}, "/model_id"),
        ({"kind": "train", "model": {"arch": "lenet5_bn"}, "epochs": 1, "init_from": "INTEGER"}, "/init_from"),
        (
            {"kind": "train", "model": {"arch": "lenet5_bn"}, "epochs": 1, "distill": {"teacher": "INTEGER"}},
            "/distill/teacher",
        ),
    ],
    ids=["quantize", "analyze", "init_from", "distill"],
)
def test_what_needs_float_weights_refuses_integers(
    api: httpx2.Client, integer: str, spec: dict[str, Any], pointer: str
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return integer if value == "INTEGER" else value

    said = detail(api.post("/v1/jobs", json=filled(spec) | {"dataset": DIGITS}), pointer)
    assert "integer model" in said
    assert "derived" in said


@pytest.mark.parametrize("method", ["bnn", "xnor", "bwn"])
def test_a_binary_network_is_refused_by_name(api: httpx2.Client, worker: Worker, method: str) -> None:
    network = MANIFEST["network"] | {"method": method, "first_last": "conv"}
    model = published(worker, network=network)
    body = {"kind": "quantize", "model_id": model, "dataset": DIGITS}
    assert f"by {method}; networks of adder and conv" in detail(api.post("/v1/jobs", json=body), "/model_id")


def test_quantize_and_evaluate_are_taken(api: httpx2.Client, floating: str, integer: str) -> None:
    body = {"kind": "quantize", "model_id": floating, "dataset": DIGITS, "bits": 4, "finetune": {}}
    spec = api.post("/v1/jobs", json=body).raise_for_status().json()["spec"]
    assert (spec["groups"], spec["finetune"]) == (1, {"epochs": 2, "lr": 0.01})
    api.post("/v1/jobs", json={"kind": "evaluate", "model_id": integer, "dataset": DIGITS}).raise_for_status()
    for field, value in (("bits", 9), ("bits", 1), ("groups", 0), ("rescale", "round"), ("calibration_images", 1)):
        assert detail(api.post("/v1/jobs", json=body | {field: value}), f"/{field}")
    wrong = api.post("/v1/jobs", json=body | {"dataset": {"name": "mnist"}})
    assert wrong.status_code == 422


def test_a_sweep_over_bits_compares_by_the_integer_accuracy(api: httpx2.Client, floating: str) -> None:
    base = {"kind": "quantize", "model_id": floating, "dataset": DIGITS}
    sweep = api.post("/v1/sweeps", json={"base": base, "grid": {"bits": [8, 4], "groups": [1, 4]}})
    assert sweep.raise_for_status().json()["spec"]["objective"] == "result.integer.accuracy"
    wrong = api.post("/v1/sweeps", json={"base": base, "grid": {"bits": [8]}, "objective": "result.integr.accuracy"})
    assert "a quantisation" in detail(wrong, "/objective")
