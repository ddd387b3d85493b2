"""``--web``: opens a page of the dashboard in place of printing."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from adderclient.command.app import connect
from adderclient.command.output import note
from adderclient.command.terminal import say

OnTheWeb = Annotated[bool, typer.Option("--web", help="Open the page about it; its address goes to stdout.")]


def open_page(url: str | None, path: str) -> None:
    """Opens a page of the server's dashboard, and prints its address."""
    with connect(url) as client:
        address = f"{client.url}{path}"
    say(address)
    if not webbrowser.open(address):
        note("No browser can be opened here; open that address in one.")
