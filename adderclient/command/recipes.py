"""``adder recipes``: the tables and figures of the paper that a job can compute."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, copied, latencies
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.groups import ShowsNames, group
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import note, print_json
from adderclient.command.terminal import say
from adderclient.formats import operations
from adderclient.records import Job, Recipe

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="On this dataset; a recipe runs on digits without it.",
        autocompletion=completion.datasets,
    ),
]
WIDTH = 100
COUNTS = "counts"
"""Where the result of a training says what its network costs."""


COLUMNS: tuple[Column[Recipe], ...] = (
    Column("name", lambda one: one.name, heading="RECIPE"),
    Column("title", lambda one: one.title, rank=1, cut=True),
    Column("reference", lambda one: one.reference, rank=3, heading="IN THE PAPER"),
    Column("output", lambda one: one.output, rank=4, heading="GIVES"),
    Column("cost", lambda one: one.operations, lambda one: operations(one.operations), rank=2, right=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    about = "List the tables and figures of the paper that a job can compute; `adder recipes NAME` shows one."
    app.add_typer(group("recipes", about, recipes, {"show": show}, ShowsNames))


@listing(paged=False, page="/recipes")
def recipes(client: Client, request: Request, dataset: DatasetOption = None) -> Listed[Recipe]:
    """List the tables and figures of the paper that a job can compute."""
    found = client.recipes.list(dataset=dataset, limit=100)
    run = copied.adder("submit --recipe NAME --watch")
    return Listed(list(found), COLUMNS, [f"Run one with: {run}"])


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe.", autocompletion=completion.recipes)],
    dataset: DatasetOption = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a recipe with its spec as YAML, which `adder submit` takes as it is."""
    with connect(url) as client:
        recipe = client.recipes.get(name, dataset=dataset)
    if as_json:
        print_json(recipe.raw)
    else:
        _show(recipe, dataset)


def _show(recipe: Recipe, dataset: str | None) -> None:
    """Prints YAML that `adder submit` takes as it is; its comments describe the recipe."""
    from addercore import yaml  # here, as most commands read none

    facts = [
        f"{recipe.title} ({recipe.reference})",
        *wrap(recipe.description, WIDTH),
        f"Datasets of the paper: {', '.join(recipe.datasets)}. Estimated cost: {operations(recipe.operations)}.",
    ]
    if recipe.takes_model:
        facts.append("With `model_id` it is about a model of yours instead of networks that it trains.")
    for fact in facts:
        say(f"# {fact}")
    say(yaml.dumped(recipe.spec, WIDTH), end="")
    on = f" --dataset {dataset}" if dataset else ""
    run = copied.adder(f"submit --recipe {recipe.name}{on} --watch")
    note(f"Run it with: {run}")


def outcome(job: Job) -> Any:
    """A job's result for people: of an analysis the verdict and of a benchmark the fastest rows (a table has all of
    them), of others all but the counts."""
    if job.kind == "analyze":
        return job.result.get("verdict")
    if job.kind == "benchmark":
        return latencies.summary(job.result)
    return {name: value for name, value in job.result.items() if name != COUNTS}


def show_findings(client: Client, job_id: str) -> None:
    """Prints table and verdict of an analysis as Markdown, and says how to fetch its picture."""
    with TemporaryDirectory() as folder:
        path = client.jobs.download(job_id, "table.md", f"{folder}/")
        say(Path(path).read_text(encoding="utf-8").strip())
    note(f"Its picture: {copied.adder('download', job_id, '--name figure.png')}")
