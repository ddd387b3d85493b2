"""Names, notes, labels, stars and aliases, as a client keeps them; what a list finds by them."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.api.attempt import MANIFEST, Worker, model_file
from tests.support import datasets
from tests.support.specs import train_body

BODY = train_body()


def submit(api: httpx2.Client, **changes: Any) -> str:
    answer = api.post("/v1/jobs", json=train_body(**changes))
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def imported(api: httpx2.Client, fill: int = 0) -> str:
    found: str = api.post("/v1/models", files={"weights": model_file(MANIFEST, bytes([fill]))}).json()["id"]
    return found


def ids(api: httpx2.Client, path: str = "/v1/jobs", **query: Any) -> list[str]:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


@pytest.fixture(params=["jobs", "models"])
def one(request: pytest.FixtureRequest, api: httpx2.Client) -> str:
    """The path of a job, and of a model."""
    return f"/v1/jobs/{submit(api)}" if request.param == "jobs" else f"/v1/models/{imported(api)}"


def test_a_merge_patch_changes_what_it_names(api: httpx2.Client, one: str) -> None:
    before = api.get(one).json()
    assert (before["name"], before["notes"], before["labels"], before["starred"]) == (None, None, {}, False)
    change = {"name": " the first ", "notes": "line\n\tline", "labels": {"a": "1", "b": 2, "c": True}, "starred": True}
    answer = api.patch(one, json=change)
    assert answer.status_code == 200, answer.text
    kept = {"name": "the first", "notes": "line\n\tline", "labels": {"a": "1", "b": "2", "c": "true"}, "starred": True}
    assert answer.json() == before | kept
    assert api.patch(one, json={}).json() == before | kept
    answer = api.patch(one, json={"labels": {"b": None, "c": "3", "none": None}})
    assert answer.json() == before | kept | {"labels": {"a": "1", "c": "3"}}
    assert api.patch(one, json={"labels": None, "name": None, "notes": None, "starred": False}).json() == before
    assert api.get(one).json() == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "  "}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\x1b[2Jb"}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": 7}, "/name"),
        ({"notes": "x" * 4001}, "/notes"),
        ({"notes": "\x00"}, "/notes"),
        ({"notes": "\x9b31m"}, "/notes"),
        ({"notes": "\ud800"}, "/notes"),
        ({"starred": None}, "/starred"),
        ({"starred": "yes"}, "/starred"),
        ({"labels": {"a:b": "c"}}, "/labels"),
        ({"labels": {"a": "x" * 257}}, "/labels/a"),
        ({"labels": {"a": []}}, "/labels/a"),
        ({"labels": []}, "/labels"),
        ({"colour": "red"}, "/colour"),
        ([], ""),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(lite_api: httpx2.Client, body: Any, pointer: str) -> None:
    for path in (f"/v1/jobs/{submit(lite_api)}", f"/v1/models/{imported(lite_api)}"):
        before = lite_api.get(path).json()
        answer = lite_api.patch(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"].startswith(pointer)
        assert lite_api.get(path).json() == before


def test_an_object_has_at_most_32_labels(api: httpx2.Client, one: str) -> None:
    assert api.patch(one, json={"labels": {str(n): "" for n in range(32)}}).status_code == 200
    refused = api.patch(one, json={"labels": {"one": "more"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert api.patch(one, json={"labels": {"one": "more", "0": None}}).status_code == 200
    assert len(api.get(one).json()["labels"]) == 32


def test_what_is_not_there_is_404(lite_api: httpx2.Client) -> None:
    for path in ("/v1/jobs/job_00000000000000000000000000", "/v1/models/model_00000000000000000000000000"):
        assert lite_api.patch(path, json={"starred": True}).status_code == 404
    for path in ("/v1/models/nobody", "/v1/models/Nobody", "/v1/models/%00"):
        assert lite_api.patch(path, json={"starred": True}).status_code == 404
        assert lite_api.put(f"{path}/aliases/a").status_code == 404
        assert lite_api.delete(f"{path}/aliases/a").status_code == 404


def test_a_job_is_kept_in_any_state_and_its_attempt_is_not_disturbed(api: httpx2.Client, worker: Worker) -> None:
    job = submit(api, labels={"study": "eta"})
    claim = worker.claim()
    assert api.patch(f"/v1/jobs/{job}", json={"name": "while it runs", "labels": {"study": "mu"}}).status_code == 200
    worker.metrics(claim, 1, 5)
    worker.finish(claim)
    found = api.patch(f"/v1/jobs/{job}", json={"starred": True}).json()
    assert (found["status"], found["name"], found["starred"]) == ("succeeded", "while it runs", True)
    assert found["labels"] == {"study": "mu"}
    assert found["spec"]["labels"] == {"study": "eta"}, "the spec is what was submitted"
    assert ids(api, label="study:mu") == [job]
    assert ids(api, label="study:eta") == []
    retry = api.post(f"/v1/jobs/{job}/retry").json()
    assert (retry["labels"], retry["spec"]["labels"]) == ({"study": "mu"}, {"study": "mu"})
    assert (retry["name"], retry["starred"]) == (None, False)


def test_the_labels_that_a_sweep_gives_stay(api: httpx2.Client) -> None:
    sweep = api.post("/v1/sweeps", json={"base": BODY, "grid": {"seed": [0, 1]}}).json()["id"]
    first, second = api.get(f"/v1/sweeps/{sweep}/trials").json()["data"]
    path = f"/v1/jobs/{first['job_id']}"
    for labels in ({"sweep": "mine"}, {"trial": None}, None):
        assert api.patch(path, json={"labels": labels}).status_code == 409
    assert api.patch(path, json={"labels": {"more": "1", "trial": "0"}}).status_code == 200
    assert ids(api, sweep=sweep) == [second["job_id"], first["job_id"]]
    assert ids(api, sweep="sweep_00000000000000000000000000") == []
    other = submit(api)
    assert api.patch(f"/v1/jobs/{other}", json={"labels": {"sweep": "a label of mine"}}).status_code == 200


# Aliases


def test_an_alias_stands_wherever_the_id_of_a_model_may(api: httpx2.Client, worker: Worker) -> None:
    first, second = imported(api, 0), imported(api, 1)
    answer = api.put(f"/v1/models/{first}/aliases/champion")
    assert (answer.status_code, answer.json()["aliases"]) == (200, ["champion"])
    assert api.put("/v1/models/champion/aliases/best.v1").json()["aliases"] == ["best.v1", "champion"]
    assert api.get("/v1/models/champion").json()["id"] == first
    assert api.get("/models/champion").status_code == 200
    assert api.get("/v1/models/champion/download").content == api.get(f"/v1/models/{first}/download").content
    assert api.post("/v1/models/champion/predict", json={"array": [[1]]}).json()["code"] == "inference_unavailable"
    assert api.patch("/v1/models/champion", json={"name": "won"}).json()["id"] == first
    evaluation = {"kind": "evaluate", "model_id": "champion", "dataset": {"name": "digits"}}
    assert api.post("/v1/jobs?validate_only=true", json=evaluation).json()["spec"]["model_id"] == first
    evaluated = api.post("/v1/jobs", json=evaluation).json()
    assert evaluated["spec"]["model_id"] == first, "a job stores the id"
    started = api.post("/v1/jobs", json=BODY | {"init_from": "champion", "distill": {"teacher": "best.v1"}}).json()
    assert (started["spec"]["init_from"], started["spec"]["distill"]["teacher"]) == (first, first)
    base = BODY | {"init_from": "champion"}
    grid = {"init_from": ["champion", second], "distill": [{"teacher": "champion"}, None]}
    sweep = api.post("/v1/sweeps", json={"base": base, "grid": grid}).json()
    assert sweep["spec"]["base"]["init_from"] == first
    assert sweep["spec"]["grid"] == {"init_from": [first, second], "distill": [{"teacher": first}, None]}
    # It moves, and what was submitted stays.
    assert api.put(f"/v1/models/{second}/aliases/champion").json()["aliases"] == ["champion"]
    assert api.get(f"/v1/models/{first}").json()["aliases"] == ["best.v1"]
    assert api.get(f"/v1/jobs/{evaluated['id']}").json()["spec"]["model_id"] == first
    assert api.delete(f"/v1/models/{first}/aliases/champion").status_code == 404, "it points to the other one"
    assert api.delete("/v1/models/champion/aliases/champion").status_code == 204
    assert api.get("/v1/models/champion").status_code == 404
    refused = api.post("/v1/jobs", json=evaluation)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/model_id")


@pytest.mark.parametrize(
    "alias",
    ["Champion", "1st", "model_x", f"model_{'0' * 26}", f"job_{'0' * 26}", "a" * 65, "a b", "a%00", "ä"],
)
def test_what_could_be_taken_for_an_id_is_no_alias(lite_api: httpx2.Client, alias: str) -> None:
    model = imported(lite_api)
    answer = lite_api.put(f"/v1/models/{model}/aliases/{alias}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert lite_api.delete(f"/v1/models/{model}/aliases/{alias}").status_code == 404


def test_a_model_has_at_most_32_aliases_and_takes_them_along(api: httpx2.Client) -> None:
    model = imported(api)
    for n in range(32):
        assert api.put(f"/v1/models/{model}/aliases/a{n}").status_code == 200
    assert api.put(f"/v1/models/{model}/aliases/a7").status_code == 200, "it has that one"
    assert api.put(f"/v1/models/{model}/aliases/one-more").status_code == 409
    assert api.put(f"/v1/models/{model}/aliases/b", json={"x": 1}).status_code == 422, "it takes no body"
    assert api.delete(f"/v1/models/{model}").status_code == 204
    assert api.get("/v1/models/a7").status_code == 404


# Search and filters


def test_each_word_of_a_search_begins_a_word_of_what_is_found(api: httpx2.Client) -> None:
    first = submit(api, labels={"study": "Eta-Sweep", "user": "ann"})
    second = submit(api, model={"arch": "vgg_small"})
    api.patch(f"/v1/jobs/{second}", json={"name": "Übung №7: baseline_of_Bob"})
    expected = {
        "lenet5_bn": [first],
        "LENET": [first],
        "bn": [first],
        "vgg": [second],
        "small": [second],
        "digits": [second, first],
        "eta": [first],
        "sweep ann": [first],
        "ann vgg": [],
        "study:eta": [first],
        "übung": [second],
        "ÜBUNG bob": [second],
        "ubung": [],
        "enet": [],
        "!?": [],
        " ": [second, first],
        "": [second, first],
        "%": [],
        "a%": [first],
    }
    assert {q: ids(api, q=q) for q in expected} == expected
    api.patch(f"/v1/jobs/{second}", json={"name": None, "labels": {"user": "bea"}})
    assert ids(api, q="baseline") == []
    assert ids(api, q="bea digits") == [second]
    assert api.get("/v1/jobs", params={"q": "a b c d e f g h"}).status_code == 200
    refused = api.get("/v1/jobs", params={"q": "a b c d e f g h i"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/q")
    assert api.get("/v1/jobs", params={"q": "x" * 101}).status_code == 422
    assert api.get("/v1/jobs", params={"q": "\x00"}).status_code == 422


def test_models_are_searched_and_filtered_too(api: httpx2.Client, worker: Worker) -> None:
    sweep = api.post("/v1/sweeps", json={"base": BODY, "grid": {"seed": [0]}}).json()["id"]
    claim = worker.claim()
    trained = worker.publish(claim)
    worker.finish(claim)
    other = imported(api, 1)
    api.patch(f"/v1/models/{other}", json={"name": "theirs", "labels": {"from": "paper"}, "starred": True})
    path = "/v1/models"
    assert ids(api, path, q="lenet") == [other, trained]
    assert ids(api, path, q="theirs") == ids(api, path, q="paper") == [other]
    assert ids(api, path, label="from:paper") == ids(api, path, starred="true") == [other]
    assert ids(api, path, starred="false") == ids(api, path, sweep=sweep) == [trained]
    assert ids(api, path, dataset="digits") == [other, trained]
    assert ids(api, path, dataset="mnist") == []
    assert ids(api, path, sort="metric:val/accuracy") == [other, trained], "0.97 before 0.9"
    assert ids(api, path, sort="metric:val/accuracy", order="asc") == [trained, other]
    assert ids(api, path, sort="finished", order="asc") == ids(api, path, order="asc") == [trained, other]
    api.delete(f"/v1/models/{other}")
    assert ids(api, path, q="lenet") == [trained]


def test_a_dataset_is_filtered_by_its_name_version_or_id(api: httpx2.Client, worker: Worker) -> None:
    datasets.ready(worker, "leaves")
    leaves = api.get("/v1/datasets/leaves").json()
    on_leaves = submit(api, dataset={"name": "leaves"})
    on_digits = submit(api)
    for name in ("leaves", "leaves@1", leaves["id"]):
        assert ids(api, dataset=name) == [on_leaves], name
    assert ids(api, dataset="digits") == [on_digits]
    for name in ("leaves@2", "leaves@x", "nothing", "leaves@99999999999999999999"):
        assert ids(api, dataset=name) == [], name
    assert on_leaves in ids(api, q="leaves")


def test_stars_filter_jobs(api: httpx2.Client) -> None:
    first, second = submit(api), submit(api)
    api.patch(f"/v1/jobs/{first}", json={"starred": True})
    assert ids(api, starred="true") == [first]
    assert ids(api, starred="false") == [second]
    assert ids(api, starred="true", status="running") == []
    assert ids(api, starred="true", q="digits", dataset="digits", kind="train", status="queued") == [first]


@pytest.mark.parametrize(
    "query",
    [{"sort": "eta"}, {"sort": "metric:"}, {"sort": "metric:a\x00"}, {"order": "up"}, {"starred": "maybe"},
     {"dataset": "\x00"}, {"sweep": "\x00"}, {"sort": ["created", "x"]}, {"sorted": "created"}],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(lite_api: httpx2.Client, query: dict[str, Any]) -> None:
    for path in ("/v1/jobs", "/v1/models"):
        assert lite_api.get(path, params=query).status_code == 422


# Resolving


def test_a_part_of_an_id_leads_to_the_objects(api: httpx2.Client, worker: Worker) -> None:
    job, model = submit(api), imported(api)
    api.patch(f"/v1/jobs/{job}", json={"name": "mine"})
    sweep = api.post("/v1/sweeps", json={"base": BODY, "grid": {"seed": [0]}}).json()["id"]
    found = api.get("/v1/resolve", params={"id": job[-6:]}).json()
    created = api.get(f"/v1/jobs/{job}").json()["created_at"]
    expected = {"id": job, "type": "job", "name": "mine", "created_at": created}
    assert found == {"data": [expected], "has_more": False, "next": None}
    for id_, type_ in ((model, "model"), (sweep, "sweep")):
        (one,) = api.get("/v1/resolve", params={"id": id_[-9:]}).json()["data"]
        assert (one["id"], one["type"]) == (id_, type_)
        (same,) = api.get("/v1/resolve", params={"id": id_}).json()["data"]
        assert same == one
        assert id_ in [row["id"] for row in api.get("/v1/resolve", params={"id": id_[:14]}).json()["data"]]
    assert api.get("/v1/resolve", params={"id": "zzzzzz"}).json()["data"] == []
    for wrong in ("abcde", "%%%%%%", "ABCDEF", "x" * 41, "______%"):
        assert api.get("/v1/resolve", params={"id": wrong}).status_code == 422, wrong
    assert api.get("/v1/resolve").status_code == 422


def test_at_most_20_objects_are_answered(api: httpx2.Client) -> None:
    jobs = [submit(api) for _ in range(21)]
    beginning = jobs[0][:8]  # a millisecond apart, they all begin alike
    found = api.get("/v1/resolve", params={"id": beginning}).json()
    assert [row["id"] for row in found["data"]] == jobs[:0:-1]
    assert found["has_more"]
