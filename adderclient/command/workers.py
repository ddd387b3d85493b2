"""``adder worker``: list, drain, undrain. The launcher adds ``start``."""

from __future__ import annotations

from typing import Annotated

import typer

from adderclient.client import Client
from adderclient.command import groups
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import note, print_json
from adderclient.formats import ago, size
from adderclient.records import Worker, WorkerSample

WorkerName = Annotated[
    str, typer.Argument(metavar="WORKER", help="A worker's id, its beginning, or the name of a host with one worker.")
]


COLUMNS: tuple[Column[Worker], ...] = (
    Column("id", lambda one: one.id, heading="WORKER"),
    Column("host", lambda one: one.hostname, rank=5, cut=True),
    Column("pid", lambda one: one.pid, rank=7, right=True),
    Column("state", lambda one: one.state, rank=1),
    Column("running", lambda one: one.running, rank=2, right=True),
    Column("slots", lambda one: one.slots, rank=3, right=True),
    Column("devices", lambda one: list(dict.fromkeys(one.devices)), rank=4, cut=True),
    Column("cpu", lambda one: one.cpu, rank=8, right=True),
    Column("memory", lambda one: one.memory_bytes, lambda one: size(one.memory_bytes), rank=9, right=True),
    Column("heartbeat", lambda one: one.heartbeat_at, lambda one: ago(one.heartbeat_at), rank=6, heading="HEARD OF"),
    Column("started", lambda one: one.started_at, lambda one: ago(one.started_at), extra=True),
    Column("memory_mb", lambda one: one.memory_mb, right=True, extra=True),
)

SAMPLES: tuple[Column[WorkerSample], ...] = (
    Column("time", lambda one: one.time, rank=0),
    Column("cpu", lambda one: one.cpu, rank=1, right=True),
    Column("memory", lambda one: one.memory_bytes, lambda one: size(one.memory_bytes), rank=2, right=True),
    Column("gpu", lambda one: one.gpu, rank=3, right=True),
    Column("gpu_memory", lambda one: one.gpu_memory_bytes, lambda one: size(one.gpu_memory_bytes), rank=4, right=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(group)
    app.add_typer(group, name="workers", hidden=True)


@listing(paged=False)
def list_workers(client: Client, request: Request) -> Listed[Worker]:
    """List the workers that are alive."""
    workers = client.workers.list()
    start = "No worker is alive; queued jobs wait. Start one with: adder worker start"
    return Listed(workers, COLUMNS, [] if workers else [start])


@listing(paged=False)
def samples(client: Client, request: Request, name: WorkerName) -> Listed[WorkerSample]:
    """Show the cores, memory and GPUs that a worker and its jobs used in the last hours."""
    return Listed(client.workers.samples(name), SAMPLES)


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


group = groups.group(
    "worker",
    "See who runs the jobs, and let a worker leave.",
    list_workers,
    {"samples": samples, "drain": drain, "undrain": undrain},
)
