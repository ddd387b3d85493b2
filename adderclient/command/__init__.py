"""The ``adder`` command: ``main`` is its entry point."""

from __future__ import annotations

import io
import os
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import typer.main

import adderclient.records
from adderclient.command import (
    access,
    beginning,
    comparison,
    counts,
    datasets,
    export,
    follow,
    jobs,
    keeping,
    model_jobs,
    models,
    objects,
    recipes,
    showing,
    sweeps,
    system,
    webhooks,
    workers,
)
from adderclient.command.app import app
from adderclient.command.errors import NOT_OURS, SERVER, USAGE, exit_code_for
from adderclient.command.terminal import errors_console
from adderclient.errors import AdderClientError

__all__ = ["application", "main"]

LAUNCHER = "launcher.commands"
"""The module that adds the commands which start server programs. It is found by its name when the command runs: the
client imports nothing of it, and works where it is not installed. An entry point would do the same, but looking for
one reads the metadata of every installed distribution at each call."""

PARTS = (
    beginning, system, jobs, showing, objects, follow, keeping, models, datasets, recipes, sweeps, comparison, workers,
    access, webhooks, counts, export, model_jobs,
)  # fmt: skip


@cache
def application() -> Any:
    """The tree of click commands that typer makes: the launcher's, where it is installed, and the client's own."""
    try:
        import_module(LAUNCHER).register(app)
    except ModuleNotFoundError as error:
        if error.name not in (LAUNCHER, LAUNCHER.partition(".")[0]):
            raise
    for part in PARTS:
        part.register(app)
    return typer.main.get_command(app)


def main() -> None:
    """Runs the command; a user's mistake ends in a sentence and an exit code, never in a traceback."""
    _prepare_streams()
    try:
        application()()
    except AdderClientError as error:
        _end(str(error), exit_code_for(error))
    except UnicodeError:
        _end("what was typed, or a file, is not text in UTF-8", USAGE)
    except httpx2.HTTPError as error:
        _end(f"the server's answer cannot be read ({error}): is it an Adderworks server?", SERVER)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        _end(f"{what}{error.strerror or error}", USAGE)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if not _reads_an_answer(error):
            raise
        _end(NOT_OURS, SERVER)


def _end(sentence: str, code: int) -> NoReturn:
    errors_console().print(f"adder: {sentence}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _prepare_streams() -> None:
    """What the terminal's encoding lacks is written out (`\\u2026`); a stream that was closed takes everything."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - the process keeps it to its end
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reads_an_answer(error: BaseException) -> bool:
    """Whether it was raised where objects are made of the server's JSON, which then has another form."""
    records = Path(adderclient.records.__file__).parent
    return any(Path(frame.filename).parent == records for frame in traceback.extract_tb(error.__traceback__))
