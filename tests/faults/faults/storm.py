"""Ten kinds of fault at once on fifty jobs and four workers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, now_ms, submit_next
from tests.faults.faults.broker import broken
from tests.faults.faults.checkpoints import tear
from tests.faults.faults.database import cut_connections
from tests.faults.faults.kills import Victim, kill, some_running
from tests.faults.plan import Strike
from tests.faults.stage import Stage

JOBS = 50
STRIKES_A_SECOND = 2.0
AWAY_SECONDS = 1.5
"""How long the broker stays away."""
STOPPED_SECONDS = 4.0
"""How long a worker is stopped: past its lease, and the next owner begins."""


@dataclass(frozen=True)
class Later:
    """What ends a fault that lasts."""

    at: float
    do: Callable[[], None]


class Storm(Fault):
    name = "ten kinds at once, 50 jobs, 4 workers"
    about = "Kills of training, worker and host, a stopped worker, the broker killed and flushed, messages lost, the \
database killed, its connections cut, the API killed, a checkpoint torn: two a second, in turn, until each has \
struck several times."
    proof = "as for each of them alone"
    times = 44
    short = 11
    task = Task(steps=40, ms=60, every=4)

    def before(self, stage: Stage) -> None:
        self._later: list[Later] = []
        self._kinds: tuple[Callable[[Stage, Strike], Injection], ...] = (
            self._kill("training"), self._connections, self._kill("worker"), self._broker, self._stop,
            self._database, self._torn, self._kill("host"), self._flush, self._api, self._lose,
        )  # fmt: skip
        for _ in range(JOBS):
            submit_next(stage, self.task)

    def run(self, stage: Stage, plan: Iterable[Strike]) -> Iterator[Injection]:
        for strike in plan:
            time.sleep(strike.pause / STRIKES_A_SECOND)
            self._end(time.monotonic())
            if stage.unfinished() < 8:  # enough must be left for it to strike at
                for _ in range(8):
                    submit_next(stage, self.task)
            yield self.inject(stage, strike)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        return self._kinds[strike.number % len(self._kinds)](stage, strike)

    def _end(self, now: float) -> None:
        due = [later for later in self._later if later.at <= now]
        self._later = [later for later in self._later if later.at > now]
        for later in due:
            later.do()

    def after(self, stage: Stage) -> None:
        while self._later:
            self._end(time.monotonic())
            time.sleep(0.05)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        return str(injection.facts["confirm"]())

    # the kinds

    def _kill(self, victim: Victim) -> Callable[[Stage, Strike], Injection]:
        def strike_one(stage: Stage, strike: Strike) -> Injection:
            running = some_running(stage, strike)
            injection = Injection(now_ms(), running.job, running.attempt)
            kill(running, victim)
            if victim != "training":
                running.worker.process.wait(timeout=20)
                stage.replace(running.worker)
            injection.facts["confirm"] = lambda: lost_or_over(stage, injection)
            return injection

        return strike_one

    def _stop(self, stage: Stage, strike: Strike) -> Injection:
        running = some_running(stage, strike)
        worker = running.worker
        injection = Injection(now_ms(), running.job, running.attempt)
        worker.signal(signal.SIGSTOP)
        stage.workers.remove(worker)  # nothing else strikes at it meanwhile
        stage.add_worker()

        def wake() -> None:
            worker.signal(signal.SIGCONT)
            stage.workers.append(worker)

        self._later.append(Later(time.monotonic() + STOPPED_SECONDS, wake))
        injection.facts["confirm"] = lambda: lost_or_over(stage, injection)
        return injection

    def _torn(self, stage: Stage, strike: Strike) -> Injection:
        running = some_running(stage, strike)
        injection = Injection(now_ms(), running.job, running.attempt)
        kill(running, "host")
        running.worker.process.wait(timeout=20)
        stage.replace(running.worker)
        saved = stage.checkpoints(running.job)
        how = tear(stage.blob(saved[0].sha256), strike.pick) if saved else "it had none"

        def confirm() -> str:
            events = stage.client.jobs.events(running.job)
            said = any(event.type == "checkpoint_lost" for event in events) or not saved
            lost = lost_or_over(stage, injection)
            over = ended(stage, injection).cause == "succeeded"
            return f"{how}; {lost}" if lost and (said or over) else ""

        injection.facts["confirm"] = confirm
        return injection

    def _broker(self, stage: Stage, strike: Strike) -> Injection:
        before, valkey = broken(stage), stage.servers.valkey
        valkey.stop(signal.SIGKILL)
        self._later.append(Later(time.monotonic() + AWAY_SECONDS * strike.pick, valkey.start))

        def confirm() -> str:
            return f"{broken(stage) - before} lines say that the broker is away" if broken(stage) > before else ""

        return Injection(now_ms(), facts={"confirm": confirm})

    def _flush(self, stage: Stage, strike: Strike) -> Injection:
        self._end(float("inf"))  # the broker must be there
        with stage.servers.valkey.client() as client:
            client.flushall()
        return Injection(now_ms(), facts={"confirm": lambda: "Valkey answered OK to FLUSHALL"})

    def _lose(self, stage: Stage, strike: Strike) -> Injection:
        self._end(float("inf"))
        jobs = [submit_next(stage, self.task).id for _ in range(3)]
        with stage.servers.valkey.client() as client:
            taken = client.delete(stage.settings.queue)
        return Injection(now_ms(), jobs[0], 0, {"confirm": lambda: f"{taken} list of messages deleted"})

    def _database(self, stage: Stage, strike: Strike) -> Injection:
        at = now_ms()
        before = stage.servers.postgres.log.read_text(errors="replace").count(RECOVERS)
        stage.servers.postgres.stop(signal.SIGKILL)
        time.sleep(strike.pick)
        stage.servers.postgres.start()

        def confirm() -> str:
            return RECOVERS if stage.servers.postgres.log.read_text(errors="replace").count(RECOVERS) > before else ""

        return Injection(at, facts={"confirm": confirm})

    def _connections(self, stage: Stage, strike: Strike) -> Injection:
        at, cut = now_ms(), cut_connections(stage)
        return Injection(at, facts={"confirm": lambda: f"PostgreSQL ended {cut} connections" if cut else ""})

    def _api(self, stage: Stage, strike: Strike) -> Injection:
        at, old = now_ms(), stage.api
        stage.restart_api()
        job = submit_next(stage, self.task)  # waits in the socket for the next process
        confirm = lambda: f"signal 9 ended the API; the next one accepted {job.id}" if old.killed else ""  # noqa: E731
        return Injection(at, facts={"confirm": confirm}, recovered=now_ms())


RECOVERS = "was not properly shut down; automatic recovery in progress"


def lost_or_over(stage: Stage, injection: Injection) -> str:
    """What the attempt's row says; one that had just ended when it was struck was not lost."""
    attempt = ended(stage, injection)
    return f"attempt {attempt.attempt}: {attempt.cause}, {attempt.message}" if attempt.cause else ""


FAULTS = (Storm(),)
