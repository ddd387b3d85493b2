"""``adder init``: a commented spec to begin with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from adderclient import schema
from adderclient.client import Client
from adderclient.command import completion, copied
from adderclient.command.app import Url, connect
from adderclient.command.errors import UsageError
from adderclient.command.output import note
from adderclient.command.terminal import say

WIDTH = 100
SHOWN = ("model", "dataset", "optimizer", "epochs", "batch_size", "seed", "augment", "publish", "priority")
"""Fields that the file sets, with their sections; the others are named in its last lines."""
NETWORKS = (((1, 32), "lenet5_bn"), ((3, 32), "resnet20"), ((3, 64), "resnet18"))
"""For images of at least so many channels and pixels a side, the network to begin with."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(init)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write; - is stdout.")] = Path("job.yaml"),
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="To train on.", autocompletion=completion.datasets)
    ] = "digits",
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network.",
            show_default="one that suits the images",
            autocompletion=completion.archs,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="What its layers compute.", autocompletion=completion.methods)
    ] = "adder",
    force: Annotated[bool, typer.Option("--force", help="Write over FILE.")] = False,
    url: Url = None,
) -> None:
    """Write a commented job.yaml for a dataset, with the paper's recipe for it; `adder submit` takes it as it is."""
    to_stdout = str(file) == "-"
    if file.exists() and not force and not to_stdout:
        raise UsageError(f"{file} is there already; --force writes over it, and another FILE leaves it")
    with connect(url) as client:
        network = arch or _suited(client, dataset)
        model = {"arch": network, "method": method}
        spec = client.jobs.validate({"kind": "train", "model": model, "dataset": {"name": dataset}}).spec
    name = "job.yaml" if to_stdout else str(file)
    text = commented(spec, f"{network} with the method {method} on {dataset}", name)
    if to_stdout:
        say(text, end="")
        return
    file.write_text(text, encoding="utf-8")
    say(file)
    note(f"Check it: {copied.adder('submit', str(file), '--validate-only')}")
    note(f"Submit it: {copied.adder('submit', str(file), '--watch')}")


def _suited(client: Client, dataset: str) -> str:
    """The network to begin with on a dataset."""
    found = client.datasets.get(dataset)
    if not found.input_shape:
        raise UsageError(f"{dataset} is {found.status}: say with --arch which network shall train on it")
    channels, height, width = found.input_shape
    fitting = [name for (least, side), name in NETWORKS if channels >= least and min(height, width) >= side]
    return fitting[-1] if fitting else NETWORKS[0][1]


def commented(spec: Mapping[str, Any], title: str, file: str) -> str:
    """A whole spec as YAML with what each field means, of which a newcomer changes the first ones."""
    command = shlex.join(["adder", "submit", file])
    lines = [f"# A job of Adderworks: {title}.", f"# Submit it with: {command} --watch", ""]
    lines.append("kind: train")
    for name in SHOWN:
        if name in spec:
            lines += ["", *_field(name, spec[name], "")]
    lines += ["", "# Names and texts by which you find it again: adder jobs --label study:first"]
    lines += ["labels: {study: first}"]
    others = [name for name in spec if name not in (*SHOWN, "kind", "labels")]
    lines += ["", *_comment(f"Every other field has its default: {', '.join(others)}.", "")]
    lines += [f"# What they mean: docs/specs.md. Their values: {command} --validate-only --json"]
    return "\n".join(lines) + "\n"


def _field(name: str, value: Any, indent: str) -> Iterator[str]:
    """A field below what it means; null is a comment, which shows that it can be set."""
    field = schema.find("train", name) or {}
    choices = completion.choices(name)
    one_of = f" One of {', '.join(choices)}." if choices else ""
    yield from _comment(f"{field.get('description', '')}{one_of}", indent)
    last = name.rpartition(".")[2]
    if isinstance(value, Mapping) and value:
        yield f"{indent}{last}:"
        for inner, one in value.items():
            yield from _field(f"{name}.{inner}", one, f"{indent}  ")
    else:
        yield f"{indent}{'# ' if value is None else ''}{last}: {_plain(value)}"


def _plain(value: Any) -> str:
    """A value on one line. JSON is YAML; a text that reads as itself needs no quotes."""
    from addercore import yaml  # here, as most commands read none

    if isinstance(value, str) and value:
        try:
            if yaml.parsed(value) == value and yaml.parsed(f"a: {value}") == {"a": value}:
                return value
        except ValueError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in wrap(" ".join(text.split()), WIDTH - len(indent) - 2)]
