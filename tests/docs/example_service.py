"""A real server with fixed data: what the pictures of docs/command.md show. No worker trains anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from structlog.testing import capture_logs

from adderclient import Client
from api.__main__ import server_of
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.migrate import migrate
from jobs.repository.attempts import Claim
from jobs.settings import Settings
from jobs.store import store_of
from jobs.sweeps import driver
from jobs.tables import Attempt, Job, Model, Sweep
from tests.api.conftest import threaded
from tests.api.dashboard import PATIENT
from tests.api.stand_in import StandIn
from tests.conftest import quick_settings
from tests.support.servers import Valkey

HOUR = 3_600_000  # milliseconds
TRAINING = {
    "kind": "train",
    "model": {"arch": "lenet5_bn", "method": "adder"},
    "dataset": {"name": "digits"},
    "epochs": 10,
}


@dataclass
class Example:
    """Where it is, and the ids of what is there."""

    url: str
    names: dict[str, str]


@contextmanager
def example_service(folder: Path) -> Iterator[Example]:
    """The API as `python -m api` runs it, with a few jobs, models and a sweep."""
    valkey = Valkey(folder / "valkey")
    valkey.start()
    url = f"sqlite:///{folder / 'adder.db'}"
    database = Database(url)
    try:
        migrate(database)
        settings = quick_settings(folder / "data", url, valkey.url, **PATIENT)
        worker = StandIn(database, store_of(settings))
        worker.heartbeat()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            # The server's log goes to stdout, which is what the pictures show.
            with capture_logs(), threaded(server_of(settings), listener), Client(address) as client:
                yield Example(address, _filled(client, worker, settings))
    finally:
        database.dispose()
        valkey.close()


def _filled(client: Client, worker: StandIn, settings: Settings) -> dict[str, str]:
    """Makes everything, and moves it to fixed distances from now."""
    names: dict[str, str] = {}

    def begin(name: str, labels: dict[str, str], **changes: Any) -> Claim:
        names[name] = client.jobs.submit({**TRAINING, "labels": labels, **changes}).id
        return worker.claim()

    def trained(claim: Claim, accuracy: float, loss: float, epochs: int = 10) -> None:
        worker.epoch(claim, epochs, epochs)
        worker.succeed(claim, **{"val/accuracy": accuracy, "val/loss": loss})

    sweep = client.sweeps.submit({"name": "eta", "base": TRAINING, "grid": {"optimizer.eta": [0.05, 0.1, 0.2]}})
    names["sweep"] = sweep.id
    for accuracy in (0.9556, 0.9667, 0.9611):
        trained(worker.claim(), accuracy, 0.21)
    claim = begin("baseline", {"study": "first"})
    names["model"] = worker.publish(claim)
    trained(claim, 0.9667, 0.1432)
    client.jobs.edit(names["baseline"], name="baseline", starred=True)
    client.models.set_alias(names["model"], "champion")
    trained(begin("twin", {"study": "first"}, model={"arch": "lenet5_bn", "method": "conv"}), 0.9583, 0.1518)
    claim = begin("diverged", {"study": "rates"}, optimizer={"lr": 30.0})
    worker.epoch(claim, 1)
    worker.fail(claim, "diverged", "The loss is not a number at step 12.", "step 11  loss 88.1\nstep 12  loss nan")
    for name, epoch in (("paused", 4), ("running", 6)):
        claim = begin(name, {"study": "seeds"}, seed=epoch)
        worker.epoch(claim, epoch)
        if name == "paused":
            client.jobs.pause(names["paused"])
            worker.end_paused(claim)
    names["waiting"] = client.jobs.submit(
        {**TRAINING, "labels": {"study": "seeds"}, "resources": {"device": "cuda"}}
    ).id
    with worker.database.write(DEFAULT) as session:
        driver.step(session, sweep.id, driver.Rules.of(settings))
    _move(worker.database)
    return names


def _move(database: Database) -> None:
    """Gives everything times at fixed distances from now: each job an hour after the one before.

    They read in hours, with half an hour to the next one, however slow the machine is.
    """
    with database.write(DEFAULT) as session:
        ids = list(session.scalars(sa.select(Job.id).order_by(Job.id)))
        now = max(session.scalars(sa.select(Job.created_at)))
        for at, id_ in enumerate(ids):
            created = now - (len(ids) - at) * HOUR - HOUR // 2
            ran = 9_400 + at * 400
            started, ended = created + 1_000, created + 1_000 + ran
            job = session.get_one(Job, id_)
            job.created_at = job.queued_at = created
            job.started_at = None if job.started_at is None else started
            job.finished_at = None if job.finished_at is None else ended
            for attempt in session.scalars(sa.select(Attempt).where(Attempt.job_id == id_)):
                attempt.started_at = started
                attempt.ended_at = None if attempt.ended_at is None else ended
            session.execute(sa.update(Model).where(Model.job_id == id_).values(created_at=ended))
        for sweep in session.scalars(sa.select(Sweep)):
            sweep.created_at = now - (len(ids) + 1) * HOUR - HOUR // 2
            sweep.finished_at = None if sweep.finished_at is None else now - (len(ids) - 4) * HOUR
