"""`python -m tests.faults.launch worker|api …`: the service's own program, with what the fault suite adds to it.

- It can be held at the edges of its transactions (`holds.py`), found by the statements it sends, so that it does not
  matter which function sends them.
- It need not load torch at each start: what the probe found once is in the file that `FAULTS_PROBE` names.
- A worker says which messages it gets (`message.received`): its own log leaves wake-ups out.
- With `FAULTS_TEMPLATE` a worker forks the suite's child from a template, which it replaces when the package `CODE`
  changes.
- With `FAULTS_WITHOUT_FENCE` a worker ignores its fence.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import structlog
from celery import signals
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from tests.faults import holds

EDGES = {
    "claim": re.compile(r"INSERT INTO attempts\b"),
    "checkpoint": re.compile(r"INSERT INTO checkpoints\b"),
    "result": re.compile(r"INSERT INTO artifacts\b"),
    "end": re.compile(r"UPDATE attempts SET ended_at\b"),
    "submit": re.compile(r"INSERT INTO jobs\b"),
    "model": re.compile(r"INSERT INTO models\b"),
}
"""`before-NAME`: inside the transaction, before that statement. `after-NAME`: that transaction is committed."""
RECEIVED = "message.received"
CODE = "faults_upgraded_code"
"""A package that a row makes on its own path, and changes."""


class Edges(threading.local):
    """The edges that this thread's transaction has met, each with its job."""

    def __init__(self) -> None:
        self.met: dict[str, str] = {}


def job_of(parameters: Any) -> str:
    """The job that a statement names among its parameters; empty: none."""
    rows = parameters if isinstance(parameters, list | tuple) else [parameters]
    values = [value for row in rows if isinstance(row, dict) for value in row.values()]
    return next((value for value in values if isinstance(value, str) and value.startswith("job_")), "")


def hold_transactions() -> None:
    edges = Edges()

    def statement(_connection: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> None:
        for name, pattern in EDGES.items():
            if name not in edges.met and pattern.match(text):
                edges.met[name] = job_of(parameters)
                holds.reach(f"before-{name}", edges.met[name])

    def committed(_session: Session) -> None:
        met, edges.met = edges.met, {}
        for name, job in met.items():
            holds.reach(f"after-{name}", job)

    def rolled_back(_session: Session) -> None:
        edges.met = {}

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Session, "after_commit", committed)
    event.listen(Session, "after_rollback", rolled_back)


def probe_from(path: Path) -> None:
    import worker.probe

    worker.probe.probe = lambda: json.loads(path.read_text())


def say_messages() -> None:
    def received(request: Any, **_: Any) -> None:
        structlog.get_logger().info(RECEIVED, message=request.id)

    signals.task_received.connect(received, weak=False)


def fork_the_child() -> None:
    """Has this worker fork what `ADDER_CHILD_COMMAND` would spawn."""
    import worker.context
    from jobs.settings import Settings
    from worker.template.client import Template

    class ChildTemplate(Template):
        def __init__(self, **options: Any) -> None:
            super().__init__(child="tests.faults.chain_child", packages=(CODE,), **options)

    worker.context.Template = ChildTemplate  # type: ignore[misc]
    Settings.forks = property(lambda _: True)  # type: ignore[assignment,method-assign]


def main() -> int:
    role = sys.argv.pop(1)
    if found := os.environ.get("FAULTS_PROBE"):
        probe_from(Path(found))
    if os.environ.get("FAULTS_WITHOUT_FENCE"):
        from tests.support.unfenced_worker import remove_fence

        remove_fence()
    if os.environ.get("FAULTS_TEMPLATE"):
        fork_the_child()
    hold_transactions()
    say_messages()
    if role == "worker":
        from worker.__main__ import main as run
    else:
        from api.__main__ import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
