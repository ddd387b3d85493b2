"""``adder system``: the parts of the service and their health."""

from __future__ import annotations

import typer

from adderclient.command.app import AsJson, Url, connect
from adderclient.command.output import fields, print_json, table
from adderclient.command.terminal import console


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(system)


def system(url: Url = None, as_json: AsJson = False) -> None:
    """Show workers, devices, versions, queue depth, and whether the service is ready."""
    with connect(url) as client:
        about = client.system()
        readiness = client.ready()
    if as_json:
        print_json({"ready": readiness.ready, "readyz": readiness.raw, **about})
    else:
        checks = readiness.checks
        unwell = {name: check.get("detail") for name, check in checks.items() if not check.get("ok")}
        workers = about.get("workers") or []
        rest = ((name, value) for name, value in about.items() if name != "workers")
        fields([("ready", readiness.ready), ("not well", unwell), *rest])
        if workers:
            console().print()
            keys = ("id", "hostname", "pid", "device", "slots", "heartbeat_at")
            table([key.upper() for key in keys], [[worker.get(key) for key in keys] for worker in workers])
