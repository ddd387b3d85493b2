"""Services that an earlier version left behind go on under this one, to the results that the earlier one would give.

The tests drive programs and HTTP alone (`python -m jobs.migrate`, `adder up`), so that modules may move. README.md says
what the fixtures hold, how they are made, and how a migration extends these tests.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import running_service
from tests.upgrade import reading
from tests.upgrade.comparing import old_objects_are_whole, same_environment, same_outcome, still_there
from tests.upgrade.reading import FINAL, Document
from tests.upgrade.unpacking import FIXTURES, OldService, old_service

PAUSED = ("paused", "paused_portable")
"""Roles of the trainings that were paused: with the C kernels, and with the portable backend."""
ARCHIVES = [pytest.param(path, id=path.name.partition(".")[0]) for path in sorted(FIXTURES.glob("*.tar.xz"))]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=ARCHIVES)
def old(
    request: pytest.FixtureRequest, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OldService]:
    """A service as the old version left it, not migrated yet; nothing of it is too old to be kept."""
    for rule in ("CHECKPOINTS", "IDEMPOTENCY_KEYS"):
        monkeypatch.setenv(f"ADDER_KEEP_{rule}_DAYS", "")
    server = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    with old_service(request.param, database, tmp_path, server) as found:
        yield found


@pytest.mark.long("a whole service of an older version goes on, with a dozen real trainings on each database")
@pytest.mark.timeout(1800)  # a dozen processes that load torch: minutes where the machine has other work
def test_everything_of_an_earlier_version_goes_on(old: OldService) -> None:
    old.migrate()
    with running_service(old.data, old.database_url, workers=2) as service, reading.connect(service.url) as http:
        for role in PAUSED:
            still_there(reading.job(http, old.roles[role]), old.record["before"]["jobs"][old.roles[role]], role)
            resume(http, old.roles[role])
        here = environment_here(http, old)
        going_on = {role: exactly_or_by_a_retry(http, old, role, here) for role in PAUSED}
        for role in PAUSED:
            ended_as_expected(http, old, role, going_on[role])
        for role in ("grid", "search"):
            reading.wait_sweep(http, old.roles[role])
        after = reading.everything(http)
        old_objects_are_whole(after, old.record["before"])
        for role in ("grid", "search"):
            sweep_came_out(after, old.record, old.roles[role])
        requests_are_remembered(http, old)
        old_models_answer(http, old)
        pages_show(http, after)
        old_objects_can_be_deleted(http, old.roles)


def accuracy_of(result: dict[str, Any]) -> Any:
    """Of a training or of an evaluation: a list has both in one order."""
    return result.get("val/accuracy", result.get("accuracy"))


@pytest.mark.long("a whole service of an older version")
def test_old_objects_are_found_sorted_and_kept_as_new_ones_are(old: OldService) -> None:
    """Revision 0006 writes for old rows what this version writes with each row: words, final metrics, ends of ids."""
    old.migrate()
    with running_service(old.data, old.database_url, workers=1) as service, reading.connect(service.url) as http:
        roles, before = old.roles, old.record["before"]
        done = {id: job for id, job in before["jobs"].items() if job["job"]["status"] in FINAL}
        kept = {name: reading.get(http, f"/v1/jobs/{roles['trained']}")[name] for name in ("name", "notes", "starred")}
        assert kept == {"name": None, "notes": None, "starred": False}
        found = {
            row["id"] for row in reading.listed(http, "/v1/jobs", limit=100, q="lenet5 DIGITS", status="succeeded")
        }
        assert roles["trained"] in found
        accuracies = {id: accuracy_of(job["job"]["result"] or {}) for id, job in done.items()}
        trained = {id for id, accuracy in accuracies.items() if accuracy is not None}
        order = [row["id"] for row in reading.listed(http, "/v1/jobs", limit=2, sort="metric:val/accuracy")]
        first = order[: len(trained)]
        assert trained == set(first), "those without the metric come last"
        values = [accuracies[id] for id in first]
        assert values == sorted(values, reverse=True)
        ends = [row["finished_at"] for row in reading.listed(http, "/v1/jobs", limit=2, sort="finished", order="asc")]
        known = [end for end in ends if end is not None]
        assert known == sorted(known) == ends[: len(known)] != []
        dataset = before["datasets"][roles["dataset"]]
        on_it = {
            id
            for id, job in before["jobs"].items()
            if job["job"]["spec"].get("dataset", {}).get("name") == dataset["id"]
        }
        for query in ({"dataset": dataset["name"]}, {"dataset": dataset["id"]}, {"q": dataset["name"]}):
            assert on_it <= {row["id"] for row in reading.listed(http, "/v1/jobs", limit=100, **query)}, query
        trials = {trial["job_id"] for trial in before["sweeps"][roles["grid"]]["trials"]} - {None}
        assert trials <= {row["id"] for row in reading.listed(http, "/v1/jobs", limit=100, sweep=roles["grid"])}
        models = [
            row["id"] for row in reading.listed(http, "/v1/models", q="lenet5", sort="metric:val/accuracy", limit=1)
        ]
        assert roles["model"] in models
        for role in ("trained", "model", "grid", "dataset"):
            (one,) = reading.get(http, "/v1/resolve", id=roles[role][-8:])["data"]
            assert one["id"] == roles[role]
        change = {"name": "old and good", "labels": {"kept": "yes"}, "starred": True}
        for path in (f"/v1/jobs/{roles['trained']}", f"/v1/models/{roles['model']}"):
            answer = http.patch(path, json=change)
            assert answer.status_code == 200, answer.text
            listing = path.rpartition("/")[0]
            (row,) = reading.listed(http, listing, q="good", label="kept:yes", starred="true")
            assert row["id"] == path.rpartition("/")[2]
        assert http.put(f"/v1/models/{roles['model']}/aliases/oldest").status_code == 200
        assert reading.get(http, "/v1/models/oldest")["id"] == roles["model"]


@pytest.mark.long("real trainings of a service of an older version")
@pytest.mark.timeout(900)
def test_a_training_that_began_in_an_environment_that_is_gone_waits_and_goes_on_by_a_retry(old: OldService) -> None:
    old.freeze_elsewhere()
    old.migrate()
    with running_service(old.data, old.database_url, workers=2) as service, reading.connect(service.url) as http:
        for sweep in ("grid", "search"):
            reading.post(http, f"/v1/sweeps/{old.roles[sweep]}/cancel", expect=202)
        wait_until_known(http)
        for role in PAUSED:
            resume(http, old.roles[role])
            assert not is_taken(http, old.roles[role])
        retries = {role: retry_from_checkpoint(http, old.roles[role]) for role in PAUSED}
        for role in PAUSED:
            ended_as_expected(http, old, role, retries[role])


# Going on


def environment_here(http: httpx2.Client, old: OldService) -> Document:
    """In what environment a training that begins now runs: that of the sweep's next trial, which had not begun."""
    trial = reading.listed(http, f"/v1/sweeps/{old.roles['grid']}/trials")[-1]
    found: Document = reading.wait_job(http, trial["job_id"])["environment"]
    wait_until_known(http)
    return found


def wait_until_known(http: httpx2.Client) -> None:
    """Until each worker has told which environments it offers."""
    deadline = time.monotonic() + 300
    while not all(worker["info"].get("backends") for worker in reading.get(http, "/v1/workers")["data"]):
        assert time.monotonic() < deadline, "the workers do not tell what they offer"
        time.sleep(0.2)


def is_taken(http: httpx2.Client, job_id: str) -> bool:
    """Whether a worker takes a job that was resumed; False once the service says that it waits for an environment."""
    while True:
        job = reading.get(http, f"/v1/jobs/{job_id}")
        if job["status"] != "queued":
            return True
        if job["waiting_for"] is not None:
            return False
        time.sleep(0.1)


def offered(http: httpx2.Client, frozen: Document, here: Document) -> bool:
    """Whether a training that began in the environment `frozen` must be able to go on exactly in this one."""
    shared = ("device", "torch", "cpu_capability", *(() if frozen["kernels"] is None else ("kernels",)))
    return frozen["backend"] in reading.get(http, "/v1/system")["backends"] and all(
        frozen[name] == here[name] for name in shared
    )


def resume(http: httpx2.Client, job_id: str) -> None:
    reading.post(http, f"/v1/jobs/{job_id}/resume", expect=202)


def exactly_or_by_a_retry(http: httpx2.Client, old: OldService, role: str, here: Document) -> str:
    """The job that goes on: the resumed one where this machine offers its environment; else it waits, and a retry."""
    job_id = old.roles[role]
    frozen = old.record["before"]["jobs"][job_id]["job"]["environment"]
    taken = is_taken(http, job_id)
    assert taken == offered(http, frozen, here), (frozen, here)
    return job_id if taken else retry_from_checkpoint(http, job_id)


def retry_from_checkpoint(http: httpx2.Client, job_id: str) -> str:
    """Cancels a job that waits for an environment; the id of the new job that goes on from its checkpoint."""
    reading.post(http, f"/v1/jobs/{job_id}/cancel", expect=202)
    reading.wait_job(http, job_id, "cancelled")
    retry: str = reading.post(http, f"/v1/jobs/{job_id}/retry?from=checkpoint", expect=201)["id"]
    return retry


def ended_as_expected(http: httpx2.Client, old: OldService, role: str, job_id: str) -> None:
    """The training ends as it would have under the old version; a retry says so where it had to be inexact."""
    old_id = old.roles[role]
    reading.wait_job(http, job_id)
    now, then = reading.job(http, job_id), old.record["expected"]["jobs"][old_id]
    exact = same_environment(now["job"]["environment"], then["job"]["environment"])
    events = {event["type"] for event in now["events"]}
    assert "resumed" in events
    assert ("resume_inexact" in events) != exact
    if job_id == old_id:
        assert exact
        assert [attempt["cause"] for attempt in now["attempts"]] == ["paused", "succeeded"]
    else:
        assert now["job"]["retry_of"] == old_id
        # A retry has its own rows from the checkpoint on; the rows before that stay with the old job.
        now["metrics"] = [*reading.job(http, old_id)["metrics"], *now["metrics"]]
    same_outcome(now, then)


# What must hold then


def sweep_came_out(after: Document, record: Document, id: str) -> None:
    """Its trials came to what the old version made of them, to the byte where they ran in the same environment."""
    now, then = after["sweeps"][id], record["expected"]["sweeps"][id]
    assert now["sweep"]["status"] == "succeeded"
    still_there(now["sweep"]["progress"], then["sweep"]["progress"], id)
    comparable = exact = True
    for trial, expected in zip(now["trials"], then["trials"], strict=True):
        job, before = after["jobs"][trial["job_id"]], record["expected"]["jobs"][expected["job_id"]]
        assert (trial["status"], trial["value"]) == ("succeeded", job["job"]["result"]["val/accuracy"])
        if trial["job_id"] != expected["job_id"]:
            # Chosen after the upgrade: by the values of the trials before it, and by optuna.
            comparable = comparable and exact and version("optuna") == record["versions"]["optuna"]
        if comparable:
            assert trial["parameters"] == expected["parameters"]
            same_outcome(job, before)
        exact = exact and same_environment(job["job"]["environment"], before["job"]["environment"])
    if comparable and exact:
        still_there(now["table"], without_jobs(then["table"]), f"{id}/table")


def without_jobs(found: Any) -> Any:
    """A document less the ids of jobs: those that begin after the upgrade get new ones."""
    if isinstance(found, dict):
        return {name: without_jobs(value) for name, value in found.items() if name not in ("job_id", "job", "jobs")}
    return [without_jobs(one) for one in found] if isinstance(found, list) else found


def requests_are_remembered(http: httpx2.Client, old: OldService) -> None:
    """A request that comes again gives the old object; the same key with another body is refused."""
    for request in old.record["requests"]:
        again = reading.post(http, request["path"], request["body"], key=request["key"], expect=200)
        assert again["id"] == request["id"]
        other = copy.deepcopy(request["body"])
        other.get("base", other)["priority"] = 7
        reading.post(http, request["path"], other, key=request["key"], expect=422)
    upload = bytes.fromhex(old.record["upload"])
    assert reading.upload_dataset(http, "shades", upload, expect=200)["id"] == old.roles["dataset"]


def old_models_answer(http: httpx2.Client, old: OldService) -> None:
    """Models of the old version predict as they did, and can be evaluated."""
    for id, then in old.record["predictions"].items():
        now = reading.predict(http, id, old.record["image"])
        assert now["label"] == then["label"]
        assert now["probabilities"] == pytest.approx(then["probabilities"], abs=1e-4)
    evaluated = old.record["before"]["jobs"][old.roles["evaluated"]]["job"]
    job = reading.post(http, "/v1/jobs", evaluated["spec"], expect=201)
    result = reading.wait_job(http, job["id"])["result"]
    assert result["accuracy"] == pytest.approx(evaluated["result"]["accuracy"], abs=0.01)


def pages_show(http: httpx2.Client, after: Document) -> None:
    """Every page about an old object renders, and names it."""
    first, second = list(after["jobs"])[:2]
    lists = ("/", "/models", "/datasets", "/sweeps", "/recipes", f"/compare?job={first}&job={second}")
    pages = dict.fromkeys(lists, "")
    for kind in ("jobs", "models", "sweeps"):
        pages |= {f"/{kind}/{id}": id for id in after[kind]}
    for path, text in pages.items():
        answer = http.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        assert answer.headers["content-type"].startswith("text/html")
        assert text in answer.text, path


def old_objects_can_be_deleted(http: httpx2.Client, roles: dict[str, str]) -> None:
    """Each with what belongs to it; a model stays when its job goes."""
    jobs = ("trained", "evaluated", "analyzed", "failed", "retried", "cancelled", "stopped", *PAUSED)
    paths = [
        *(f"/v1/jobs/{roles[role]}" for role in jobs),
        *(f"/v1/sweeps/{roles[role]}" for role in ("grid", "search")),
    ]
    for path in paths:
        assert reading.get(http, path)["status"] in FINAL
        assert http.delete(path).status_code == 204, path
    assert reading.get(http, f"/v1/models/{roles['model']}")["job_id"] is None
    for path in (f"/v1/models/{roles['model']}", f"/v1/models/{roles['imported']}", f"/v1/datasets/{roles['dataset']}"):
        assert http.delete(path).status_code == 204, path
        assert http.get(path).status_code == 404, path
