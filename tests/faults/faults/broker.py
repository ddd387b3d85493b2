"""The broker killed, flushed, unreachable, full: jobs are accepted, and run once it is back or without its messages."""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from pathlib import Path

from sqlalchemy import func, select

from jobs.tables import Attempt
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, keep_busy, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage

JOBS = 3
"""Submitted during each outage."""


class Broker(Fault):
    times = 8
    task = Task(steps=12, ms=40)
    options = Options(workers=3)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        keep_busy(stage, self.task, 4)
        time.sleep(0.3 * strike.pause)
        injection = Injection(now_ms(), facts={"lines": len(stage.servers.valkey.log.read_text().splitlines())})
        self.fault(stage, strike, injection)
        return injection

    def during(self, stage: Stage, injection: Injection) -> None:
        injection.facts["jobs"] = [submit_next(stage, self.task).id for _ in range(JOBS)]

    @abstractmethod
    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None: ...

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        """Until one of the jobs that were submitted meanwhile is claimed."""
        first = select(func.min(Attempt.started_at)).where(Attempt.job_id.in_(injection.facts["jobs"]))
        at = stage.ask(lambda session: session.execute(first).scalar_one())
        return None if at is None else at - injection.at


class BrokerKilled(Broker):
    name = "broker killed and started again"
    about = "kill -9 of Valkey; three jobs are submitted while it is away, for up to a second and a half."
    proof = (
        "Valkey's log: it started again from its append-only file; a worker's or the API's log: the connection broke"
    )

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        injection.facts["broken"] = broken(stage)
        stage.servers.valkey.stop(signal.SIGKILL)
        self.during(stage, injection)
        time.sleep(1.5 * strike.pick)
        stage.servers.valkey.start()

    def confirm(self, stage: Stage, injection: Injection) -> str:
        later = stage.servers.valkey.log.read_text().splitlines()[injection.facts["lines"] :]
        started = next((line for line in later if "Ready to accept connections" in line), "")
        return started if broken(stage) > injection.facts["broken"] else ""


def broken(stage: Stage) -> int:
    """Lines of the service's processes that say that the broker does not answer."""
    return len(stage.said("outbox.deferred")) + len(stage.said("Connection to broker lost"))


class BrokerFlushed(Broker):
    name = "broker flushed (FLUSHALL)"
    about = "All that the broker holds is deleted right after three jobs were submitted."
    proof = "Valkey's own count of FLUSHALL"

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        with stage.servers.valkey.client() as client:
            self.during(stage, injection)
            before = calls(client.info("commandstats"), "flushall")
            client.flushall()
            injection.facts["calls"] = calls(client.info("commandstats"), "flushall") - before

    def confirm(self, stage: Stage, injection: Injection) -> str:
        done = injection.facts["calls"]
        return f"cmdstat_flushall: {done} more" if done == 1 else ""


def calls(info: dict[str, dict[str, int]], command: str) -> int:
    return info.get(f"cmdstat_{command}", {}).get("calls", 0)


class BrokerUnreachable(Broker):
    name = "broker stopped (SIGSTOP): accepts connections, does not answer"
    about = "Valkey is stopped for 4 to 12 s, the third time for 45 s; jobs are submitted meanwhile."
    proof = "the kernel: state T; the jobs were accepted meanwhile"
    times = 3

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        pid = stage.servers.valkey.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            self.during(stage, injection)
            time.sleep(45 if strike.number == 2 else 4 + 8 * strike.pick)
            injection.facts["state"] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        finally:
            os.kill(pid, signal.SIGCONT)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        return "state T until the end of the stop" if injection.facts["state"] == "T" else ""


class BrokerFull(Broker):
    name = "broker full (maxmemory 1, noeviction)"
    about = "Valkey refuses every write for some seconds; jobs are submitted meanwhile."
    proof = "Valkey's own count of the errors OOM; the API's log: outbox.deferred"
    times = 4

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        with stage.servers.valkey.client() as client:
            before = refused(client.info("errorstats"))
            limit = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", 1)
            try:
                self.during(stage, injection)
                time.sleep(1 + 2 * strike.pick)
                injection.facts["refused"] = refused(client.info("errorstats")) - before
            finally:
                client.config_set("maxmemory", limit)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        deferred = stage.said("outbox.deferred")
        return f"{injection.facts['refused']} × OOM; {deferred[-1]}" if injection.facts["refused"] and deferred else ""


def refused(info: dict[str, dict[str, int]]) -> int:
    return info.get("errorstat_OOM", {}).get("count", 0)


FAULTS = (BrokerKilled(), BrokerFlushed(), BrokerUnreachable(), BrokerFull())
