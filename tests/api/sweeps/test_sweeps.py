"""Sweeps and comparisons over REST, on both databases; a worker's hand ends their jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from jobs.repository import attempts
from jobs.repository.attempts import Claim
from jobs.scheduling import Rules
from jobs.states import Status
from jobs.sweeps.driver import Driver
from tests.api.attempt import Worker, model_file
from tests.api.jobs.test_jobs import code
from tests.support.specs import train_body

LR = {"type": "float", "low": 0.001, "high": 1, "log": True}


def sweep_body(**changes: Any) -> dict[str, Any]:
    varied = {} if "search" in changes else {"grid": {"optimizer.eta": [1, 0.5], "seed": [0, 1]}}
    return {"base": train_body(), **varied, **changes}


def submit(api: httpx2.Client, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/sweeps", json=sweep_body(**changes))
    assert answer.status_code == 201, answer.text
    sweep: dict[str, Any] = answer.json()
    return sweep


def finish(worker: Worker, claim: Claim, value: float) -> None:
    with worker.writing(claim) as (session, job):
        job.result = {"val/accuracy": value, "val/loss": 1 - value}
        attempts.finish(session, job, Status.SUCCEEDED, "It ended.")


def housekeeping(worker: Worker) -> None:
    Driver(worker.database, Rules()).round()


def errors(answer: httpx2.Response) -> dict[str, str]:
    assert code(answer) == (422, "invalid"), answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def test_a_grid_from_its_submission_to_its_table(api: httpx2.Client, worker: Worker) -> None:
    answer = api.post("/v1/sweeps", json=sweep_body(name="eta", labels={"study": "eta"}))
    sweep = answer.json()
    path = f"/v1/sweeps/{sweep['id']}"
    assert (answer.status_code, answer.headers["location"]) == (201, path)
    assert (sweep["status"], sweep["name"], sweep["best"]) == ("running", "eta", None)
    nowhere = {"failed": 0, "cancelled": 0, "pruned": 0}
    assert sweep["progress"] == nowhere | {"done": 0, "running": 0, "waiting": 4, "total": 4}
    assert (sweep["spec"]["parallel"], sweep["spec"]["objective"]) == (64, "val/accuracy")
    jobs = api.get("/v1/jobs", params={"label": f"sweep:{sweep['id']}"}).json()["data"]
    assert [job["labels"]["trial"] for job in jobs] == ["3", "2", "1", "0"]
    assert {job["labels"]["study"] for job in jobs} == {"eta"}
    for value in (0.9, 0.92, 0.95, 0.97):
        finish(worker, worker.claim(), value)
    assert code(api.delete(path)) == (409, "conflict")
    housekeeping(worker)
    ended = api.get(path).json()
    assert (ended["status"], ended["progress"]["done"]) == ("succeeded", 4)
    assert ended["best"]["parameters"] == {"optimizer.eta": 0.5, "seed": 1}
    assert ended["best"]["value"] == 0.97

    table = api.get(f"{path}/table").json()
    assert (table["fields"], table["over_seeds"], table["best"]) == (["optimizer.eta"], True, 1)
    assert [row["n"] for row in table["rows"]] == [2, 2]
    assert table["rows"][1]["mean"] == pytest.approx(0.96)
    markdown = api.get(f"{path}/table", params={"format": "md"})
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "| **0.5** | **2** | **96.00 ± 1.41** |" in markdown.text
    assert api.get(f"{path}/table", params={"format": "csv"}).text.startswith("optimizer.eta,trials,n,")
    picture = api.get(f"{path}/figure.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(picture.text).tag.endswith("svg")

    page = api.get(f"{path}/trials", params={"limit": 3}).json()
    rest = api.get(f"{path}/trials", params={"limit": 3, "after": page["next"]}).json()
    assert [trial["number"] for trial in page["data"] + rest["data"]] == [0, 1, 2, 3]
    assert {trial["job_status"] for trial in page["data"]} == {"succeeded"}
    assert (rest["has_more"], rest["next"]) == (False, None)
    assert api.delete(path).status_code == 204
    assert code(api.get(path)) == (404, "not_found")
    assert len(api.get("/v1/jobs").json()["data"]) == 4, "its jobs stay"


def test_validate_only_gives_every_child_and_creates_nothing(lite_api: httpx2.Client) -> None:
    found = lite_api.post("/v1/sweeps", params={"validate_only": "true"}, json=sweep_body()).json()
    assert found["jobs"] == 4
    assert [child["spec"]["optimizer"]["eta"] for child in found["children"]] == [1.0, 1.0, 0.5, 0.5]
    search = lite_api.post("/v1/sweeps", params={"validate_only": "true"}, json=sweep_body(search={"optimizer.lr": LR}))
    found = search.json()
    assert (found["jobs"], len(found["children"]), found["spec"]["sampler"]) == (20, 1, "tpe")
    assert lite_api.get("/v1/sweeps").json()["data"] == lite_api.get("/v1/jobs").json()["data"] == []


def test_bad_sweeps_name_each_field(lite_api: httpx2.Client) -> None:
    def refused(**changes: Any) -> dict[str, str]:
        return errors(lite_api.post("/v1/sweeps", json=sweep_body(**changes)))

    assert list(refused(grid={"optimizer.eta": [1, 0], "seed": [0, 1]})) == ["/grid/optimizer.eta/1"]
    assert list(refused(grid={"optimizer.speed": [1]})) == ["/grid/optimizer.speed"]
    assert "did you mean val/accuracy?" in refused(objective="accuracy")["/objective"]
    assert "did you mean search?" in refused(params={"seed": {"type": "int", "low": 0, "high": 1}})["/params"]
    assert list(refused(base={"kind": "train"})) == ["/base/model", "/base/dataset"]
    huge = refused(grid={"seed": list(range(100)), "epochs": list(range(1, 101))})
    assert "10,000 jobs; a sweep may make at most 500" in huge["/grid"]
    assert list(refused(search={"optimizer.lr": LR | {"low": 2}})) == ["/search/optimizer.lr/high"]
    assert list(refused(search={"optimizer.lr": LR | {"log": "maybe"}})) == ["/search/optimizer.lr/log"]
    assert list(refused(search={"optimizer.lr": {"low": 1}})) == ["/search/optimizer.lr/type"]
    assert list(refused(search={"seed": {"type": "categorical", "choices": []}})) == ["/search/seed/choices"]
    assert list(refused(grid={"seed": [0]}, trials=3)) == ["/trials"]
    assert list(refused(grid={"dataset.name": ["digits", "nothing"]})) == ["/grid/dataset.name/1"]
    missing = refused(grid={"dataset.name": ["digits", "mnist"]})
    assert list(missing) == ["/grid/dataset.name/1"]
    assert "not on this server" in missing["/grid/dataset.name/1"]
    assert list(refused(base=train_body(init_from="model_none"))) == ["/base/init_from"]
    assert lite_api.get("/v1/jobs").json()["data"] == lite_api.get("/v1/sweeps").json()["data"] == []


def test_the_same_key_and_body_is_the_same_sweep_also_at_once(api: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: api.post("/v1/sweeps", json=sweep_body(), headers=headers), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/v1/jobs").json()["data"]) == 4
    other = api.post("/v1/sweeps", json=sweep_body(seed=None, name="other"), headers=headers)
    assert code(other) == (422, "idempotency_mismatch")


def test_sweeps_are_listed_newest_first_and_by_status(lite_api: httpx2.Client) -> None:
    made = [submit(lite_api, name=str(number))["id"] for number in range(3)]
    assert lite_api.post(f"/v1/sweeps/{made[0]}/cancel").json()["status"] == "cancelled"
    page = lite_api.get("/v1/sweeps", params={"limit": 2}).json()
    assert [sweep["id"] for sweep in page["data"]] == [made[2], made[1]]
    rest = lite_api.get("/v1/sweeps", params={"limit": 2, "after": page["next"]}).json()
    assert [sweep["id"] for sweep in rest["data"]] == [made[0]]
    running = lite_api.get("/v1/sweeps", params={"status": "running"}).json()["data"]
    assert {sweep["id"] for sweep in running} == set(made[1:])


def test_a_trial_whose_job_waits_is_shown_as_waiting(api: httpx2.Client, worker: Worker) -> None:
    """Everywhere: in the list of trials, in the counts and in every form of the table."""
    sweep = submit(api, grid={"seed": [0, 1, 2]}, parallel=2)
    claim = worker.claim()
    path = f"/v1/sweeps/{sweep['id']}"
    trials = api.get(f"{path}/trials").json()["data"]
    assert [(trial["status"], trial["job_status"]) for trial in trials] == [
        ("running", "running"),
        ("waiting", "queued"),
        ("waiting", None),
    ]
    counts = api.get(path).json()["progress"]
    assert (counts["running"], counts["waiting"]) == (1, 2)
    assert api.get(f"{path}/table").json()["rows"][0]["states"] == ["running", "waiting", "waiting"]
    assert "running, waiting" in api.get(f"{path}/table", params={"format": "md"}).text
    api.post(f"/v1/jobs/{claim.job_id}/pause")
    worker.pause(claim)
    assert [trial["status"] for trial in api.get(f"{path}/trials").json()["data"]] == ["waiting"] * 3


def test_a_cancel_reaches_every_child_at_once(api: httpx2.Client, worker: Worker) -> None:
    sweep = submit(api, grid={"seed": list(range(40))}, parallel=30)
    claim = worker.claim()
    for _ in range(2):
        answer = api.post(f"/v1/sweeps/{sweep['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    assert api.get(f"/v1/jobs/{claim.job_id}").json()["status"] == "cancelling"
    with worker.writing(claim) as (session, job):
        attempts.finish(session, job, Status.CANCELLED, "Stopped.")
    housekeeping(worker)
    ended = api.get(f"/v1/sweeps/{sweep['id']}").json()
    counts = ended["progress"]
    assert (ended["status"], counts["cancelled"], counts["failed"]) == ("cancelled", 40, 0)
    page = api.get(f"/sweeps/{sweep['id']}").text
    assert "0 of 40 done · 40 cancelled" in page
    assert "failed" not in page, "nothing failed"
    assert code(api.post("/v1/sweeps/sweep_none/cancel")) == (404, "not_found")
    assert api.post(f"/v1/sweeps/{sweep['id']}/cancel").status_code == 202


def test_a_retry_of_a_failed_child_takes_its_place(api: httpx2.Client, worker: Worker) -> None:
    sweep = submit(api, grid={"seed": [0]})
    path = f"/v1/sweeps/{sweep['id']}"
    claim = worker.claim()
    with worker.writing(claim) as (session, job):
        error = {"code": "out_of_memory", "message": "Too much.", "log_tail": ""}
        attempts.finish(session, job, Status.FAILED, "Too much.", error)
    housekeeping(worker)
    failed = api.get(path).json()
    assert (failed["status"], failed["message"]) == ("failed", "No trial succeeded. out_of_memory: Too much.")
    new = api.post(f"/v1/jobs/{claim.job_id}/retry").json()["id"]
    assert api.get(path).json()["status"] == "running"
    finish(worker, worker.claim(), 0.9)
    assert api.delete(f"/v1/jobs/{new}").status_code == 204
    housekeeping(worker)
    ended = api.get(path).json()
    assert (ended["status"], ended["best"]["value"], ended["best"]["job_id"]) == ("succeeded", 0.9, None)


def test_a_model_that_jobs_of_a_sweep_will_begin_with_is_kept(lite_api: httpx2.Client) -> None:
    model = lite_api.post("/v1/models", files={"weights": model_file()}).json()["id"]
    sweep = submit(lite_api, base=train_body(init_from=model), grid={"seed": [0, 1]}, parallel=1)
    first = lite_api.get("/v1/jobs").json()["data"][0]["id"]
    assert lite_api.post(f"/v1/jobs/{first}/cancel").status_code == 202
    assert sweep["id"] in lite_api.delete(f"/v1/models/{model}").json()["detail"]
    assert lite_api.post(f"/v1/sweeps/{sweep['id']}/cancel").json()["status"] == "cancelled"
    assert lite_api.delete(f"/v1/models/{model}").status_code == 204


def test_jobs_are_compared_by_what_differs(api: httpx2.Client, worker: Worker) -> None:
    bodies = (train_body(), train_body(model={"method": "conv"}, labels={"who": "ada"}))
    ids = [api.post("/v1/jobs", json=body).json()["id"] for body in bodies]
    for names in (("train/loss", "val/loss"), ("train/loss",)):
        claim = worker.claim()
        for name in names:
            worker.metrics(claim, 1, 3, name)
        finish(worker, claim, 0.9)
    found = api.get("/v1/compare", params={"job": ids}).json()
    assert [job["id"] for job in found["jobs"]] == ids
    differing = {one["pointer"]: one["values"] for one in found["differences"]}
    assert differing["/model/method"] == ["adder", "conv"]
    assert not any(pointer.startswith("/labels") for pointer in differing)
    assert "/dataset/name" not in differing
    assert found["metrics"] == ["train/loss"]
    assert found["results"]["val/accuracy"] == [0.9, 0.9]
    adder, conv = (job["counts"]["operations"] for job in found["jobs"])
    assert (adder["add"], adder["mul"]) == (2 * conv["mul"], 0)


def test_a_comparison_needs_two_jobs_that_are_there(lite_api: httpx2.Client) -> None:
    one, two = (lite_api.post("/v1/jobs", json=train_body(seed=seed)).json()["id"] for seed in (0, 1))
    assert list(errors(lite_api.get("/v1/compare", params={"job": [one]}))) == ["/query/job"]
    assert list(errors(lite_api.get("/v1/compare", params={"job": [one, one]}))) == ["/query/job"]
    assert list(errors(lite_api.get("/v1/compare"))) == ["/query/job"]
    assert code(lite_api.get("/v1/compare", params={"job": [one, "job_none"]})) == (404, "not_found")
    same = lite_api.get("/v1/compare", params={"job": [one, two]}).json()
    assert same["differences"] == [{"pointer": "/seed", "values": [0, 1]}]
    assert same["metrics"] == []


@pytest.mark.parametrize(
    ("asked", "direction"),
    [
        ({}, "maximize"),
        ({"objective": "val/loss"}, "minimize"),
        ({"objective": "val/loss", "direction": "maximize"}, "maximize"),
        ({"objective": "grad_norm/conv1"}, "maximize"),
    ],
)
def test_losses_are_minimised_unless_said_otherwise(
    lite_api: httpx2.Client, asked: dict[str, str], direction: str
) -> None:
    answer = lite_api.post("/v1/sweeps", params={"validate_only": "true"}, json=sweep_body(**asked)).json()
    assert answer["spec"]["direction"] == direction


@pytest.mark.parametrize(("metric", "meant"), [("accuracy", "val/accuracy"), ("val_loss", "val/loss"), ("flops", None)])
def test_an_objective_that_no_training_reports_is_refused(
    lite_api: httpx2.Client, metric: str, meant: str | None
) -> None:
    found = errors(lite_api.post("/v1/sweeps", json=sweep_body(objective=metric)))
    assert list(found) == ["/objective"]
    assert repr(metric) in found["/objective"]
    assert ("did you mean" in found["/objective"]) == (meant is not None)
    assert f"did you mean {meant}?" in found["/objective"] or meant is None
    assert "val/accuracy" in found["/objective"]


@pytest.mark.parametrize("values", [[0.1, 0.1000], [1, 1.0]])
def test_combinations_that_come_to_the_same_training_are_refused(lite_api: httpx2.Client, values: list[float]) -> None:
    found = errors(lite_api.post("/v1/sweeps", json=sweep_body(grid={"optimizer.lr": values})))
    assert any("repeats value" in why or "the same job" in why for why in found.values()), found
    assert lite_api.get("/v1/sweeps").json()["data"] == []


def test_cancelling_a_sweep_takes_no_body(lite_api: httpx2.Client) -> None:
    sweep = submit(lite_api)
    refused = lite_api.post(f"/v1/sweeps/{sweep['id']}/cancel", json={"children": False})
    assert "takes no body" in errors(refused)[""]
    assert lite_api.get(f"/v1/sweeps/{sweep['id']}").json()["status"] == "running"
