"""``adder datasets``: list, ``upload``, ``show``, ``preview`` and ``delete``. The launcher adds ``fetch``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from adderclient.client import Client
from adderclient.command import completion, copied, ids, watching
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, WAITS, UsageError
from adderclient.command.groups import group
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.objects import of_kind
from adderclient.command.output import Bar, note, print_json, status, transfer_bars
from adderclient.command.showing import title_of
from adderclient.command.terminal import say
from adderclient.formats import ago, number, shape, size
from adderclient.records import Dataset

Name = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="An id, a name (the newest version), NAME@VERSION, or @last.",
        autocompletion=completion.datasets,
    ),
]
SIZE = re.compile(r"(\d{1,4})(?:[x×](\d{1,4}))?")
BadImages = Literal["fail", "skip"]
Ground = Literal["white", "black", "refuse"]
ValueRange = Literal["auto", "0..1", "0..255", "-1..1", "bits"]
COLUMNS: tuple[Column[Dataset], ...] = (
    Column("name", title_of, heading="DATASET"),
    Column("status", lambda one: one.status, lambda one: status(one.status), rank=1),
    Column("input", lambda one: shape(one.input_shape), rank=3),
    Column("classes", lambda one: len(one.classes) or None, rank=6, right=True),
    Column("training", lambda one: one.train_size, lambda one: number(one.train_size), rank=2, right=True),
    Column("validation", lambda one: one.validation_size, lambda one: number(one.validation_size), rank=4, right=True),
    Column("description", lambda one: one.description, rank=5, cut=True),
    Column("id", lambda one: one.id, extra=True),
    Column("source", lambda one: one.source, extra=True, cut=True),
    Column("bytes", lambda one: one.bytes, lambda one: size(one.bytes), extra=True, right=True),
    Column("created", lambda one: one.created_at, lambda one: ago(one.created_at), extra=True),
)


def register(root: typer.Typer) -> None:
    """Adds this module's commands."""
    root.add_typer(app)


@listing(limit=100, page="/datasets")
def datasets(client: Client, request: Request) -> Listed[Dataset]:
    """List what can be trained on; upload, show and delete your own; fetch published ones."""
    found = request.read(lambda size, at: client.datasets.list(limit=size, after=at))
    missing = [f"{item.name}: {item.how_to_get}" for item in found if item.status == "missing" and item.how_to_get]
    return Listed(found, COLUMNS, missing)


app = group("datasets", str(datasets.__doc__), datasets, of_kind("dataset"))


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
                note(f"No longer watching; the validation goes on: {copied.adder('watch', dataset.job_id or '')}")
                raise typer.Exit(INTERRUPTED) from None
            if not job.finished:
                note(watching.why_it_waits(client, job))
                raise typer.Exit(WAITS)
            dataset = client.datasets.get(dataset.id or name)
    if as_json:
        print_json(dataset.raw)
    else:
        say(dataset.id)
        note(f"{title_of(dataset)} is {dataset.status}")
        for sentence in (*dataset.problems, *dataset.notes):
            note(f"  {sentence}")
        if dataset.preview:
            note(f"Look at it: {copied.adder('datasets preview', title_of(dataset))}")
        if dataset.status == "validating":
            note(f"Watch its validation: {copied.adder('watch', dataset.job_id or '')}")
    if dataset.status == "failed":
        raise typer.Exit(JOB_FAILED)


@app.command()
def preview(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="A file or a folder.")] = Path("."),
    url: Url = None,
) -> None:
    """Fetch a contact sheet: images of each class, as the network sees them. Its path goes to stdout."""
    with connect(url) as client, transfer_bars() as bars:
        say(client.datasets.preview(ids.dataset_id(client, name), output, progress=Bar(bars)))


def _columns(image: str | None, label: str | None) -> dict[str, str] | None:
    return {key: name for key, name in (("image", image), ("label", label)) if name is not None} or None


def _sides(text: str | None) -> tuple[int, int] | None:
    """(height, width) that `32` or `32x48` means."""
    if text is None:
        return None
    found = SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"--size must be HxW in pixels, such as 32x32, got {text!r}")
    return int(found[1]), int(found[2] or found[1])
