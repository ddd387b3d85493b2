"""The typer application, and the options that commands share."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from adderclient import profiles
from adderclient.client import Client
from adderclient.command import completion, copied
from adderclient.command.errors import HELP, OK
from adderclient.command.groups import Suggests
from adderclient.version import __version__


class Root(Suggests):
    """The command; a reader that goes away (`adder jobs | head`) ends it without a word and is no failure."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command and writes all that it printed."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError as error:
            # The interpreter flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OK) from error


app = typer.Typer(
    cls=Root,
    name="adder",
    help="Train adder networks as a service: submit jobs, watch them, fetch what they made.",
    epilog=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="ADDER_URL", help="The server.", show_default="http://127.0.0.1:8000"),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, and nothing else there.")]
JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job's id, its end (6 characters or more), or @last.",
        autocompletion=completion.objects("job"),
    ),
]
JobIds = Annotated[
    list[str],
    typer.Argument(metavar="JOB…", help="Jobs' ids, their ends, or @last.", autocompletion=completion.objects("job")),
]
Objects = Annotated[
    list[str],
    typer.Argument(
        metavar="ID…",
        help="Ids of jobs, models, sweeps or datasets; their ends, names or aliases; @last: a job.",
        autocompletion=completion.objects("job", "model", "sweep", "dataset"),
    ),
]
After = Annotated[str | None, typer.Option(help="Go on after this cursor (`next` of a --json listing).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a field, such as optimizer.lr=0.05; repeatable.",
        autocompletion=completion.overrides,
    ),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay and show the progress.")]
ValidateOnly = Annotated[bool, typer.Option("--validate-only", help="Check it and show what it costs; submit nothing.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="Submitting again with the same key gives what the first time made.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adderworks {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the installed version and exit.")
]


@app.callback()
def _shared(url: Url = None, version: Version = False) -> None:
    """Takes ``--url`` before the command as well as after it."""
    copied.begin()
    if url:
        os.environ["ADDER_URL"] = url


def connect(url: str | None) -> Client:
    """A client for the server that ``--url`` or ``ADDER_URL`` names, or the last `adder login`; with its key."""
    address = url or profiles.own_url()
    client = Client(address, profiles.own_key(address))
    copied.asks(client.url)
    return client
