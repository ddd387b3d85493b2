"""kill -9 at each edge of a job's states: the process that gets there is held, and killed while it stands there."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.states import Status
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, now_ms, numbered
from tests.faults.faults.kills import REACHES_CHILD_SECONDS, Victim, kill
from tests.faults.plan import Strike
from tests.faults.stage import Accepted, Options, Running, Stage, alive, with_patience
from tests.support.servers import wait_until

ASKED = {"": "worker_lost", "pause": "paused", "cancel": "cancelled", "drain": "handed_back"}
"""How the attempt ends whose training is killed: what was asked for, where something was."""


@dataclass(frozen=True)
class Edge:
    name: str
    hold: str
    """Where it is held (`launch.EDGES`, `chain_child`)."""
    victims: tuple[Victim, ...]
    asked: str = ""
    """`pause`, `cancel` or `drain`: asked for once the job runs."""


EDGES = (
    Edge("just claimed", "after-claim", ("worker",)),
    Edge("saving a checkpoint", "child-saving", ("training", "worker", "host")),
    Edge("before a checkpoint is published", "before-checkpoint", ("training", "worker", "host")),
    Edge("after a checkpoint is published", "after-checkpoint", ("training", "worker", "host")),
    Edge("handing the result over", "child-publishing", ("training", "worker", "host")),
    Edge("publishing the result", "before-result", ("worker",)),
    Edge("after the result is published", "after-result", ("worker",)),
    Edge("pausing", "child-stopping", ("training", "worker", "host"), "pause"),
    Edge("pausing, at the last write", "before-end", ("worker",), "pause"),
    Edge("cancelling", "child-stopping", ("training", "worker", "host"), "cancel"),
    Edge("cancelling, at the last write", "before-end", ("worker",), "cancel"),
    Edge("draining", "child-stopping", ("training", "worker", "host"), "drain"),
    Edge("draining, at the last write", "before-end", ("worker",), "drain"),
)
"""Where the training process has not begun or has ended, worker and host are the same."""
CASES = tuple((edge, victim) for edge in EDGES for victim in edge.victims)


class KilledAtEdge(Fault):
    times = 3
    task = Task(steps=60, ms=40, every=5)
    options = Options(workers=2)

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.name = f"kill -9 at an edge: {edge.name}"
        who = " or ".join(edge.victims)
        self.about = f"The {who} is killed while it stands there ({edge.hold})."
        self.proof = "the process was held there; the attempt's row says how it ended"
        self.times = 2 * len(edge.victims) if len(edge.victims) > 1 else 3
        self.short = 1 if edge.name == "pausing" else 0

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        victim = self.edge.victims[strike.number % len(self.edge.victims)]
        job, at, pid = self._hold(stage)
        running = self._there(stage, job, pid)
        injection = Injection(now_ms(), job.id, running.attempt, {"victim": victim, "running": running})
        kill(running, victim)
        if victim == "training":
            wait_until(lambda: not alive(running.child), "the training process to be gone")
        stage.holds.release(*at)
        if victim != "training" or self.edge.asked == "drain":
            running.worker.process.wait(timeout=30)  # it was killed, or it drains
            stage.replace(running.worker)
        self._after(stage, job, injection)
        return injection

    def _hold(self, stage: Stage) -> tuple[Accepted, tuple[str, str], int]:
        """A job, its edge, and the process that is held there."""
        ends = (Status.CANCELLED,) if self.edge.asked == "cancel" else (Status.SUCCEEDED,)
        anybody = self.edge.hold == "after-claim"  # it is claimed before we know its name
        if anybody:
            stage.settle()
            stage.holds.arm(self.edge.hold)
        job = stage.submit(numbered(self.task, len(stage.accepted)), ends=ends)
        at = (self.edge.hold, "" if anybody else job.id)
        if self.edge.asked:
            self._ask(stage, job)
        elif not anybody:
            stage.holds.arm(*at)
        wait_until(lambda: stage.holds.held(*at) is not None, f"somebody to be at {' '.join(at)}", 60)
        return job, at, stage.holds.held(*at) or 0

    def _ask(self, stage: Stage, job: Accepted) -> None:
        running = stage.wait_running(job.id)
        wait_until(lambda: len(stage.checkpoints(job.id)) > 0, "a checkpoint")
        stage.holds.arm(self.edge.hold, job.id)
        if self.edge.asked == "drain":
            running.worker.signal(signal.SIGTERM)
        else:
            getattr(stage.client.jobs, self.edge.asked)(job.id)

    def _there(self, stage: Stage, job: Accepted, pid: int) -> Running:
        """The attempt whose process is held; a child that has not begun has process id 0."""
        attempt = stage.job(job.id).attempt
        child = stage.children().get((job.id, attempt), 0)
        workers = {worker.pid: worker for worker in stage.workers}
        owner = workers[pid] if pid in workers else stage.owner(job.id)
        return Running(job.id, attempt, owner, child)

    def _after(self, stage: Stage, job: Accepted, injection: Injection) -> None:
        """What was asked for must still come to be; a paused job then goes on."""
        reached = {"pause": Status.PAUSED, "cancel": Status.CANCELLED}.get(self.edge.asked)
        if reached is None:
            return
        if not with_patience(lambda: stage.job(job.id).status == reached, 30):
            return  # the check says so
        injection.recovered = now_ms()
        if reached is Status.PAUSED:
            stage.client.jobs.resume(job.id)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        running, attempt = injection.facts["running"], ended(stage, injection)
        dead = running.worker.killed if injection.facts["victim"] != "training" else not alive(running.child)
        expected = ASKED[self.edge.asked] if injection.facts["victim"] == "training" else "worker_lost"
        if dead and attempt.cause == ("succeeded" if self.edge.hold == "after-result" else expected):
            return f"held at {self.edge.hold}; attempt {attempt.attempt}: {attempt.cause}, {attempt.message}"
        return ""

    def wrong(self, stage: Stage, injection: Injection) -> Sequence[str]:
        child = injection.facts["running"].child
        gone = child == 0 or with_patience(lambda: not alive(child), REACHES_CHILD_SECONDS)
        return [] if gone else [f"the training process {child} of {injection.job} outlived its worker"]


FAULTS = tuple(KilledAtEdge(edge) for edge in EDGES)
