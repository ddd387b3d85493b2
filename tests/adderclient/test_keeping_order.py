"""Names, labels, stars and aliases by the command; ids by their ends and by @last."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job, model, sweep, trial
from tests.adderclient.test_terminal import ALL, obeyed

FIRST = "job_01jv3m8z4k6wq0x9t2rhf5ybcd"
SECOND = "job_01jv3m8z4k6wq0x9t2rhf5zbcd"
MODEL = "model_01jv3m8z4k6wq0x9t2rhf5ymnp"
SWEEP = "sweep_01jv3m8z4k6wq0x9t2rhf5yqrs"


@pytest.fixture(autouse=True)
def _objects(service: Service) -> None:
    service.jobs = {FIRST: job(FIRST, "succeeded", attempt=1), SECOND: job(SECOND, "running", name="the second")}
    service.models = {MODEL: model(MODEL, metrics={"val/accuracy": 0.5, "val/loss": 0.25})}
    service.weights = {MODEL: b"tensors"}
    service.sweeps = {SWEEP: sweep(SWEEP)}
    service.trials = {SWEEP: [trial(0, "succeeded", "succeeded")]}


def test_what_is_kept_is_changed_and_shown(service: Service, adder: Adder) -> None:
    arguments = ("--name", "baseline", "--notes", "see page 3", "--label", "study:eta", "--label", "n=1", "--star")
    for id_, objects in ((FIRST, service.jobs), (MODEL, service.models)):
        done = adder("edit", id_, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{id_} is changed\n")
        entry = objects[id_]
        kept = (entry["name"], entry["notes"], entry["labels"], entry["starred"])
        assert kept == ("baseline", "see page 3", {"study": "eta", "n": "1"}, True)
        shown = adder("show", id_).stdout
        assert all(part in shown for part in ("baseline", "see page 3", "study eta", "starred"))
        assert "★ baseline" in adder("jobs" if objects is service.jobs else "models").stdout
        done = adder("edit", id_, "--name", "", "--remove-label", "n", "--unstar", "--json")
        assert json.loads(done.stdout) == entry
        assert (entry["name"], entry["labels"], entry["starred"]) == (None, {"study": "eta"}, False)
    nothing = adder("edit", FIRST)
    assert nothing.returncode == 2
    assert "say what to change: --name" in nothing.stderr
    assert adder("edit", FIRST, "--label", "nocolon").returncode == 2
    assert adder("edit", "job_9", "--star").returncode == 3


def test_an_alias_is_given_listed_used_and_taken(service: Service, adder: Adder) -> None:
    assert adder("alias", MODEL, "champion").stderr == f"champion is {MODEL}\n"
    assert adder("alias", "champion").stdout == "champion\n"
    assert MODEL in adder("show", "champion").stdout
    assert adder("download", "champion", "--name", "model.json").stdout == "champion/model.json\n"
    assert adder("predict", "champion", "data:image/png;base64,").returncode == 0
    assert adder("edit", "champion", "--star").stderr == f"{MODEL} is changed\n"
    assert adder("alias", "champion", "champion", "--remove").returncode == 0
    assert adder("show", "champion").returncode == 3
    assert adder("alias", MODEL, "--remove").returncode == 2
    assert adder("alias", MODEL, "champion", "--remove").returncode == 3


def test_the_end_of_an_id_is_enough(service: Service, adder: Adder) -> None:
    for text in ("5ybcd"[:5] + "",):
        assert adder("show", text).returncode == 3, "five characters are too few"
    for end in ("f5ybcd", "…f5ybcd", "01jv3m8z4k6wq0x9t2rhf5ybcd"):
        assert json.loads(adder("show", end, "--json").stdout)["id"] == FIRST
    for arguments in (("watch",), ("events",), ("metrics",), ("logs",), ("cancel",), ("retry",)):
        assert adder(arguments[0], "f5ybcd", *arguments[1:]).returncode == 0, arguments
    assert adder("continue", "f5ybcd", "--epochs", "2").returncode == 0
    assert adder("predict", "f5ymnp", "data:image/png;base64,").returncode == 0
    for verb in ("show", "table"):
        assert adder("sweep", verb, "f5yqrs").returncode == (0 if verb == "show" else 3)
    assert adder("delete", "f5ybcd").stderr == f"{FIRST} deleted\n"
    gone = adder("cancel", "f5ybcd")
    assert (gone.returncode, gone.stderr) == (3, "adder: no job has an id that ends with f5ybcd\n")


def test_an_end_of_several_ids_lists_them(service: Service, adder: Adder) -> None:
    twin = "job_02jv3m8z4k6wq0x9t2rhf5ybcd"
    service.jobs[twin] = job(twin, name=f"evil {ALL}")
    done = adder("cancel", "f5ybcd")
    assert done.returncode == 3
    assert "several ids end with f5ybcd; write more of it:" in done.stderr
    assert FIRST in done.stderr
    assert twin in done.stderr
    assert obeyed(done.stderr) == []
    assert not service.seen("POST")


def test_last_is_the_newest(service: Service, adder: Adder) -> None:
    assert json.loads(adder("show", "@last", "--json").stdout)["id"] == SECOND
    assert adder("edit", "@last", "--star").stderr == f"{SECOND} is changed\n"
    assert adder("predict", "@last", "data:image/png;base64,").returncode == 0
    assert SWEEP in adder("sweep", "show", "@last").stdout
    service.jobs = {}
    nothing = adder("cancel", "@last")
    assert (nothing.returncode, nothing.stderr) == (3, "adder: there is no job yet, so @last means nothing\n")


def test_whole_ids_and_names_are_sent_as_they_are(service: Service, adder: Adder) -> None:
    adder("show", FIRST)
    adder("show", "job_1")
    adder("datasets", "show", "digits")
    assert not service.seen("GET /v1/resolve")


def test_an_older_server_knows_whole_ids_alone(service: Service, adder: Adder) -> None:
    service.break_("GET /v1/resolve", status=404)
    assert adder("cancel", "f5ybcd").returncode == 3


@pytest.mark.parametrize(("listing", "path"), [("jobs", "/v1/jobs"), ("models", "/v1/models")])
def test_a_list_is_searched_filtered_and_sorted(service: Service, adder: Adder, listing: str, path: str) -> None:
    options = ("--search", "vgg eta", "--starred", "--label", "a:b", "--dataset", "mnist", "--sweep", "f5yqrs")
    assert adder(listing, *options, "--sort", "val/loss", "--order", "desc").returncode == 0
    query = parse_qs(urlsplit(service.seen(f"GET {path}")[-1][1]).query)
    assert query == {
        "limit": ["20"],
        "q": ["vgg eta"],
        "starred": ["true"],
        "label": ["a:b"],
        "dataset": ["mnist"],
        "sweep": [SWEEP],
        "sort": ["metric:val/loss"],
        "order": ["desc"],
    }
    adder(listing, "--unstarred", "--sort", "finished")
    query = parse_qs(urlsplit(service.seen(f"GET {path}")[-1][1]).query)
    assert query == {"limit": ["20"], "starred": ["false"], "sort": ["finished"]}
    assert adder(listing, "--order", "up").returncode == 2


def test_the_metric_that_a_list_is_sorted_by_has_a_column(service: Service, adder: Adder) -> None:
    service.jobs[FIRST]["result"] = {"val/accuracy": 0.975}
    shown = adder("jobs", "--sort", "val/accuracy").stdout
    assert shown.split("\n")[0].count("ACCURACY") == 1
    assert "97.50 %" in shown
    shown = adder("models", "--sort", "metric:val/loss").stdout
    assert "VAL/LOSS" in shown
    assert "0.25" in shown
    assert "VAL/ACCURACY" not in adder("models", "--sort", "val/accuracy").stdout, "that one is there anyway"


def test_names_and_notes_of_others_do_not_steer_the_terminal(service: Service, adder: Adder) -> None:
    evil = {"name": f"n {ALL}", "notes": f"a {ALL}", "labels": {f"k {ALL}": ALL}}
    service.jobs[FIRST] |= evil
    service.models[MODEL] |= evil | {"aliases": [f"b {ALL}"]}
    for arguments in (("jobs",), ("models",), ("show", FIRST), ("show", MODEL), ("alias", MODEL), ("models", "--json")):
        done = adder(*arguments)
        assert done.returncode == 0, done.stderr
        assert obeyed(done.stdout + done.stderr) == [], arguments
