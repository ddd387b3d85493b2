"""The client against the real API. Tests of what breaks are in `test_broken_connections.py`."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from datetime import UTC
from pathlib import Path

import pytest

from adderclient import (
    AdderClientError,
    Client,
    ConflictError,
    Filters,
    InvalidRequestError,
    Job,
    JobFailed,
    NotFoundError,
    WaitTimeout,
)
from adderclient.records import Page
from jobs.states import Status
from tests.api.attempt import Worker, model_file
from tests.support.servers import wait_until

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def test_importing_loads_nothing_of_the_server() -> None:
    code = """
import sys, adderclient, adderclient.command
heavy = {"torch", "numpy", "api", "worker", "jobs", "addercore", "sqlalchemy", "celery", "fastapi", "pydantic_settings"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(Exception, match="URL"):
        Client(url)


def test_submit_get_and_list(real: Client) -> None:
    first = real.jobs.submit(SPEC | {"labels": {"study": "eta"}}, idempotency_key="once")
    assert real.jobs.submit(SPEC | {"labels": {"study": "eta"}}, idempotency_key="once").id == first.id
    second = real.jobs.submit(SPEC)
    assert first.id != second.id
    assert (first.status, first.spec["epochs"] > 0, first.progress.epoch) == ("queued", True, None)
    assert real.jobs.get(first.id) == first
    assert first.created_at is not None
    assert first.created_at.tzinfo == UTC
    assert [item.id for item in real.jobs.list(labels={"study": "eta"})] == [first.id]
    assert [item.id for item in real.jobs.list(status="running")] == []


def test_iterate_walks_all_pages(real: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [real.jobs.submit(SPEC | {"seed": seed}).id for seed in range(5)]
    monkeypatch.setattr("adderclient._sync.paging.MOST", 2)
    assert [item.id for item in real.jobs.iterate()] == made[::-1]
    assert [item.id for item in real.jobs.iterate(**Filters(search="digits"), status="queued")] == made[::-1]
    assert list(real.models.iterate()) == []


def test_bad_fields_are_named(real: Client) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        real.jobs.submit(SPEC | {"optimizer": {"lr": -1}, "epochs": 0})
    error = caught.value
    assert {field.pointer for field in error.errors} == {"/optimizer/lr", "/epochs"}
    assert all(f"({field.pointer})" in str(error) for field in error.errors)
    assert (error.status, error.code) == (422, "invalid")


def test_actions(real: Client, worker: Worker) -> None:
    job = real.jobs.submit(SPEC)
    claim = worker.claim()
    worker.checkpoint(claim, 10)
    assert real.jobs.pause(job.id).status == "pausing"
    worker.pause(claim)
    assert real.jobs.resume(job.id).status == "queued"
    worker.finish(worker.claim())
    with pytest.raises(ConflictError, match="succeeded"):
        real.jobs.cancel(job.id)
    retried = real.jobs.retry(job.id, "checkpoint")
    assert (retried.retry_of, retried.spec["epochs"]) == (job.id, job.spec["epochs"])
    assert real.jobs.cancel(retried.id).status == real.jobs.cancel(retried.id).status == "cancelled"
    continued = real.jobs.continue_training(job.id, 10, lr=0.01)
    assert continued.continued_from == job.id
    real.jobs.cancel(continued.id)
    assert [event.type for event in real.jobs.events(job.id)]
    assert [attempt.attempt for attempt in real.jobs.attempts(job.id)] == [1, 2]
    real.jobs.delete(retried.id)
    with pytest.raises(NotFoundError):
        real.jobs.get(retried.id)


def test_metrics_come_in_pages_and_as_a_table(real: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adderclient._sync.job_data.METRICS_PAGE", 10)
    job = real.jobs.submit(SPEC)
    claim = worker.claim()
    worker.metrics(claim, 1, 25)
    worker.metrics(claim, 1, 25, "val/accuracy")
    points = real.jobs.metrics(job.id)
    assert [point.step for point in points] == [*range(1, 26), *range(1, 26)]
    assert points == sorted(points, key=lambda point: point.seq)
    assert points[9].value is None, "no number"
    later = real.jobs.metrics(job.id, ["val/accuracy"], after_seq=points[39].seq)
    assert later == points[40:]
    assert real.jobs.metrics(job.id, limit=13) == points[:13]
    table = job.metrics()
    assert (table.rows, table.names) == (50, ["train/loss", "val/accuracy"])
    assert table["seq"] == [point.seq for point in points]
    assert job.metrics("val/accuracy") == table.only("val/accuracy")


def test_logs(real: Client, worker: Worker) -> None:
    job = real.jobs.submit(SPEC)
    claim = worker.claim()
    worker.log(claim, "one\ntwo\nthree\n")
    assert list(real.jobs.logs(job.id)) == ["one", "two", "three"]
    worker.finish(claim)
    assert list(real.jobs.logs(job.id, tail=1, follow=True)) == ["three"]
    with pytest.raises(NotFoundError):
        list(real.jobs.logs("job_2"))


def test_wait(real: Client, worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = (real.jobs.submit(SPEC | {"seed": seed}) for seed in range(3))
    looks: list[str] = []

    def finish() -> None:
        claim = worker.claim()
        worker.metrics(claim, 1, 250)
        wait_until(lambda: "running" in looks, "a look at the running job")
        worker.finish(claim)

    thread = threading.Thread(target=finish)
    thread.start()
    done = real.jobs.wait(first.id, timeout=300, progress=lambda job: looks.append(job.status))
    thread.join()
    assert (done.status, done.result) == ("succeeded", {"val/accuracy": 0.97})
    assert looks[-1] == "succeeded"
    worker.finish(worker.claim(), Status.FAILED, {"code": "diverged", "message": "the loss is NaN", "log_tail": "…"})
    with pytest.raises(JobFailed, match=rf"{second.id} failed: the loss is NaN \(diverged\)"):
        second.wait()
    failed = second.wait(check=False, progress=True)
    assert failed.error is not None
    assert failed == second.refresh() != second
    assert f"{second.id}  failed\n" in capsys.readouterr().err, "a line, as this is no terminal"
    with pytest.raises(WaitTimeout, match="still queued"):
        real.jobs.wait(third.id, timeout=0)


def test_stream_from_a_given_event(real: Client, worker: Worker) -> None:
    job = real.jobs.submit(SPEC)
    claim = worker.claim()
    worker.metrics(claim, 1, 5)
    worker.finish(claim)
    seen = list(real.jobs.stream(job.id))
    assert [event.metric.step for event in seen if event.metric] == [1, 2, 3, 4, 5]
    assert seen[-1].status == "succeeded"
    middle = next(event for event in seen if event.metric and event.metric.step == 3)
    again = list(real.jobs.stream(job.id, middle.id))
    assert [event.metric.step for event in again if event.metric] == [4, 5]
    assert [event.status for event in real.jobs.stream(job.id, again[-1].id)] == ["succeeded"]


def test_files_are_downloaded_once(real: Client, worker: Worker, tmp_path: Path) -> None:
    job = real.jobs.submit(SPEC)
    claim = worker.claim()
    worker.artifact(claim, "model.safetensors", b"tensors" * 1000)
    worker.finish(claim)
    (tmp_path / "model.safetensors.part").write_bytes((b"tensors" * 1000)[:3333])
    path = job.download("model.safetensors", tmp_path)
    assert path.read_bytes() == b"tensors" * 1000
    assert [file.name for file in real.jobs.artifacts(job.id)] == ["model.safetensors"]
    before = path.stat().st_mtime_ns
    assert real.jobs.download(job.id, "model.safetensors", tmp_path).stat().st_mtime_ns == before
    with pytest.raises(NotFoundError, match=r"no artifact 'x'; it has: model\.safetensors"):
        job.download("x", tmp_path)


def test_a_model_is_imported_kept_and_deleted(real: Client, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(model_file())
    model = real.models.import_(tmp_path / "model.safetensors")
    assert model.source == "imported"
    assert real.models.import_(tmp_path / "model.safetensors").id == model.id, "the same bytes"
    assert [item.id for item in real.models.iterate()] == [model.id]
    assert real.models.get(model.id) == model
    assert real.models.set_alias(model.id, "champion").aliases == ("champion",)
    assert real.models.edit("champion", notes="imported by hand", starred=True).notes == "imported by hand"
    path = real.models.download("champion", tmp_path / "again.safetensors")
    assert path.read_bytes() == model_file()
    assert real.models.download(model.id, f"{tmp_path}/", format="manifest").name == "model.json"
    real.models.remove_alias(model.id, "champion")
    job = real.jobs.submit(SPEC | {"init_from": model.id})
    with pytest.raises(ConflictError, match=job.id):
        real.models.delete(model.id)
    real.jobs.cancel(job.id)
    real.models.delete(model.id)
    with pytest.raises(NotFoundError):
        real.models.get(model.id)


def test_readiness_and_system(real: Client, worker: Worker) -> None:
    assert not real.ready().ready
    assert real.ready().checks["worker"]["ok"] is False
    worker.heartbeat()
    assert real.ready().checks["worker"]["ok"] is True
    assert [one.hostname for one in real.workers.list()] == ["here"]
    assert real.system()["versions"]["adderworks"]
    assert real.datasets.get("digits").validation_size == 360


def test_a_job_that_no_client_gave_says_so(real: Client) -> None:
    job = real.jobs.submit(SPEC)
    for alone in (Job.from_json(job.raw), pickle.loads(pickle.dumps(job))):
        assert alone == job
        with pytest.raises(AdderClientError, match=rf"client\.jobs\.get\('{job.id}'\)"):
            alone.metrics()


def test_records_are_one_line_in_a_terminal_and_tables_in_a_notebook(real: Client) -> None:
    job = real.jobs.edit(real.jobs.submit(SPEC).id, name="<b>bold</b>", labels={"a": "<script>"})
    assert repr(job) == f"Job(id='{job.id}', kind='train', status='queued', name='<b>bold</b>')"
    page = real.jobs.list()
    assert repr(page) == "Page(1 × Job, has_more=False)"
    assert repr(Page(())) == "Page(empty)"
    for html in (job._repr_html_(), page._repr_html_()):
        assert job.id in html
        assert "&lt;b&gt;bold" in html
        assert "<b>" not in html
        assert "<script>" not in html
    everything = (*real.datasets.list(), *real.recipes.list(), real.ready(), job.progress)
    for record in everything:
        assert "\n" not in repr(record)
        assert len(repr(record)) < 600
        assert record._repr_html_().startswith("<table>")
