"""Sweeps as a user runs them: the command, real trainings, what came out of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.conftest import Service
from tests.support.specs import train_body

BASE = train_body(epochs=1, resources={"threads": 1}, checkpoint={"every_epochs": None, "every_seconds": None})


def adder(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("adder")), *arguments, "--url", service.url]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.mark.long("five trainings, one after the other")
def test_a_grid_and_then_a_search_whose_worker_is_killed(embedded: Service, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump({"name": "methods", "base": BASE, "grid": {"model.method": ["adder", "conv"]}}))
    checked = adder(embedded, "sweep", "submit", str(grid), "--validate-only", "--json")
    assert json.loads(checked.stdout)["jobs"] == 2
    done = adder(embedded, "sweep", "submit", str(grid), "--watch")
    assert done.returncode == 0, done.stderr
    sweep = done.stdout.split()[0]
    assert "2/2 done" in done.stdout
    table = adder(embedded, "sweep", "table", sweep, "--format", "md", "--figure", str(tmp_path / "grid.svg"))
    assert table.stdout.splitlines()[0] == "| model.method | trial | val/accuracy, % |"
    assert (tmp_path / "grid.svg").read_text().startswith("<svg")
    means = adder(embedded, "sweep", "table", sweep, "--csv", "--sort", "mean", "--order", "desc").stdout.splitlines()
    assert means[0] == "best,model.method,n,mean,std"
    assert [line.split(",")[0] for line in means[1:]] == ["true", "false"]
    document = json.loads(adder(embedded, "sweep", "table", sweep, "--json").stdout)
    assert document["fields"] == ["model.method"]
    assert adder(embedded, "sweep", "table", sweep).stdout.splitlines()[0].split() == [
        "model.method", "N", "val/accuracy", "STD",
    ]  # fmt: skip

    search: dict[str, Any] = {
        "base": BASE,
        "search": {"optimizer.lr": {"type": "float", "low": 0.01, "high": 0.1, "log": True}},
        "trials": 3,
        "parallel": 1,
    }
    with embedded.client() as client:
        sweep = client.sweeps.submit(search).id
        next(seen for seen in client.sweeps.watch(sweep) if seen.progress["done"])
        embedded.kill("-m worker ")  # nothing of it is lost, and nothing is done twice
        found = client.sweeps.wait(sweep, timeout=300)
        trials = list(client.sweeps.trials(sweep))
        assert [(trial.status, trial.message) for trial in trials] == [("succeeded", None)] * 3
        assert found.best is not None
        assert found.best.value == max(trial.value or 0 for trial in trials)
        jobs = client.jobs.list(labels={"sweep": sweep})
        assert sorted(job.labels["trial"] for job in jobs) == ["0", "1", "2"]
        best = client.jobs.get(str(found.best.job_id))
        assert best.result["val/accuracy"] == found.best.value
        assert best.spec["optimizer"]["lr"] == found.best.parameters["optimizer.lr"]
        compared = client.compare(*(str(trial.job_id) for trial in trials))
        assert [one["pointer"] for one in compared["differences"]] == ["/optimizer/lr"]
        assert "val/accuracy" in compared["metrics"]
    shown = adder(embedded, "compare", *(str(trial.job_id) for trial in trials))
    assert "/optimizer/lr" in shown.stdout
    assert adder(embedded, "sweep", "list").stdout.count("sweep_") == 2
