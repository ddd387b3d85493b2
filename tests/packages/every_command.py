"""Runs every command of `adder` against a server that has nothing, and prints as JSON which of them raised what.

A program for an environment that has the package alone: it imports nothing of the tests.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import typer

from adderclient.command import application, main

PROBLEM = json.dumps({"type": "about:blank", "title": "Not found", "status": 404, "detail": "nothing here"}).encode()


class Nothing(BaseHTTPRequestHandler):
    """Answers 404 to everything."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(PROBLEM)))
        self.end_headers()
        self.wfile.write(PROBLEM)

    do_POST = do_DELETE = do_GET  # noqa: N815  names of http.server

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with its words; a group that does something by itself is one too."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    if path and command.invoke_without_command:
        yield path, command
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


def arguments(command: Any) -> list[str]:
    """A word for everything that the command insists on."""
    found: list[str] = []
    for parameter in command.params:
        if parameter.required:
            found += ["x"] if parameter.param_type_name == "argument" else [parameter.opts[0], "x"]
    return found


def run() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    raised: dict[str, str] = {}
    commands = list(leaves(typer.main.get_command(application())))
    for path, command in commands:
        sys.argv = ["adder", "--url", f"http://127.0.0.1:{server.server_port}", *path, *arguments(command)]
        try:
            main()
        except SystemExit:
            pass
        except Exception:  # noqa: BLE001  whatever it is, a user would see it
            raised[" ".join(path)] = traceback.format_exc()
    print(json.dumps({"commands": [" ".join(path) for path, _ in commands], "raised": raised}))


if __name__ == "__main__":
    run()
