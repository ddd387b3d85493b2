"""Runs one fault on a stage of its own and makes its row."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from pathlib import Path

from sqlalchemy import select

from jobs.states import Cause
from jobs.tables import Attempt
from tests.faults.check import Verdict, verdicts
from tests.faults.fault import Fault, Injection
from tests.faults.plan import strikes
from tests.faults.servers import Servers
from tests.faults.stage import Stage, open_stage
from tests.faults.table import Row


def say(text: str) -> None:
    print(text, flush=True)


def run(fault: Fault, times: int, seed: int, servers: Servers, folder: Path, *, fenced: bool = True) -> Row:
    """A row, whatever happens: an exception while a fault is caused or confirmed makes it red."""
    row = Row(fault.name)
    if reason := fault.unavailable():
        row.skipped = reason
        return row
    began = time.monotonic()
    try:
        with open_stage(folder, servers, fault.options, fenced=fenced) as stage:
            _strike(fault, times, seed, stage, row)
    except Exception as error:  # noqa: BLE001  (one fault that breaks the suite must not hide the others)
        traceback.print_exc(file=sys.stdout)
        row.unconfirmed.append(f"{type(error).__name__}: {error}")
    row.seconds = time.monotonic() - began
    if row.green:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _strike(fault: Fault, times: int, seed: int, stage: Stage, row: Row) -> None:
    injections: list[Injection] = []
    fault.before(stage)
    for injection in fault.run(stage, strikes(seed, fault.name, times)):
        injections.append(injection)
        row.tried += 1
        if row.tried % 20 == 0:
            say(f"  {row.tried} of {times}")
    fault.after(stage)
    stage.settle()
    for injection in injections:
        if said := fault.confirm(stage, injection):
            row.confirmed += 1
            say(f"  {said}") if row.confirmed <= 2 else None
        else:
            row.unconfirmed.append(f"{injection.job or fault.name} {injection.attempt or ''} at {injection.at}")
        row.lost += fault.wrong(stage, injection)
        recovery = fault.recovery_ms(stage, injection)
        if recovery is not None and not _struck_again(injection, recovery, injections):
            row.recoveries_ms.append(recovery)
    row.missed = _missed(stage, injections)
    _count(row, verdicts(stage, fault.untouched))


def _struck_again(injection: Injection, recovery_ms: int, injections: list[Injection]) -> bool:
    """Whether its job was struck again before it made progress: what that took says nothing about either."""
    until = injection.at + recovery_ms
    return any(injection.at < other.at < until for other in injections if injection.job and other.job == injection.job)


def _missed(stage: Stage, injections: list[Injection]) -> int:
    """Attempts that were lost and that no injection struck."""
    lost = select(Attempt.job_id, Attempt.attempt).where(Attempt.cause == Cause.WORKER_LOST)
    struck = {(injection.job, injection.attempt) for injection in injections}
    return len({tuple(row) for row in stage.ask(lambda session: session.execute(lost).all())} - struck)


def _count(row: Row, found: list[Verdict]) -> None:
    row.jobs = len(found)
    for verdict in found:
        row.lost += verdict.lost
        row.duplicated += verdict.duplicated
        row.different += verdict.different
        row.compared += verdict.compared
        row.alike += verdict.compared and not verdict.different
