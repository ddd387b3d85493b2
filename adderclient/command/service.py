"""``adder up``, ``adder demo`` and ``adder system``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from adderclient.command.app import AsJson, Url, connect
from adderclient.command.output import console, fields, print_json, table


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(up)
    app.command()(demo)
    app.command()(system)


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
    from adderclient.up import Options, run

    folder = data or Path(os.environ.get("ADDER_DATA_DIR") or "data")
    raise typer.Exit(run(Options(host, port, folder, workers, ready_timeout)))


def demo(
    data: Annotated[Path, typer.Option(help="Folder for the demo's service and results; it is kept.")] = Path(
        "demo-data"
    ),
    epochs: Annotated[int | None, typer.Option(help="Epochs of each training, instead of the recipe's.", min=1)] = None,
) -> None:
    """Train an adder network and its convolutional twin on this machine, and compare them."""
    from adderclient.demo import run_demo

    raise typer.Exit(run_demo(data, epochs))


def system(url: Url = None, as_json: AsJson = False) -> None:
    """Show workers, devices, versions, queue depth, and whether the service is ready."""
    with connect(url) as client:
        about = client.system()
        readiness = client.ready()
    if as_json:
        print_json({"ready": readiness.ready, "readyz": readiness.raw, **about})
    else:
        checks = readiness.raw.get("checks") or {}
        unwell = {name: check.get("detail") for name, check in checks.items() if not check.get("ok")}
        workers = about.get("workers") or []
        rest = ((name, value) for name, value in about.items() if name != "workers")
        fields([("ready", readiness.ready), ("not well", unwell), *rest])
        if workers:
            console().print()
            keys = ("id", "hostname", "pid", "device", "slots", "heartbeat_at")
            table([key.upper() for key in keys], ([worker.get(key) for key in keys] for worker in workers))
