"""The client and the command against the real API. No worker runs, so that the test is short."""

from __future__ import annotations

import pytest

from adderclient import Client, ConflictError, InvalidRequestError, NotFoundError
from adderclient.command import watching
from tests.adderclient.conftest import Adder

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1}


def test_the_whole_client_without_a_worker(real: Client, adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not real.ready().ready
    assert real.ready().checks["worker"]["ok"] is False
    assert real.workers.list() == []
    assert real.jobs.validate(SPEC).model["parameters"] == 61_942
    first, second = (real.jobs.submit(SPEC | {"seed": seed, "labels": {"run": "1"}}) for seed in (0, 1))
    assert [job.id for job in real.jobs.iterate(labels={"run": "1"})] == [second.id, first.id]
    assert real.jobs.run_seconds(first) is None
    with pytest.raises(ConflictError, match="only a running job can be paused"):
        real.jobs.pause(first.id)
    with pytest.raises(InvalidRequestError) as caught:
        real.jobs.submit(SPEC | {"epochs": 0})
    assert [error.pointer for error in caught.value.errors] == ["/epochs"]
    with pytest.raises(NotFoundError):
        real.models.get("model_1")
    kept = real.jobs.edit(first.id, name="the first", notes="a\nb", labels={"run": None, "study": "eta"}, starred=True)
    assert (kept.name, kept.notes, kept.labels, kept.starred) == ("the first", "a\nb", {"study": "eta"}, True)
    assert real.jobs.edit(first.id, name="", notes="").name is None
    assert real.jobs.get(first.id).notes is None
    with pytest.raises(InvalidRequestError) as caught:
        real.jobs.edit(first.id, name="two\nlines")
    assert [error.pointer for error in caught.value.errors] == ["/name"]
    assert [job.id for job in real.jobs.list(starred=True)] == [first.id]
    assert [job.id for job in real.jobs.iterate(search="eta digits", dataset="digits", status="queued")] == [first.id]
    for sort in ("created", "finished", "val/accuracy", "metric:val/loss"):
        assert len(real.jobs.list(sort=sort, order="asc")) == 2
    assert real.models.list(search="lenet", sort="val/accuracy", sweep="sweep_1").data == ()
    with pytest.raises(InvalidRequestError):
        real.jobs.list(sort="metric:")
    (found,) = real.resolve(first.id[-8:])
    assert (found.id, found.type) == (first.id, "job")
    shown = adder("show", first.id[-6:], "--url", real.url)
    assert shown.returncode == 0, shown.stderr
    assert first.id in shown.stdout
    assert second.id in adder("show", "@last", "--url", real.url).stdout
    assert real.compare(first.id, second.id)["differences"][0]["pointer"] == "/seed"
    sweep = real.sweeps.submit({"base": SPEC, "grid": {"seed": [0, 1]}})
    assert [trial.parameters for trial in real.sweeps.trials(sweep.id)] == [{"seed": 0}, {"seed": 1}]
    assert "digits" in [dataset.name for dataset in real.datasets.list(limit=100)]
    assert real.recipes.get("table1").spec["kind"] == "analyze"
    monkeypatch.setattr(watching, "PATIENCE", 0.3)
    done = adder("watch", first.id, "--interval", "0.1", "--url", real.url)
    assert done.returncode == 5
    assert "is queued and cannot start: there is no live worker" in done.stderr
    assert real.jobs.cancel(first.id).status == "cancelled"
    assert adder("watch", first.id, "--url", real.url).returncode == 1
