"""The database restarted in a hurry, or its connections cut: trainings go on, and nobody's job is taken."""

from __future__ import annotations

import signal
import time
from abc import abstractmethod

import psycopg
from sqlalchemy import select

from jobs.tables import Attempt
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage


class Database(Fault):
    times = 10
    task = Task(steps=30, ms=50)
    options = Options(workers=3)
    waves = 6

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        time.sleep(0.6 * strike.pause)
        log = stage.servers.postgres.log
        injection = Injection(now_ms(), facts={"said": len(log.read_text(errors="replace"))})
        self.fault(stage, strike)
        submit_next(stage, self.task)  # accepted by the API as soon as the database is back
        injection.recovered = now_ms()
        return injection

    @abstractmethod
    def fault(self, stage: Stage, strike: Strike) -> None: ...

    def said(self, stage: Stage, injection: Injection, words: str) -> str:
        later = stage.servers.postgres.log.read_text(errors="replace")[injection.facts["said"] :]
        return next((line for line in later.splitlines() if words in line), "")

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        """No outage of the database takes a job from its worker; said once, with the first injection."""
        if "said" not in injection.facts or stage.facts.setdefault("counted", injection) is not injection:
            return []
        lost = select(Attempt).where(Attempt.cause == "worker_lost").order_by(Attempt.job_id)
        rows = stage.ask(lambda session: list(session.execute(lost).scalars()))
        return [f"{row.job_id} was taken from its worker: {row.message}" for row in rows]


class DatabaseKilled(Database):
    name = "database killed (kill -9) and started again"
    about = "PostgreSQL's first process is killed at a random instant and started again up to a second later."
    proof = "PostgreSQL's log: it was not shut down properly and recovers"

    def fault(self, stage: Stage, strike: Strike) -> None:
        stage.servers.postgres.stop(signal.SIGKILL)
        time.sleep(strike.pick)
        stage.servers.postgres.start()

    def confirm(self, stage: Stage, injection: Injection) -> str:
        return self.said(stage, injection, "was not properly shut down; automatic recovery in progress")


class DatabaseRestarted(Database):
    name = "database restarted (immediate shutdown), away longer than a lease"
    about = (
        "PostgreSQL is shut down at once and started again two to four seconds later: leases of 2 s run out meanwhile."
    )
    proof = "PostgreSQL's log: received immediate shutdown request"
    times = 6

    def fault(self, stage: Stage, strike: Strike) -> None:
        stage.servers.postgres.stop(signal.SIGQUIT)
        time.sleep(2 + 2 * strike.pick)
        stage.servers.postgres.start()

    def confirm(self, stage: Stage, injection: Injection) -> str:
        return self.said(stage, injection, "received immediate shutdown request")


class ConnectionsCut(Database):
    name = "connections to the database cut (pg_terminate_backend)"
    about = "All connections of API and workers are ended by the server at a random instant."
    proof = "PostgreSQL's log: terminating connection due to administrator command"
    times = 25

    def fault(self, stage: Stage, strike: Strike) -> None:
        cut_connections(stage)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        return self.said(stage, injection, "terminating connection due to administrator command")


def cut_connections(stage: Stage) -> int:
    """Ends all connections to the stage's database but ours; how many those were."""
    with psycopg.connect(stage.settings.resolved_database_url, autocommit=True) as admin:
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(cut.fetchall())


FAULTS = (DatabaseKilled(), DatabaseRestarted(), ConnectionsCut())
