"""``adder datasets``: list, ``upload``, ``show``, ``preview`` and ``delete``. The launcher adds ``fetch``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from adderclient.command import ids, watching
from adderclient.command.app import After, AsJson, Limit, Url, connect
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, WAITS, UsageError
from adderclient.command.formats import number, shape, size
from adderclient.command.output import (
    Bar,
    collect,
    fields,
    note,
    note_more,
    print_json,
    print_list,
    table,
    transfer_bars,
)
from adderclient.command.terminal import console, say
from adderclient.records import Dataset

app = typer.Typer(help="List what can be trained on; upload, show and delete your own; fetch published ones.")

Name = Annotated[
    str, typer.Argument(metavar="DATASET", help="An id, a name (the newest version), NAME@VERSION, or @last.")
]
SIZE = re.compile(r"(\d{1,4})(?:[x×](\d{1,4}))?")
BadImages = Literal["fail", "skip"]
Ground = Literal["white", "black", "refuse"]
ValueRange = Literal["auto", "0..1", "0..255", "-1..1", "bits"]
MOST_CLASSES = 20
"""Names of classes that `show` prints."""


def register(root: typer.Typer) -> None:
    """Adds this module's commands."""
    root.add_typer(app, name="datasets")


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context, limit: Limit = 100, after: After = None, url: Url = None, as_json: AsJson = False
) -> None:
    """List what can be trained on; upload, show and delete your own; fetch published ones."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise UsageError(f"write --json after the command: adder datasets {context.invoked_subcommand} … --json")
        if url:
            os.environ["ADDER_URL"] = url
        return
    with connect(url) as client:
        found, cursor = collect(lambda size, at: client.datasets.list(limit=size, after=at), limit, after)
    if as_json:
        print_list((item.raw for item in found), cursor is not None, cursor)
        return
    table(
        ["DATASET", "STATUS", "INPUT", "TRAINING>", "VALIDATION>", "DESCRIPTION"],
        (
            (_title(item), item.status, shape(item.input_shape), *map(number, sizes), item.description)
            for item in found
            for sizes in ((item.train_size, item.validation_size),)
        ),
    )
    for item in found:
        if item.status == "missing" and item.how_to_get:
            note(f"{item.name}: {item.how_to_get}")
    note_more(limit, cursor)


@app.command()
def upload(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An .npz, a zip or tar of class folders, or a Parquet table.")
    ],
    name: Annotated[str, typer.Option(help="What specs shall call it; again: a further version.")],
    image_size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Resize all images.", show_default="as they are")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1: grey, 3: colour.", show_default="as they are", min=1, max=3)
    ] = None,
    validation_fraction: Annotated[
        float | None, typer.Option(help="Part of each class that validates, unless FILE says.", show_default="0.15")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the choice of that part.", show_default="0")] = None,
    on_bad_image: Annotated[
        BadImages | None, typer.Option(help="What becomes of FILE if images cannot be read.", show_default="fail")
    ] = None,
    max_skipped: Annotated[
        int | None, typer.Option(help="Images that may be left out so, at most.", show_default="100", min=0)
    ] = None,
    transparent_on: Annotated[
        Ground | None, typer.Option(help="What lies behind transparent pixels.", show_default="white")
    ] = None,
    value_range: Annotated[
        ValueRange | None, typer.Option(help="What is black and white in arrays, 16-bit images.", show_default="auto")
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Of a table: the column of images.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Of a table: the column of labels.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until it is validated.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload images of your own. The dataset's id goes to stdout."""
    with connect(url) as client:
        with transfer_bars() as bars:
            dataset = client.datasets.upload(
                file,
                name,
                size=_sides(image_size),
                channels=channels,
                validation_fraction=validation_fraction,
                seed=seed,
                on_bad_image=on_bad_image,
                max_skipped=max_skipped,
                transparent_on=transparent_on,
                value_range=value_range,
                columns=_columns(image_column, label_column),
                progress=Bar(bars),
            )
        if watch and dataset.job_id and dataset.status == "validating":
            try:
                job = watching.follow(client, dataset.job_id).job
            except KeyboardInterrupt:
                note(f"No longer watching; the validation goes on: adder watch {dataset.job_id}")
                raise typer.Exit(INTERRUPTED) from None
            if not job.finished:
                note(watching.why_it_waits(client, job))
                raise typer.Exit(WAITS)
            dataset = client.datasets.get(dataset.id or name)
    if as_json:
        print_json(dataset.raw)
    else:
        say(dataset.id)
        note(f"{_title(dataset)} is {dataset.status}")
        for sentence in (*dataset.problems, *dataset.notes):
            note(f"  {sentence}")
        if dataset.preview:
            note(f"Look at it: adder datasets preview {_title(dataset)}")
        if dataset.status == "validating":
            note(f"Watch its validation: adder watch {dataset.job_id}")
    if dataset.status == "failed":
        raise typer.Exit(JOB_FAILED)


@app.command()
def show(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a dataset, with its problems if it failed."""
    with connect(url) as client:
        dataset = client.datasets.get(ids.dataset_id(client, name))
    if as_json:
        print_json(dataset.raw)
        return
    more = f" and {len(dataset.classes) - MOST_CLASSES:,} more" if len(dataset.classes) > MOST_CLASSES else ""
    fields(
        [
            ("dataset", _title(dataset)),
            ("id", dataset.id),
            ("status", dataset.status),
            ("same as", dataset.same_as),
            ("description", dataset.description),
            ("input", shape(dataset.input_shape)),
            ("training", dataset.train_size and number(dataset.train_size)),
            ("validation", dataset.validation_size and number(dataset.validation_size)),
            ("classes", ", ".join(dataset.classes[:MOST_CLASSES]) + more),
            ("size", dataset.bytes and size(dataset.bytes)),
            ("validated by", dataset.job_id),
            ("contact sheet", f"adder datasets preview {_title(dataset)}" if dataset.preview else None),
        ]
    )
    for sentence in (*dataset.problems, *dataset.notes):
        console().print(sentence, markup=False)
    if dataset.status == "missing":
        note(dataset.how_to_get)


@app.command()
def preview(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="A file or a folder.")] = Path("."),
    url: Url = None,
) -> None:
    """Fetch a contact sheet: images of each class, as the network sees them. Its path goes to stdout."""
    with connect(url) as client, transfer_bars() as bars:
        say(client.datasets.preview(ids.dataset_id(client, name), output, progress=Bar(bars)))


@app.command()
def delete(name: Name, url: Url = None) -> None:
    """Delete one version of your own dataset; models trained on it stay."""
    with connect(url) as client:
        client.datasets.delete(ids.dataset_id(client, name))
    note(f"{name} is deleted")


def _columns(image: str | None, label: str | None) -> dict[str, str] | None:
    return {key: name for key, name in (("image", image), ("label", label)) if name is not None} or None


def _title(dataset: Dataset) -> str:
    return dataset.name if dataset.version is None else f"{dataset.name}@{dataset.version}"


def _sides(text: str | None) -> tuple[int, int] | None:
    """(height, width) that `32` or `32x48` means."""
    if text is None:
        return None
    found = SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"--size must be HxW in pixels, such as 32x32, got {text!r}")
    return int(found[1]), int(found[2] or found[1])
