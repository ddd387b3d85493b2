"""Submitting jobs, listing them, and what a user may do to one, on both databases."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from jobs.states import Status
from tests.api.attempt import MANIFEST, Worker, model_file
from tests.api.conftest import Running
from tests.support.servers import Valkey
from tests.support.specs import train_body

FIELDS = {
    "id", "kind", "status", "spec", "labels", "created_at", "queued_at", "started_at", "finished_at", "attempt",
    "queue_position", "estimated_start_at", "waiting_for", "progress", "environment", "result", "model_id", "error",
    "continued_from", "retry_of", "run_seconds", "name", "notes", "starred",
}  # fmt: skip


def submit(api: httpx2.Client, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json=train_body(**changes))
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def code(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_a_job_is_created_with_every_default(api: httpx2.Client) -> None:
    answer = api.post("/v1/jobs", json=train_body(optimizer={"eta": 0.2}, labels={"study": "eta"}))
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert set(job) == FIELDS
    assert (job["status"], job["attempt"], job["queue_position"], job["labels"]) == ("queued", 0, 1, {"study": "eta"})
    assert job["spec"]["optimizer"] == {
        "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "schedule": "cosine",
        "adaptive_lr": "alr", "eta": 0.2, "clip_norm": None, "accumulate": 1,
        "clip_input_gradient": "hardtanh", "filter_lr": None, "filter_weight_decay": None, "warmup_epochs": 0.0,
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])
    assert api.get(answer.headers["location"]).json() == job


def test_a_submission_wakes_a_worker(api: httpx2.Client, site: Running, valkey: Valkey) -> None:
    from tests.support.servers import wait_until

    submit(api)
    with valkey.client() as client:
        wait_until(lambda: client.llen(site.settings.queue) == 1, "the wake-up to be sent")


def test_the_same_key_and_body_is_the_same_job_also_at_once(api: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post("/v1/jobs", json=train_body(), headers=headers), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/v1/jobs").json()["data"]) == 1
    other = api.post("/v1/jobs", json=train_body(seed=1), headers=headers)
    assert code(other) == (422, "idempotency_mismatch")


def test_the_same_key_gives_the_job_back_after_its_model_is_gone(api: httpx2.Client) -> None:
    model = api.post("/v1/models", files={"weights": model_file()}).json()
    body, headers = train_body(init_from=model["id"]), {"Idempotency-Key": "k"}
    job = api.post("/v1/jobs", json=body, headers=headers).json()
    assert code(api.delete(f"/v1/models/{model['id']}")) == (409, "conflict")
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert api.delete(f"/v1/models/{model['id']}").status_code == 204
    again = api.post("/v1/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert code(api.post("/v1/jobs", json=body)) == (422, "invalid")
    assert code(api.post(f"/v1/jobs/{job['id']}/retry")) == (409, "conflict")


def test_validate_only_counts_and_creates_nothing(api: httpx2.Client) -> None:
    answer = api.post("/v1/jobs", params={"validate_only": "true"}, json=train_body(dataset={"name": "mnist"}))
    assert answer.status_code == 200
    found = answer.json()
    assert found["spec"]["epochs"] == 50
    layers = found["model"]["layers"]
    assert found["model"]["parameters"] == sum(layer["parameters"] for layer in layers)
    assert found["model"]["operations"]["add"] == sum(layer["operations"]["add"] for layer in layers)
    assert found["model"]["operations"]["mul"] == 0
    assert api.get("/v1/jobs").json()["data"] == []


def test_validate_only_estimates_what_a_job_will_take(api: httpx2.Client, worker: Worker) -> None:
    def estimate(**changes: Any) -> dict[str, Any]:
        answer = api.post("/v1/jobs", params={"validate_only": "true"}, json=train_body(**changes))
        found: dict[str, Any] = answer.raise_for_status().json()["estimate"]
        return found

    before = estimate()
    assert (before["seconds"], before["start_at"], before["queue_position"]) == (None, None, 1)
    assert before["waiting_for"] == "there is no live worker"
    worker.heartbeat()
    assert estimate()["waiting_for"] is None
    assert estimate()["start_at"] is not None
    parameters, activations = (
        61_942 * 4,
        estimate(batch_size=3)["memory_bytes"] - estimate(batch_size=2)["memory_bytes"],
    )
    assert estimate(batch_size=2)["memory_bytes"] == 3 * parameters + 2 * activations
    api.post("/v1/jobs", json=train_body()).raise_for_status()
    assert estimate()["queue_position"] == 2
    assert estimate(priority=1)["queue_position"] == 1
    worker.finish(worker.claim())
    assert estimate(epochs=60)["seconds"] >= estimate(epochs=30)["seconds"] > 0
    assert api.get("/v1/jobs").json()["data"][0]["status"] == "succeeded", "nothing was created"


def test_validate_only_of_an_evaluation_counts_its_model(api: httpx2.Client) -> None:
    model = api.post("/v1/models", files={"weights": model_file()}).json()
    body = {"kind": "evaluate", "model_id": model["id"], "dataset": {"name": "digits"}}
    found = api.post("/v1/jobs", params={"validate_only": "true"}, json=body).json()
    assert found["model"]["parameters"] == model["parameters"]
    assert found["spec"]["split"] == "validation"


def test_lists_are_paged_and_filtered(api: httpx2.Client, worker: Worker) -> None:
    made = [submit(api, labels={"n": str(n), "odd": str(n % 2)})["id"] for n in range(5)]
    worker.finish(worker.claim())
    page = api.get("/v1/jobs", params={"limit": 2}).json()
    seen = [job["id"] for job in page["data"]]
    while page["has_more"]:
        page = api.get("/v1/jobs", params={"limit": 2, "after": page["next"]}).json()
        seen += [job["id"] for job in page["data"]]
    assert seen == made[::-1]
    assert page["next"] is None

    def ids(**params: Any) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=params).json()["data"]]

    assert ids(label="odd:1") == [made[3], made[1]]
    assert ids(label=["odd:1", "n:3"]) == [made[3]]
    assert ids(status="succeeded") == [made[0]]
    assert ids(status=["succeeded", "queued"]) == made[::-1]
    assert ids(kind="evaluate") == []
    cursor = api.get("/v1/jobs", params={"limit": 1}).json()["next"]
    other_list = api.get("/v1/jobs", params={"after": cursor, "kind": "train"})
    assert code(other_list) == (422, "bad_cursor")


def test_queue_positions_follow_priority(api: httpx2.Client) -> None:
    low, high = submit(api), submit(api, priority=5)
    assert (high["queue_position"], api.get(f"/v1/jobs/{low['id']}").json()["queue_position"]) == (1, 2)
    assert [job["queue_position"] for job in api.get("/v1/jobs").json()["data"]] == [1, 2]


def test_a_queued_job_is_cancelled_at_once_and_again(api: httpx2.Client) -> None:
    job = submit(api)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def test_a_running_job_pauses_and_resumes(api: httpx2.Client, worker: Worker) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    assert code(api.post(f"{path}/pause")) == (409, "conflict")
    claim = worker.claim()
    assert code(api.post(f"{path}/resume")) == (409, "conflict")
    assert code(api.delete(path)) == (409, "conflict")
    assert code(api.post(f"{path}/retry")) == (409, "conflict")
    assert api.post(f"{path}/pause").json()["status"] == "pausing"
    worker.pause(claim)
    assert api.post(f"{path}/resume").json()["status"] == "queued"
    worker.finish(worker.claim())
    assert code(api.post(f"{path}/cancel")) == (409, "conflict")


def test_a_job_says_its_phase_while_an_attempt_runs(api: httpx2.Client, worker: Worker) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    assert api.get(path).json()["progress"] is None
    claim = worker.claim()
    assert api.get(path).json()["progress"]["phase"] == "starting"
    with worker.writing(claim) as (_, job):
        job.progress = {"phase": "validating", "fraction": 0.5}
    assert api.get(path).json()["progress"]["phase"] == "validating"
    worker.finish(claim)
    left = api.get(path).json()["progress"]
    assert (left["phase"], left["fraction"]) == (None, 0.5)


def test_a_finished_job_is_retried_from_start_or_checkpoint(api: httpx2.Client, worker: Worker) -> None:
    path = f"/v1/jobs/{submit(api, seed=7)['id']}"
    claim = worker.claim()
    error = {"code": "diverged", "message": "The loss became NaN.", "log_tail": "loss nan\n"}
    worker.finish(claim, Status.FAILED, error)
    failed = api.get(path).json()
    assert (failed["status"], failed["error"]) == ("failed", error)
    assert code(api.post(f"{path}/retry", params={"from": "checkpoint"})) == (409, "conflict")
    again = api.post(f"{path}/retry")
    assert again.status_code == 201
    assert (again.json()["retry_of"], again.json()["spec"]["seed"]) == (failed["id"], 7)
    second = worker.claim()
    worker.checkpoint(second, 40)
    worker.finish(second, Status.FAILED, error)
    on = api.post(f"/v1/jobs/{second.job_id}/retry", params={"from": "checkpoint"}).json()
    messages = [event["message"] for event in api.get(f"/v1/jobs/{on['id']}/events").json()["data"]]
    assert any("step 40" in message for message in messages)


def test_a_deleted_job_takes_its_files_and_leaves_its_model(api: httpx2.Client, site: Running, worker: Worker) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    claim = worker.claim()
    worker.artifact(claim, "log.txt", b"hello")
    worker.artifact(claim, "model.safetensors", model_file())
    model_id = worker.publish(claim)
    worker.finish(claim)
    folder = site.settings.work_dir / claim.job_id
    folder.mkdir(parents=True)
    stored = {file["name"]: file["sha256"] for file in api.get(f"{path}/artifacts").json()["data"]}
    said = api.get(f"{path}/artifacts/model.pt").json()["detail"]
    assert said.endswith("named 'model.pt'. It has log.txt, model.safetensors.")
    assert api.get(path).json()["model_id"] == model_id
    os.utime(worker.store.path(stored["log.txt"]), (0, 0))  # a younger one goes after the store's grace
    assert api.delete(path).status_code == 204
    assert code(api.get(path)) == (404, "not_found")
    assert not folder.exists()
    assert not worker.store.path(stored["log.txt"]).exists()
    assert api.get(f"/v1/models/{model_id}").json()["job_id"] is None
    assert api.get(f"/v1/models/{model_id}/download").content == model_file()


def test_what_a_spec_refers_to_must_be_there_and_fit(api: httpx2.Client) -> None:
    def pointers(body: dict[str, Any]) -> list[str]:
        answer = api.post("/v1/jobs", json=body)
        assert code(answer) == (422, "invalid")
        return [error["pointer"] for error in answer.json()["errors"]]

    assert pointers(train_body(init_from="model_none")) == ["/init_from"]
    assert pointers({"kind": "evaluate", "model_id": "model_none", "dataset": {"name": "digits"}}) == ["/model_id"]
    assert pointers(train_body(batch_size=5000)) == ["/batch_size"]
    missing = api.post("/v1/jobs", json=train_body(dataset={"name": "mnist"}))
    assert missing.json()["errors"][0]["pointer"] == "/dataset/name"
    assert "datasets/mnist" in missing.json()["errors"][0]["detail"]
    few = MANIFEST | {"classes": list("0123456789ab")}
    answer = api.post("/v1/models", files={"weights": model_file(few)})
    assert code(answer) == (422, "bad_model")


def test_a_training_starts_from_a_model_of_other_classes_but_not_of_another_network(api: httpx2.Client) -> None:
    letters = model_file(MANIFEST | {"classes": list("abcdefghij")})
    model = api.post("/v1/models", files={"weights": letters}).json()["id"]
    assert api.post("/v1/jobs", json=train_body(init_from=model)).status_code == 201
    refused = api.post("/v1/jobs", json=train_body(init_from=model, model={"arch": "lenet5_bn_2d"}))
    reason = f"{model} is of lenet5_bn, this training of lenet5_bn_2d: name a model of lenet5_bn_2d"
    assert refused.json()["errors"] == [{"pointer": "/init_from", "detail": reason}]


def test_a_teacher_must_be_there_and_fit(api: httpx2.Client) -> None:
    def pointers(**distill: Any) -> list[tuple[str, str]]:
        for params in ({}, {"validate_only": "true"}):
            answer = api.post("/v1/jobs", json=train_body(distill=distill), params=params)
            assert code(answer) == (422, "invalid")
        return [(error["pointer"], error["detail"]) for error in answer.json()["errors"]]

    ((pointer, detail),) = pointers(teacher="model_none")
    assert (pointer, "model_none" in detail) == ("/distill/teacher", True)
    assert [at for at, _ in pointers(teacher="model_none", temperature=0, weight=1.5)] == [
        "/distill/temperature",
        "/distill/weight",
    ]
    assert [at for at, _ in pointers()] == ["/distill/teacher"]
    strange = model_file(MANIFEST | {"classes": list("abcdefghij")})
    other = api.post("/v1/models", files={"weights": strange}).json()["id"]
    ((pointer, detail),) = pointers(teacher=other)
    assert pointer == "/distill/teacher"
    assert "it calls class 0 'a', this training '0'" in detail
    twin = api.post("/v1/models", files={"weights": model_file()}).json()["id"]
    body = train_body(model={"arch": "resnet20"}, distill={"teacher": twin})
    answer = api.post("/v1/jobs", params={"validate_only": "true"}, json=body)
    assert code(answer) == (422, "invalid")
    assert "set distill.features to 0" in answer.json()["errors"][0]["detail"]
    body["distill"]["features"] = 0
    assert api.post("/v1/jobs", params={"validate_only": "true"}, json=body).status_code == 200


def test_a_teacher_stays_while_a_job_needs_it(api: httpx2.Client) -> None:
    teacher = api.post("/v1/models", files={"weights": model_file()}).json()["id"]
    found = api.post("/v1/jobs", params={"validate_only": "true"}, json=train_body(distill={"teacher": teacher})).json()
    assert found["spec"]["distill"] == {
        "kind": "plain",
        "teacher": teacher,
        "temperature": 2.0,
        "weight": 0.5,
        "features": 1.0,
    }
    job = submit(api, distill={"teacher": teacher})
    assert code(api.delete(f"/v1/models/{teacher}")) == (409, "conflict")
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert api.delete(f"/v1/models/{teacher}").status_code == 204
    assert code(api.post(f"/v1/jobs/{job['id']}/retry")) == (409, "conflict")


@pytest.mark.parametrize("path", ["/v1/jobs/job_none", "/v1/jobs/%00", "/v1/jobs/job_0000000000000000000000000a"])
def test_an_unknown_job_is_404_everywhere(api: httpx2.Client, path: str) -> None:
    for call in ("", "/metrics", "/events", "/logs", "/stream", "/artifacts", "/artifacts/x"):
        assert code(api.get(path + call)) == (404, "not_found")
    for call in ("/cancel", "/pause", "/resume", "/retry"):
        assert code(api.post(path + call)) == (404, "not_found")
    assert code(api.delete(path)) == (404, "not_found")


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
def test_a_body_where_none_is_taken_is_refused_and_nothing_happens(lite_api: httpx2.Client, action: str) -> None:
    """`retry` with {"epochs": 12} once made a job of the old number of epochs."""
    job = lite_api.post("/v1/jobs", json=train_body()).json()
    answer = lite_api.post(f"/v1/jobs/{job['id']}/{action}", json={"epochs": 12})
    assert code(answer) == (422, "invalid")
    assert "takes no body" in answer.json()["errors"][0]["detail"]
    assert [(one["id"], one["status"]) for one in lite_api.get("/v1/jobs").json()["data"]] == [(job["id"], "queued")]


def test_a_byte_order_mark_before_json_is_passed_over(lite_api: httpx2.Client) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(train_body()).encode()
    answer = lite_api.post("/v1/jobs", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 201, answer.text


def test_a_finished_training_is_continued_with_its_own_epochs(api: httpx2.Client, worker: Worker) -> None:
    labels = {"who": "ada", "sweep": "sweep_1", "trial": "3"}
    job = api.post("/v1/jobs", json=train_body(labels=labels, optimizer={"lr": 0.2})).json()["id"]
    path = f"/v1/jobs/{job}/continue"
    assert code(api.post(path, json={"epochs": 3})) == (409, "conflict")
    claim = worker.claim()
    worker.checkpoint(claim, 12)
    worker.finish(claim)

    answer = api.post(path, json={"epochs": 3, "lr": 0.05}, headers={"Idempotency-Key": "more"})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{new['id']}"
    assert (new["continued_from"], new["retry_of"], new["labels"]) == (job, None, {"who": "ada"})
    assert (new["spec"]["epochs"], new["spec"]["optimizer"]["lr"], new["spec"]["init_from"]) == (3, 0.05, None)
    again = api.post(path, json={"epochs": 3, "lr": 0.05}, headers={"Idempotency-Key": "more"})
    assert (again.status_code, again.json()["id"]) == (200, new["id"])
    other = api.post(path, json={"epochs": 4}, headers={"Idempotency-Key": "more"})
    assert code(other) == (422, "idempotency_mismatch")
    assert api.post(path, json={"epochs": 4}).json()["spec"]["optimizer"]["lr"] == 0.2
    assert "goes on from" in api.get(f"/jobs/{new['id']}").text
    assert api.post(f"/v1/jobs/{new['id']}/cancel").status_code == 202
    assert "from=checkpoint" not in api.get(f"/jobs/{new['id']}").text, "it has none of its own"


def test_a_continuation_does_not_warm_up_again(api: httpx2.Client, worker: Worker) -> None:
    optimizer = {"lr": 0.2, "filter_lr": 0.5, "warmup_epochs": 1}
    job = api.post("/v1/jobs", json=train_body(epochs=2, optimizer=optimizer)).json()["id"]
    claim = worker.claim()
    worker.checkpoint(claim, 12)
    worker.finish(claim)
    path = f"/v1/jobs/{job}/continue"
    for body, lr, filter_lr in (({"epochs": 1}, 0.2, 0.5), ({"epochs": 1, "lr": 0.05}, 0.05, 0.125)):
        answer = api.post(path, json=body)
        assert answer.status_code == 201, answer.text
        found = answer.json()["spec"]["optimizer"]
        assert found["warmup_epochs"] == 0
        assert (found["lr"], found["filter_lr"]) == pytest.approx((lr, filter_lr))


def test_what_cannot_be_continued_is_refused_in_words(api: httpx2.Client, worker: Worker) -> None:
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    claim = worker.claim()
    model = worker.publish(claim)
    worker.finish(claim)
    path = f"/v1/jobs/{job}/continue"
    gone = api.post(path, json={"epochs": 3}).json()
    assert gone["code"] == "conflict"
    assert f'"init_from": "{model}"' in gone["detail"]
    for body, pointer, words in (
        ({}, "/epochs", "is required"),
        ({"epochs": 0}, "/epochs", "≥ 1"),
        ({"epochs": 2, "lr": -1}, "/lr", "> 0"),
        ({"epochs": 2, "learning_rate": 1}, "/learning_rate", "did you mean lr?"),
        ({"num_epochs": 2}, "/num_epochs", "did you mean epochs?"),
    ):
        answer = api.post(path, json=body)
        found = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        assert answer.status_code == 422
        assert words in found[pointer], found
    evaluation = {"kind": "evaluate", "model_id": model, "dataset": {"name": "digits"}}
    other = api.post("/v1/jobs", json=evaluation).json()["id"]
    worker.finish(worker.claim())
    assert "only a training" in api.post(f"/v1/jobs/{other}/continue", json={"epochs": 1}).json()["detail"]
    assert code(api.post("/v1/jobs/job_none/continue", json={"epochs": 1})) == (404, "not_found")
