"""No option is ignored in silence, and what is typed wrong is said in words of this command."""

from __future__ import annotations

from pathlib import Path

import pytest

from adderclient import Client
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job, metric, model

SPEC = "kind: train\nmodel: {arch: lenet5_bn}\ndataset: {name: digits}\n"


def test_one_file_of_a_model_is_fetched_alone(service: Service, adder: Adder, tmp_path: Path) -> None:
    service.models["model_1"] = model("model_1", sha256=None)
    service.of_another_version = True
    service.weights["model_1"] = b"tensors"
    done = adder("download", "model_1", "--name", "model.json")
    assert (done.returncode, done.stdout) == (0, "model_1/model.json\n")
    assert [path.name for path in (tmp_path / "model_1").iterdir()] == ["model.json"]


@pytest.mark.parametrize("owner", ["model_1", "job_1"])
def test_a_name_that_is_not_there_fetches_nothing(service: Service, adder: Adder, tmp_path: Path, owner: str) -> None:
    service.models["model_1"] = model("model_1")
    service.weights["model_1"] = b"tensors"
    service.jobs["job_1"] = job("job_1", "succeeded")
    service.artifacts["job_1"] = {"model.json": b"{}"}
    done = adder("download", owner, "--name", "model.json", "--name", "nope")
    assert done.returncode == 3
    assert f"{owner} has no artifact 'nope'; it has: model.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("submit", "-", "--validate-only", "--watch"), "--validate-only submits nothing: leave out --watch"),
        (("submit", "-", "--validate-only", "--idempotency-key", "k"), "leave out --idempotency-key"),
        (("sweep", "submit", "-", "--validate-only", "--watch"), "leave out --watch"),
        (("metrics", "job_1", "--csv", "--json"), "--csv and --json exclude each other"),
        (("sweep", "table", "sweep_1", "--format", "csv", "--json"), "--format excludes --json and --csv"),
        (("worker", "drain", "w", "--timeout", "3"), "--timeout says how long --wait waits"),
        (("datasets", "--json", "show", "digits"), "write --json after the command: adder datasets show … --json"),
        (("compare", "job_1"), "name at least two jobs to compare"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    service: Service, adder: Adder, arguments: tuple[str, ...], says: str
) -> None:
    service.jobs["job_1"] = job("job_1")
    done = adder(*arguments, stdin=SPEC)
    assert done.returncode == 2
    assert says in done.stderr
    assert service.requests == [], "nothing is asked before the options are right"


def test_yaml_is_read_as_json_has_it(service: Service, adder: Adder) -> None:
    done = adder("submit", "-", stdin=SPEC + "seed: 010\nlabels: {run: 2024-01-05, at: 12:30}\n")
    assert done.returncode == 0, done.stderr
    spec = service.jobs["job_0001"]["spec"]
    assert spec["seed"] == 10
    assert spec["labels"] == {"run": "2024-01-05", "at": "12:30"}
    assert adder("submit", "-", "--set", "labels.run=2024-01-05", stdin=SPEC).returncode == 0


def test_the_address_may_end_in_the_version(service: Service, adder: Adder) -> None:
    assert adder("jobs", "--url", f"{service.url}/v1/").returncode == 0
    with Client(f"{service.url}/v1") as client:
        assert client.url == service.url


def test_metrics_are_in_per_cent_for_people_and_shares_for_programs(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = job("job_1")
    service.metrics["job_1"] = [metric(1, "val/accuracy", 0.975)]
    assert "97.50 %" in adder("metrics", "job_1").stdout
    assert "0.975" in adder("metrics", "job_1", "--csv").stdout


def test_listings_say_how_to_go_on(service: Service, adder: Adder) -> None:
    service.models = {f"model_{n:04d}": model(f"model_{n:04d}") for n in range(30)}
    first = adder("models", "--limit", "25")
    assert "There are more: --limit 50, or --after 25" in first.stderr
    assert len(adder("models", "--after", "25").stdout.splitlines()) == 1 + 5
