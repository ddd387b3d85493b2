"""The ``adder`` command: ``main`` is its entry point."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module

import typer

from adderclient.command import (
    access,
    counts,
    datasets,
    follow,
    jobs,
    keeping,
    models,
    recipes,
    sweeps,
    system,
    workers,
)
from adderclient.command.app import app
from adderclient.command.errors import exit_code_for
from adderclient.command.terminal import errors_console
from adderclient.errors import AdderClientError

__all__ = ["application", "main"]

LAUNCHER = "launcher.commands"
"""The module that adds the commands which start server programs. It is found by its name when the command runs: the
client imports nothing of it, and works where it is not installed. An entry point would do the same, but looking for
one reads the metadata of every installed distribution at each call."""

PARTS = (system, jobs, follow, keeping, models, datasets, recipes, sweeps, workers, access, counts)


@cache
def application() -> typer.Typer:
    """The whole command: the launcher's commands, where it is installed, and the client's own."""
    try:
        import_module(LAUNCHER).register(app)
    except ModuleNotFoundError as error:
        if error.name not in (LAUNCHER, LAUNCHER.partition(".")[0]):
            raise
    for part in PARTS:
        part.register(app)
    return app


def main() -> None:
    """Runs the command; a user's mistake ends in a sentence and an exit code, never in a traceback."""
    try:
        application()()
    except AdderClientError as error:
        errors_console().print(f"adder: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(exit_code_for(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        errors_console().print(f"adder: {what}{error.strerror or error}", markup=False, soft_wrap=True)
        sys.exit(2)
