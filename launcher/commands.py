"""The commands that start server programs on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adderclient.command import datasets, workers
from adderclient.command.extras import need

Data = Annotated[Path | None, typer.Option(help="The service's data folder.", show_default="$ADDER_DATA_DIR or ./data")]


class Published(StrEnum):
    """The published datasets that ``python -m addercore.data fetch`` knows."""

    mnist = "mnist"
    fashion_mnist = "fashion_mnist"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    imagenet = "imagenet"


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the ``adder`` command and to its groups."""
    for command in (up, demo, backup, restore):
        app.command()(command)
    workers.group.command()(start)
    datasets.app.command()(fetch)


def up(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder for everything that is kept.", show_default="$ADDER_DATA_DIR or ./data")
    ] = None,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1, max=64)] = 1,
    ready_timeout: Annotated[float, typer.Option(help="Seconds within which all must be ready.", min=1)] = 60.0,
) -> None:
    """Start API, worker and stores on this machine; Ctrl-C stops them."""
    from launcher.service import Options, run

    _need_the_server()
    raise typer.Exit(run(Options(host, port, _folder(data), workers, ready_timeout)))


def demo(
    data: Annotated[Path, typer.Option(help="Folder for the demo's service and results; it is kept.")] = Path(
        "demo-data"
    ),
    epochs: Annotated[int, typer.Option(help="Epochs of each training; the recipe has 30.", min=1)] = 12,
) -> None:
    """Train an adder network and its convolutional twin on this machine, and compare them."""
    from launcher.demo import run_demo

    _need_the_server()
    raise typer.Exit(run_demo(data, epochs))


def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to make; it must not exist.")],
    data: Data = None,
) -> None:
    """Copy database, artifacts and datasets of `adder up`, which may be running."""
    _need_the_server()
    _run("jobs.backup", str(target), umask=PRIVATE, ADDER_DATA_DIR=str(_folder(data)))


def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `adder backup` made.")],
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="Move a data folder that is not empty aside.")] = False,
) -> None:
    """Check a backup and make a data folder of it; `adder up` then goes on with its jobs."""
    _need_the_server()
    _run("jobs.restore", str(source), *(["--force"] if force else []), umask=PRIVATE, ADDER_DATA_DIR=str(_folder(data)))


def start(data: Data = None) -> None:
    """Run one more worker here, until SIGTERM or Ctrl-C; it hands its jobs over then.

    ADDER_DATABASE_URL, ADDER_BROKER_URL and ADDER_ARTIFACTS_URL say which service it works for; without them it joins
    the `adder up` of the data folder.
    """
    _need_the_server()
    os.execve(sys.executable, _python("worker"), os.environ | {"ADDER_DATA_DIR": str(_folder(data).absolute())})


def fetch(
    name: Annotated[Published, typer.Argument(metavar="NAME", help=f"{', '.join(Published)}.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Take the files from there; download nothing.")
    ] = None,
    data: Data = None,
) -> None:
    """Bring a published dataset to the server: a copy of this machine, from a folder or downloaded, and verified."""
    arguments = ["fetch", name.value, "--data", str(_folder(data) / "datasets")]
    need("core", "this command reads datasets with the library")
    _run("addercore.data", *arguments, *(["--from", str(source)] if source is not None else []))


def _folder(data: Path | None) -> Path:
    return data or Path(os.environ.get("ADDER_DATA_DIR") or "data")


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a folder named jobs/, worker/ or addercore/ in the current directory is not ours.
    return [sys.executable, "-P", "-m", module, *arguments]


PRIVATE = 0o077
"""A backup holds the whole database: it is its user's alone, as the service's data folder is."""


def _run(module: str, *arguments: str, umask: int = -1, **environment: str) -> None:
    """Runs a program and exits with its exit code."""
    done = subprocess.run(_python(module, *arguments), env=os.environ | environment, umask=umask, check=False)
    raise typer.Exit(done.returncode)


def _need_the_server() -> None:
    need("server", "this command starts programs of the server")
