"""``adder backup`` and ``adder restore``: the server's own programs, started on this machine's data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="The service's data folder.", show_default="$ADDER_DATA_DIR or ./data")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to make; it must not exist.")],
    data: Data = None,
) -> None:
    """Copy database, artifacts and datasets of `adder up`, which may be running."""
    _run("jobs.backup", [str(target)], data)


def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `adder backup` made.")],
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="Move a data folder that is not empty aside.")] = False,
) -> None:
    """Check a backup and make a data folder of it; `adder up` then goes on with its jobs."""
    _run("jobs.restore", [str(source), *(["--force"] if force else [])], data)


def _run(module: str, arguments: list[str], data: Path | None) -> None:
    folder = data or Path(os.environ.get("ADDER_DATA_DIR") or "data")
    # -P: a folder named jobs/ in the current directory is not ours.
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(command, env=os.environ | {"ADDER_DATA_DIR": str(folder)}, check=False)
    raise typer.Exit(done.returncode)
