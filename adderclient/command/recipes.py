"""``adder recipes``: the tables and figures of the paper that a job can compute."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import Annotated, Any

import typer
import yaml

from adderclient.client import Client
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.formats import operations
from adderclient.command.output import note, print_json, print_list, table
from adderclient.command.terminal import say
from adderclient.records import Job, Recipe

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="On this dataset; a recipe runs on digits without it.")
]
WIDTH = 100


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one, with its spec as YAML.")] = None,
    dataset: DatasetOption = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the tables and figures of the paper that a job can compute, or show one of them."""
    with connect(url) as client:
        if name is not None:
            recipe = client.recipes.get(name, dataset=dataset)
            if as_json:
                print_json(recipe.raw)
            else:
                _show(recipe, dataset)
            return
        page = client.recipes.list(dataset=dataset, limit=100)
    if as_json:
        print_list((recipe.raw for recipe in page), page.has_more, page.next)
        return
    rows = ((one.name, one.title, one.reference, one.output, operations(one.operations)) for one in page)
    table(["RECIPE", "TITLE", "IN THE PAPER", "GIVES", "COST>"], rows)
    note("Run one with: adder submit --recipe NAME --watch")


def _show(recipe: Recipe, dataset: str | None) -> None:
    """Prints YAML that `adder submit` takes as it is; its comments describe the recipe."""
    facts = [
        f"{recipe.title} ({recipe.reference})",
        *wrap(recipe.description, WIDTH),
        f"Datasets of the paper: {', '.join(recipe.datasets)}. Estimated cost: {operations(recipe.operations)}.",
    ]
    if recipe.takes_model:
        facts.append("With `model_id` it is about a model of yours instead of networks that it trains.")
    for fact in facts:
        say(f"# {fact}")
    text = yaml.safe_dump(dict(recipe.spec), sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH)
    say(text, end="")
    on = f" --dataset {dataset}" if dataset else ""
    note(f"Run it with: adder submit --recipe {recipe.name}{on} --watch")


def outcome(job: Job) -> Any:
    """A job's result for people: of an analysis the verdict (its table has the rows), of other jobs all of it."""
    return job.result.get("verdict") if job.kind == "analyze" else job.result


def show_findings(client: Client, job_id: str) -> None:
    """Prints table and verdict of an analysis as Markdown, and says how to fetch its picture."""
    with TemporaryDirectory() as folder:
        path = client.jobs.download(job_id, "table.md", f"{folder}/")
        say(Path(path).read_text(encoding="utf-8").strip())
    note(f"Its picture: adder download {job_id} --name figure.png")
