"""Recipes by REST, and jobs of kind analyze: submitting, refusing, finding them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from addercore import config
from tests.api.attempt import MANIFEST, Worker, model_file


def problems(answer: httpx2.Response) -> dict[str, str]:
    """Pointer to sentence of each bad field."""
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid"
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def submit(api: httpx2.Client, **spec: Any) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json={"kind": "analyze", **spec})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def import_model(api: httpx2.Client, **changes: Any) -> str:
    answer = api.post("/v1/models", files={"weights": model_file({**MANIFEST, **changes})})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_recipes_are_listed_in_the_papers_order(lite_api: httpx2.Client) -> None:
    page = lite_api.get("/v1/recipes").json()
    assert [recipe["name"] for recipe in page["data"]] == list(config.RECIPES)
    assert (page["has_more"], page["next"]) == (False, None)
    for recipe in page["data"]:
        info = config.RECIPES[recipe["name"]]
        assert recipe == {**info.to_dict(), "spec": config.recipe_spec(info.name), "operations": recipe["operations"]}
        assert recipe["operations"] > 0
        assert lite_api.get(f"/v1/recipes/{recipe['name']}").json() == recipe
    seen, after = [], None
    while after is not None or not seen:
        part = lite_api.get("/v1/recipes", params={"limit": 5, **({"after": after} if after else {})}).json()
        seen += [recipe["name"] for recipe in part["data"]]
        after = part["next"]
        assert len(seen) <= len(config.RECIPES)
    assert seen == list(config.RECIPES)
    assert lite_api.get("/v1/recipes", params={"after": "table9"}).json()["code"] == "bad_cursor"


def test_a_recipe_is_fitted_to_the_dataset_that_is_asked_for(lite_api: httpx2.Client) -> None:
    table2 = lite_api.get("/v1/recipes/table2", params={"dataset": "cifar10"}).json()
    assert table2["spec"] == config.recipe_spec("table2", "cifar10")
    assert table2["spec"]["archs"] == ["vgg_small", "resnet20", "resnet32"]
    listed = lite_api.get("/v1/recipes", params={"dataset": "cifar10"}).json()["data"]
    assert {recipe["spec"]["dataset"]["name"] for recipe in listed} == {"cifar10"}
    for path in ("/v1/recipes", "/v1/recipes/table2"):
        for name in ("nowhere", "ds_nowhere", "\x00"):
            assert list(problems(lite_api.get(path, params={"dataset": name}))) == ["/query/dataset"]
    assert lite_api.get("/v1/recipes/table9").status_code == 404


def test_every_recipe_is_accepted_as_it_is_listed(lite_api: httpx2.Client) -> None:
    for recipe in lite_api.get("/v1/recipes").json()["data"]:
        by_name = submit(lite_api, recipe=recipe["name"])
        as_listed = submit(lite_api, **{key: value for key, value in recipe["spec"].items() if key != "kind"})
        assert by_name["spec"] == as_listed["spec"]
        assert {key: by_name["spec"][key] for key in recipe["spec"]} == recipe["spec"]
        assert (by_name["kind"], by_name["status"]) == ("analyze", "queued")


def test_analyses_are_found_by_kind(api: httpx2.Client, worker: Worker) -> None:
    job = submit(api, recipe="figure4", labels={"study": "weights"})
    assert [one["id"] for one in api.get("/v1/jobs", params={"kind": "analyze"}).json()["data"]] == [job["id"]]
    assert api.get("/v1/jobs", params={"kind": "train"}).json()["data"] == []
    claim = worker.claim()
    assert (claim.job_id, claim.kind, claim.spec["recipe"]) == (job["id"], "analyze", "figure4")
    worker.checkpoint(claim, 40)
    assert api.post(f"/v1/jobs/{job['id']}/pause").json()["status"] == "pausing"
    worker.pause(claim)
    assert api.post(f"/v1/jobs/{job['id']}/resume").json()["status"] == "queued"
    worker.finish(worker.claim())
    again = api.post(f"/v1/jobs/{job['id']}/retry", params={"from": "checkpoint"}).json()
    assert (again["kind"], again["spec"]) == ("analyze", job["spec"])


def test_validate_only_counts_the_first_network(lite_api: httpx2.Client) -> None:
    def validated(**spec: Any) -> dict[str, Any]:
        answer = lite_api.post("/v1/jobs", params={"validate_only": "true"}, json={"kind": "analyze", **spec})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    adder = validated(recipe="table4", dataset={"name": "mnist"})
    assert adder["spec"]["etas"] == [1.0, 0.5, 0.2, 0.1, 0.05]
    assert adder["model"]["operations"]["add"] == 833_040
    by_name = validated(recipe="table2", archs=["resnet20"], methods=["conv", "adder"])["model"]
    assert by_name["operations"]["mul"] > 0
    model = import_model(lite_api)
    assert validated(recipe="figure4", model_id=model)["model"]["operations"] == adder["model"]["operations"]
    assert lite_api.get("/v1/jobs").json()["data"] == []


def test_a_dataset_that_is_not_there_names_the_command_that_fetches_it(lite_api: httpx2.Client) -> None:
    answer = lite_api.post("/v1/jobs", json={"kind": "analyze", "recipe": "table2", "dataset": {"name": "cifar10"}})
    assert "adder datasets fetch cifar10" in problems(answer)["/dataset/name"]


def test_a_model_must_be_there_and_fit(api: httpx2.Client) -> None:
    def refused(**spec: Any) -> dict[str, str]:
        return problems(api.post("/v1/jobs", json={"kind": "analyze", **spec}))

    assert list(refused(recipe="figure4", model_id="model_none")) == ["/model_id"]
    model = import_model(api)
    assert "recipes that take a model" in refused(recipe="table1", model_id=model)["/model_id"]
    assert list(refused(recipe="figure4", model_id=model, control="permuted_labels")) == ["/control"]
    colour = {"kind": "analyze", "recipe": "variance", "model_id": model, "dataset": {"name": "cifar10"}}
    answer = api.post("/v1/jobs", params={"validate_only": "true"}, json=colour)
    assert "the model takes [1, 32, 32]; it was trained on digits" in problems(answer)["/dataset/name"]
    job = submit(api, recipe="figure4", model_id=model)
    assert (job["spec"]["model_id"], job["spec"]["archs"]) == (model, None)
    assert job["spec"]["dataset"]["name"] == "digits"


def test_a_model_is_looked_at_as_what_it_was_trained_on(api: httpx2.Client) -> None:
    model = import_model(api, dataset="mnist")
    assert submit(api, recipe="figure4", model_id=model)["spec"]["dataset"]["name"] == "mnist", "weights alone"
    answer = api.post("/v1/jobs", json={"kind": "analyze", "recipe": "variance", "model_id": model})
    assert "adder datasets fetch mnist" in problems(answer)["/dataset/name"], "its images are needed"
    on_digits = submit(api, recipe="variance", model_id=model, dataset={"name": "digits"})
    assert on_digits["spec"]["dataset"]["name"] == "digits"
    stray = import_model(api, dataset="my cats")
    answer = api.post("/v1/jobs", json={"kind": "analyze", "recipe": "figure4", "model_id": stray})
    assert list(problems(answer)) == ["/dataset/name"]


def test_a_model_stays_while_an_analysis_needs_it(api: httpx2.Client) -> None:
    model = import_model(api)
    job = submit(api, recipe="figure4", model_id=model)
    refused = api.delete(f"/v1/models/{model}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert job["id"] in refused.json()["detail"]
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert api.delete(f"/v1/models/{model}").status_code == 204
    assert api.post(f"/v1/jobs/{job['id']}/retry").status_code == 409


@pytest.mark.parametrize("path", ["/v1/recipes", "/v1/recipes/table1"])
def test_unknown_parameters_are_refused(lite_api: httpx2.Client, path: str) -> None:
    assert list(problems(lite_api.get(path, params={"data": "digits"}))) == ["/query/data"]


def test_the_document_names_the_recipes(lite_api: httpx2.Client) -> None:
    document = lite_api.get("/openapi.json").json()
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["mapping"]["analyze"] == "#/components/schemas/AnalyzeSpec"
    assert document["components"]["schemas"]["AnalyzeSpec"]["properties"]["recipe"]["enum"] == list(config.RECIPES)
    assert "/v1/recipes/{name}" in document["paths"]
