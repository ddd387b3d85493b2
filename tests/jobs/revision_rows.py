"""`python -m tests.jobs.revision_rows`: rows as this version writes them, kept for the migration tests.

Run it before a new revision is added: it writes `tests/jobs/revisions/REVISION.json`, `{table: [row, …]}`, with jobs in
every state and some of everything else.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jobs.access import keys, projects
from jobs.access.limits import Limits
from jobs.access.roles import Role
from jobs.access.scope import DEFAULT, SERVICE
from jobs.access.tables import AuditEntry
from jobs.database import Database
from jobs.ids import new_id
from jobs.keeping import Edit
from jobs.migrate import current_revision, migrate
from jobs.repository import keeping, lifecycle
from jobs.repository.attempts import Claim
from jobs.settings import Settings
from jobs.states import Status
from jobs.store import store_of
from jobs.webhooks import repository as webhooks
from jobs.webhooks.events import EventType
from tests.api.attempt import Worker
from tests.jobs import sweeping
from tests.support import datasets
from tests.support.specs import train_spec

FOLDER = Path(__file__).with_name("revisions")
PRIORITIES = (0, 5, 0, -3, 5)
"""Of the jobs that stay queued, but for one that was paused and resumed after they were submitted."""


def started(worker: Worker, number: int) -> Claim:
    with worker.database.write(DEFAULT) as session:
        spec = train_spec(labels={"who": "ada", "part": "mnist"})
        lifecycle.submit(session, spec, key=f"key {number}", body={"number": number})
    claim = worker.claim()
    worker.metrics(claim, 7, 12)
    worker.log(claim, "first line: ü\n")
    worker.log(claim, "second\n")
    worker.checkpoint(claim, 7)
    worker.checkpoint(claim, 12)
    worker.artifact(claim, "log.txt", b"first line\n", "text/plain; charset=utf-8")
    return claim


def fill(worker: Worker) -> None:
    worker.heartbeat()
    with worker.database.write(DEFAULT) as session:  # it hears of all that follows
        webhooks.create(session, name="lab", url="https://example.org/", wanted=list(EventType), most=1, by=None)
    datasets.ready(worker, "leaves")
    sweeping.create(worker.database)
    claims = [started(worker, number) for number in range(8)]
    model = worker.publish(claims[0])
    with worker.database.write(DEFAULT) as session:
        keeping.set_alias(session, model, "champion")
        keeping.edit_model(session, model, Edit(labels={"study": "eta"}))
    with worker.database.write(DEFAULT) as session:
        for claim in (claims[2], claims[5]):
            lifecycle.cancel(session, claim.job_id)
        for claim in (claims[3], claims[6], claims[7]):
            lifecycle.pause(session, claim.job_id)
    worker.finish(claims[0])
    worker.finish(claims[1], Status.FAILED, {"code": "diverged", "message": "Not a number.", "log_tail": "second"})
    worker.finish(claims[2], Status.CANCELLED)
    worker.pause(claims[3])
    with worker.database.write(DEFAULT) as session:
        retry = lifecycle.retry(session, claims[1].job_id, train_spec(), from_checkpoint=True)
        lifecycle.cancel(session, retry.id)
        for priority in PRIORITIES:
            lifecycle.submit(session, train_spec(priority=priority))
    time.sleep(0.01)  # made before those, but queued after them
    worker.pause(claims[7])
    with worker.database.write(DEFAULT) as session:
        lifecycle.resume(session, claims[7].job_id)


def access(database: Database) -> None:
    """A second project, a key with a sign-in, and a row of the audit."""
    with database.write(SERVICE) as session:
        projects.create(session, "other", Limits())
    with database.write(DEFAULT) as session:
        _, text = keys.create(session, "ada", Role.ADMIN, None, by=None)
        session.add(AuditEntry(id=new_id("audit"), time=1, action="POST /v1/keys", request_id="r"))
    with database.write(SERVICE) as session:
        keys.sign_in(session, keys.identify(session, text))


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    tables = sa.MetaData()
    tables.reflect(database.engine)
    with database.engine.connect() as connection:
        found = {
            table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in tables.sorted_tables
            if table.name != "alembic_version"
        }
    (trained,) = found["models"]
    found["models"].append(trained | {"id": "model_imported", "job_id": None, "source": "imported", "metrics": None})
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        database = Database(settings.resolved_database_url)
        migrate(database)
        fill(Worker(database, store_of(settings)))
        access(database)
        lines = [
            f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in found) + "\n]"
            for name, found in rows(database).items()
        ]
        target = FOLDER / f"{current_revision(database)}.json"
        database.dispose()
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(target)


if __name__ == "__main__":
    main()
