"""Recipes by library and command, and what an analysis leaves on the terminal."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from adderclient import Client, NotFoundError
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job

VERDICT = "Adder gradients are smaller in each layer, as published."
MARKDOWN = f"# Gradient norms\n\n| layer | adder |\n|---|---:|\n| conv1 | 0.0012 |\n\n**Verdict.** {VERDICT}\n"


def analysis(identity: str, **more: Any) -> dict[str, Any]:
    spec = {"kind": "analyze", "recipe": "table1", "dataset": {"name": "digits"}}
    return job(identity, kind="analyze", spec=spec, **more)


def test_recipes_are_listed_shown_and_submitted(service: Service, client: Client) -> None:
    (listed,) = client.recipes.list()
    assert (listed.name, listed.output, listed.datasets, listed.takes_model) == ("table1", "table", ("mnist",), True)
    assert listed.operations == 3_198_873_600
    recipe = client.recipes.get("table1", dataset="mnist")
    assert recipe.spec["dataset"] == {"name": "mnist"}
    assert client.jobs.submit(recipe.spec).spec == recipe.spec
    with pytest.raises(NotFoundError):
        client.recipes.get("table9")


def test_the_command_lists_them(service: Service, adder: Adder) -> None:
    shown = adder("recipes")
    assert (shown.returncode, shown.stdout.splitlines()[1].split()[:3]) == (0, ["table1", "Gradient", "norms"])
    assert "3.2 billion operations" in shown.stdout
    assert json.loads(adder("recipes", "--json").stdout)["data"][0]["name"] == "table1"
    assert adder("recipes", "table9").returncode == 3


def test_what_a_recipe_shows_is_a_spec_to_submit(service: Service, adder: Adder) -> None:
    shown = adder("recipes", "table1", "--dataset", "mnist")
    assert shown.stdout.startswith("# Gradient norms (Table 1)\n# The norm of each layer's gradient.\n")
    assert "model_id" in shown.stdout
    spec = {"kind": "analyze", "recipe": "table1", "dataset": {"name": "mnist"}, "seeds": [0, 1]}
    assert yaml.safe_load(shown.stdout) == spec
    assert "adder submit --recipe table1 --dataset mnist" in shown.stderr
    assert adder("submit", "-", stdin=shown.stdout).returncode == 0
    assert service.jobs["job_0001"]["spec"] == spec
    assert json.loads(adder("recipes", "table1", "--json").stdout)["spec"]["dataset"] == {"name": "digits"}


def test_a_recipe_is_submitted_by_name(service: Service, adder: Adder) -> None:
    done = adder("submit", "--recipe", "figure4", "--dataset", "mnist", "--set", "epochs=2", "--set", "seeds=[0, 1]")
    assert (done.returncode, done.stdout) == (0, "job_0001\n")
    assert service.jobs["job_0001"]["spec"] == {
        "kind": "analyze",
        "recipe": "figure4",
        "dataset": {"name": "mnist"},
        "epochs": 2,
        "seeds": [0, 1],
    }


@pytest.mark.parametrize("arguments", [(), ("spec.yaml", "--recipe", "table1")])
def test_either_a_file_or_a_recipe(adder: Adder, arguments: tuple[str, ...]) -> None:
    done = adder("submit", *arguments)
    assert done.returncode == 2
    assert "either a SPEC file or --recipe NAME" in done.stderr


def test_watching_ends_with_table_verdict_and_picture(service: Service, adder: Adder, tmp_path: Path) -> None:
    result = {"recipe": "table1", "verdict": VERDICT, "rows": [{"layer": "conv1", "adder": 0.0012}]}
    service.artifacts["job_0001"] = {"table.md": MARKDOWN.encode(), "figure.png": b"picture"}

    def end() -> None:
        service.jobs["job_0001"] = analysis("job_0001", result=result)
        service.finish("job_0001")

    threading.Timer(0.7, end).start()
    done = adder("submit", "--recipe", "table1", "--watch")
    assert (done.returncode, done.stdout) == (0, "job_0001\n" + MARKDOWN)
    assert "adder download job_0001 --name figure.png" in done.stderr
    assert json.loads(adder("watch", "job_0001", "--json").stdout)["result"] == result


def test_an_analysis_is_named_by_its_recipe(service: Service, adder: Adder) -> None:
    service.jobs["job_1"] = analysis("job_1", result={"verdict": VERDICT, "rows": list(range(500))})
    service.artifacts["job_1"] = {}
    service.finish("job_1")
    assert "table1 on digits" in adder("jobs", "--kind", "analyze").stdout
    shown = adder("show", "job_1").stdout
    assert "table1 on digits" in shown
    assert VERDICT in shown
    assert "499" not in shown, "the rows are the table's"
