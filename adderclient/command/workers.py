"""``adder worker``: list, drain, undrain. The launcher adds ``start``."""

from __future__ import annotations

from typing import Annotated

import typer

from adderclient.command.app import AsJson, Url, connect
from adderclient.command.errors import UsageError
from adderclient.command.formats import ago
from adderclient.command.output import note, print_json, print_list, table
from adderclient.records import Worker

WorkerName = Annotated[
    str, typer.Argument(metavar="WORKER", help="A worker's id, its beginning, or the name of a host with one worker.")
]


group = typer.Typer(name="worker", help="See who runs the jobs, and let a worker leave.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    group.command(name="list")(list_workers)
    group.command()(drain)
    group.command()(undrain)
    app.add_typer(group)


def list_workers(url: Url = None, as_json: AsJson = False) -> None:
    """List the workers that are alive."""
    with connect(url) as client:
        workers = client.workers.list()
    if as_json:
        print_list(worker.raw for worker in workers)
        return
    columns = ["ID", "HOST", "PID>", "STATE", "RUNNING>", "SLOTS>", "DEVICES", "HEARD OF"]
    table(columns, (_row(worker) for worker in workers))
    if not workers:
        note("No worker is alive; queued jobs wait. Start one with: adder worker start")


def drain(
    name: WorkerName,
    hand_over: Annotated[
        bool,
        typer.Option("--hand-over/--finish", help="Jobs save a checkpoint and go on elsewhere, or are finished first."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it runs nothing any more.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds that --wait waits at most.", min=0)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a worker claim no more jobs; it stays alive, idle. `adder worker undrain` takes it back."""
    if timeout is not None and not wait:
        raise UsageError("--timeout says how long --wait waits: add --wait, or leave it out")
    with connect(url) as client:
        worker = client.workers.drain(name, "hand_over" if hand_over else "finish")
        if wait:
            client.workers.wait_drained(worker.id, timeout)
    if as_json:
        print_json(worker.raw)
    elif wait:
        note(f"{worker.id} runs nothing any more")
    else:
        note(f"{worker.id} claims no more jobs; {worker.running} running")


def undrain(name: WorkerName, url: Url = None, as_json: AsJson = False) -> None:
    """Let a worker that was drained claim jobs again."""
    with connect(url) as client:
        worker = client.workers.undrain(name)
    if as_json:
        print_json(worker.raw)
    else:
        note(f"{worker.id} claims jobs again")


def _row(worker: Worker) -> list[object]:
    devices = ", ".join(dict.fromkeys(worker.devices))
    return [
        worker.id,
        worker.hostname,
        worker.pid,
        worker.state,
        worker.running,
        worker.slots,
        devices,
        ago(worker.heartbeat_at),
    ]
