"""``adder datasets fetch``: the library's own program, started on this machine's data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="The service's data folder.", show_default="$ADDER_DATA_DIR or ./data")]


def add_to(group: typer.Typer) -> None:
    """Adds the command to ``adder datasets``."""
    group.command()(fetch)


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="mnist, fashion_mnist, cifar10, cifar100 or imagenet.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Take the files from there; download nothing.")
    ] = None,
    data: Data = None,
) -> None:
    """Bring a published dataset to the server: a copy of this machine, from a folder or downloaded, and verified."""
    folder = (data or Path(os.environ.get("ADDER_DATA_DIR") or "data")) / "datasets"
    # -P: a folder named addercore/ in the current directory is not ours.
    command = [sys.executable, "-P", "-m", "addercore.data", "fetch", name, "--data", str(folder)]
    if source is not None:
        command += ["--from", str(source)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
