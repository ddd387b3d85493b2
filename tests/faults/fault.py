"""What a fault is to the suite: how it is caused, where the system itself says that it happened, what it cost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from jobs.tables import Attempt, Metric
from tests.faults.chain import Task
from tests.faults.check import Expected
from tests.faults.plan import Strike
from tests.faults.stage import Accepted, Options, Stage


def now_ms() -> int:
    return int(time.time() * 1000)


@dataclass
class Injection:
    """A fault that was caused."""

    at: int
    """Wall time in ms."""
    job: str = ""
    """The job that it struck, if it was one."""
    attempt: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    """What `confirm` looks for."""
    recovered: int | None = None
    """Wall time in ms, where the fault measures that itself."""


class Fault(ABC):
    name: str
    about: str
    """One sentence for the table's reader: what is done."""
    proof: str
    """Where the system says that it happened."""
    times: int
    """How often the long form does it."""
    short: int = 0
    """How often the short form does it; 0: not at all."""
    options: Options = Options()
    waves: int = 0
    """Chain jobs that are kept waiting or running while the fault strikes at random; 0: it submits its own."""
    task: Task = Task()

    def unavailable(self) -> str:
        """Why this machine cannot do it; empty: it can."""
        return ""

    untouched: Expected | None = None
    """What a real training comes to when nothing happens to it; None: the stage has chain jobs only."""

    def before(self, stage: Stage) -> None:
        """What the stage needs before the first strike."""
        return

    def after(self, stage: Stage) -> None:
        """Takes away what would keep jobs from ending."""
        return

    def run(self, stage: Stage, plan: Iterable[Strike]) -> Iterator[Injection]:
        """Causes it once for each strike."""
        for strike in plan:
            keep_busy(stage, self.task, self.waves)
            yield self.inject(stage, strike)

    @abstractmethod
    def inject(self, stage: Stage, strike: Strike) -> Injection:
        """Causes it once; returns when it is done, not when the system is over it."""

    @abstractmethod
    def confirm(self, stage: Stage, injection: Injection) -> str:
        """The words in which the system itself says that it happened; empty where it does not."""

    def wrong(self, stage: Stage, injection: Injection) -> Sequence[str]:
        """What else this fault must not lead to: sentences, counted as lost."""
        return ()

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        """From the injection to the next progress; None where there was none to be made any more."""
        if injection.recovered is not None:
            return injection.recovered - injection.at
        if not injection.job:
            return None
        following = select(func.min(Metric.time)).where(Metric.job_id == injection.job, Metric.time > injection.at)
        at = stage.ask(lambda session: session.execute(following).scalar_one())
        return None if at is None else at - injection.at


def keep_busy(stage: Stage, task: Task, jobs: int) -> None:
    """Tops the unfinished jobs up to that number; each has a seed of its own."""
    for _ in range(jobs - stage.unfinished() if jobs else 0):
        submit_next(stage, task)


def submit_next(stage: Stage, task: Task) -> Accepted:
    return stage.submit(numbered(task, len(stage.accepted)))


def numbered(task: Task, seed: int) -> Task:
    return Task(**{**vars(task), "seed": seed})


def ended(stage: Stage, injection: Injection) -> Attempt:
    return stage.attempt(injection.job, injection.attempt)
