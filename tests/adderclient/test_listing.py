"""Every listing takes the same options; a terminal gets the columns for which it has room, a program gets all."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from adderclient.command import application
from adderclient.command.columns import Column, lines
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import event, job, metric, model, sweep, trial

ID = "job_01jv3m8z4k6wq0x9t2rhf5ybcd"
LISTINGS = (
    ("jobs",),
    ("jobs", "list"),
    ("models",),
    ("models", "list"),
    ("datasets",),
    ("datasets", "list"),
    ("sweep",),
    ("sweeps",),
    ("sweep", "list"),
    ("sweep", "trials", "sweep_1"),
    ("recipes",),
    ("recipes", "list"),
    ("metrics", ID),
    ("events", ID),
    ("count",),
)


@pytest.fixture(autouse=True)
def _objects(service: Service) -> None:
    more = {"labels": {"study": "eta"}, "result": {"val/accuracy": 0.975, "val/loss": 0.25}}
    service.jobs = {ID: job(ID, "succeeded", **more), "job_2": job("job_2", "running")}
    service.models = {f"model_{n}": model(f"model_{n}", parameters=100 - n) for n in (1, 2, 3)}
    service.sweeps = {"sweep_1": sweep("sweep_1")}
    service.trials = {"sweep_1": [trial(0, "succeeded", "succeeded", value=0.5), trial(1, "running", "queued")]}
    service.metrics = {ID: [metric(1, value=0.75), metric(2, "val/accuracy", 0.5), metric(3, "lr", None)]}
    service.events = {ID: [event(n, f"no {n}") for n in (1, 2, 3)]}


@pytest.mark.parametrize("listing", LISTINGS, ids=" ".join)
def test_a_listing_is_a_table_json_and_csv_of_the_same_rows(adder: Adder, listing: tuple[str, ...]) -> None:
    table = adder(*listing)
    assert table.returncode == 0, table.stderr
    rows = json.loads(adder(*listing, "--json").stdout)["data"]
    document = list(csv.DictReader(io.StringIO(adder(*listing, "--csv").stdout)))
    assert len(rows) == len(document) == len(table.stdout.splitlines()) - 1 > 0
    first = next(iter(document[0]))
    chosen = adder(*listing, "--columns", first, "--limit", "1")
    assert len(chosen.stdout.splitlines()) == 2, chosen.stderr
    assert json.loads(adder(*listing, "--columns", first, "--json").stdout)["data"][0].keys() == {first}
    both = adder(*listing, "--csv", "--json")
    assert (both.returncode, both.stdout) == (2, "")
    unknown = adder(*listing, "--columns", "nonsense")
    assert unknown.returncode == 2
    assert f"there is no column 'nonsense'; there are: {first}" in unknown.stderr


def test_a_listing_is_sorted_by_any_column_and_empty_values_are_last(adder: Adder) -> None:
    def values(*order: str) -> list[str]:
        found = adder("metrics", ID, "--sort", "value", "--columns", "value", "--csv", *order).stdout
        return found.splitlines()[1:]

    assert values() == ["0.5", "0.75", '""']
    assert values("--order", "desc") == ["0.75", "0.5", '""']
    assert adder("metrics", ID, "--order", "desc").returncode == 2
    assert adder("events", ID, "--sort", "nonsense").returncode == 2


def test_jobs_show_accuracy_and_labels_and_any_metric(adder: Adder) -> None:
    shown = adder("jobs").stdout
    assert "97.50 %" in shown
    assert "study eta" in shown
    shown = adder("jobs", "--columns", "id,val/loss,label:study").stdout
    assert shown.splitlines()[0].split() == ["JOB", "VAL/LOSS", "STUDY"]
    assert next(line for line in shown.splitlines() if ID in line).split() == [ID, "0.25", "eta"]
    found = json.loads(adder("jobs", "--columns", "accuracy", "--json").stdout)["data"]
    assert {"accuracy": 0.975} in found


@pytest.mark.parametrize("width", [20, 40, 80, 100, 120, 200])
@pytest.mark.parametrize("listing", [("jobs",), ("models",), ("sweeps",), ("events", ID)], ids=" ".join)
def test_a_table_fits_and_no_id_is_cut(
    adder: Adder, listing: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = [Text.from_ansi(line).plain for line in adder(*listing).stdout.splitlines()]
    widest = max(map(cell_len, shown))
    if listing == ("jobs",):
        assert any(ID in line for line in shown)
        assert widest <= max(width, len(ID))
    else:
        assert widest <= max(width, 25)


def test_the_least_important_columns_go_first() -> None:
    columns: list[Column[Any]] = [
        Column("id", lambda row: row[0]),
        Column("last", lambda row: row[1], rank=2),
        Column("text", lambda row: row[2], rank=1, cut=True),
        Column("empty", lambda row: "", rank=3),
    ]
    rows = [("x" * 10, "y" * 10, "z" * 30)]

    def heads(width: int | None) -> list[str]:
        return lines(columns, rows, width)[0].plain.split()

    assert heads(None) == ["ID", "LAST", "TEXT"], "what is empty is not shown"
    assert heads(36) == ["ID", "LAST", "TEXT"]
    assert lines(columns, rows, 36)[1].plain.endswith("zzz…"), "texts are cut before a column goes"
    assert heads(33) == ["ID", "TEXT"]
    assert heads(5) == ["ID"]
    assert lines(columns, rows, 5)[1].plain == "x" * 10
    every = lines(columns, rows, 5, all_of_them=True)[0].plain.split()
    assert every == ["ID", "LAST", "TEXT", "EMPTY"]


def test_groups_list_by_their_name_alone_and_have_the_same_verbs() -> None:
    groups = {name: one for name, one in application().commands.items() if hasattr(one, "commands")}
    assert set(groups) == {
        "jobs", "models", "datasets", "recipes", "sweep", "sweeps", "worker", "workers", "keys", "projects", "webhooks",
    }  # fmt: skip
    for name, group in groups.items():
        assert "list" in group.commands, name
        own = {parameter.name for parameter in group.params} - {"context"}
        assert own == {parameter.name for parameter in group.commands["list"].params}, name
    for name in ("jobs", "models", "datasets", "sweep"):
        assert {"show", "watch", "delete"} <= set(groups[name].commands), name


def test_options_between_a_group_and_a_verb_are_refused_but_the_server(service: Service, adder: Adder) -> None:
    refused = adder("jobs", "--status", "queued", "show", ID)
    assert refused.returncode == 2
    assert "write --status after the command: adder jobs show … --status" in refused.stderr
    assert adder("jobs", "--url", service.url, "show", ID).returncode == 0


def test_the_page_is_opened(service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    for arguments, path in ((("jobs",), "/"), (("models",), "/models"), (("show", ID), f"/jobs/{ID}")):
        assert adder(*arguments, "--web").stdout == f"{service.url}{path}\n"
        assert opened[-1] == f"{service.url}{path}"
