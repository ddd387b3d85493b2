"""The template process that a worker forks its trainings from: it dies, hangs or is replaced while they run."""

from __future__ import annotations

import json
import os
import signal
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

from jobs.states import Status
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, keep_busy, now_ms, numbered, submit_next
from tests.faults.faults.memory import Group, group
from tests.faults.launch import CODE
from tests.faults.plan import Strike
from tests.faults.stage import Options, Program, Running, Stage
from tests.support.servers import wait_until

READY = "template.ready"
READY_SECONDS = 120.0
GROUP_MB = 900
HUNGRY_MB = 1000


class TemplateFault(Fault):
    """A worker that forks. Strikes hit its template while two jobs of it run; they must end in that attempt."""

    options = Options(workers=0, lease_seconds=8.0)
    task = Task(steps=40, ms=50)
    times = 5

    def before(self, stage: Stage) -> None:
        folder = stage.folder / "upgrades" / CODE
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        stage.facts["code"] = folder
        paths = [str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        stage.add_worker(
            before=self.enter(stage), FAULTS_TEMPLATE="yes", PYTHONPATH=os.pathsep.join(paths), ADDER_WORKER_SLOTS="2"
        )
        stage.ready()

    def enter(self, stage: Stage) -> Callable[[], object]:
        """What the worker's process does first."""
        return lambda: None

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        worker = stage.workers[0]
        template, seen = wait_template(worker)
        keep_busy(stage, self.task, 1)
        job = submit_next(stage, self.task)
        running = stage.wait_running(job.id)
        time.sleep(0.3 * strike.pause)
        injection = Injection(now_ms(), job.id, running.attempt)
        injection.facts |= {"worker": worker, "lines": len(worker.said()), "parent": parent_of(running.child)}
        injection.facts["template"] = template
        self.blow(stage, running, template, injection)
        submit_next(stage, self.task)  # one that begins without the template
        wait_until(lambda: templates(worker)[seen:] != [], "the next template", READY_SECONDS)
        return injection

    @abstractmethod
    def blow(self, stage: Stage, running: Running, template: int, injection: Injection) -> None:
        """What is done to the template while a job of it runs."""

    told: tuple[str, ...]
    """Words of the worker's log, one of which confirms it."""

    def confirm(self, stage: Stage, injection: Injection) -> str:
        facts = injection.facts
        if facts["parent"] != facts["template"]:
            return ""  # the job was not forked from it
        later = facts["worker"].said()[facts["lines"] :]
        return next((line for line in later if any(word in line for word in self.told)), "")

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        """A job outlives the template of its process."""
        attempt = ended(stage, injection)
        return [] if attempt.cause == "succeeded" else [f"{injection.job} ended as {attempt.cause}: {attempt.message}"]

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        return None


def templates(worker: Program) -> list[int]:
    """Process ids of the templates that have got ready, by the worker's log."""
    lines = [line for line in worker.said() if READY in line]
    return [json.loads(line)["template"] for line in lines]


def wait_template(worker: Program) -> tuple[int, int]:
    """The template that runs, once it is ready, and how many there have been."""

    def there() -> bool:
        found = templates(worker)
        return bool(found) and Path(f"/proc/{found[-1]}").exists()

    wait_until(there, "the template to be ready", READY_SECONDS)
    found = templates(worker)
    return found[-1], len(found)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TemplateKilled(TemplateFault):
    name = "template killed (kill -9) while its jobs run"
    about = "A worker's template is killed; the jobs that were forked from it go on, others are spawned meanwhile."
    proof = "the worker's log: template.lost, or why a child is spawned; the job ends in that attempt"
    told = ("template.lost", "child.spawned")
    short = 1

    def blow(self, stage: Stage, running: Running, template: int, injection: Injection) -> None:
        os.kill(template, signal.SIGKILL)


class TemplateStopped(TemplateFault):
    name = "template stopped (SIGSTOP) while its jobs run"
    about = "A worker's template hangs for ever; the worker gives it up when it does not answer."
    proof = "the worker's log: template.ready once more, and that the old one is gone; the job ends in that attempt"
    told = (READY,)

    def blow(self, stage: Stage, running: Running, template: int, injection: Injection) -> None:
        os.kill(template, signal.SIGSTOP)


class TemplateReplaced(TemplateFault):
    name = "template replaced after an upgrade of the code"
    about = "A file of the installed code changes while jobs run; the next ones are forked from a new template."
    proof = "the worker's log: template.replaced; the job ends in that attempt"
    told = ("template.replaced",)

    def blow(self, stage: Stage, running: Running, template: int, injection: Injection) -> None:
        (stage.facts["code"] / "__init__.py").write_text(f"VERSION = {now_ms()}\n")


class TemplateOutOfMemory(TemplateFault):
    name = "template out of memory"
    about = (
        f"A worker lives in a cgroup of {GROUP_MB} MiB and a job wants {HUNGRY_MB}: "
        "the kernel kills first the template, then that job."
    )
    proof = "the cgroup's counter oom_kill, and the worker's log; a small job that runs ends in that attempt"
    told = TemplateKilled.told
    times = 2

    def unavailable(self) -> str:
        try:
            with group(GROUP_MB):
                return ""
        except OSError as error:
            return f"no memory cgroup can be made here: {error}"

    def enter(self, stage: Stage) -> Callable[[], object]:
        self._group = Group(GROUP_MB)
        stage.cleanup.callback(self._group.close)
        return self._group.enter

    def blow(self, stage: Stage, running: Running, template: int, injection: Injection) -> None:
        before = self._group.kills()
        Path(f"/proc/{template}/oom_score_adj").write_text("1000")  # the kernel chooses it first
        hungry = Task(**{**vars(numbered(self.task, len(stage.accepted))), "eat_mb": HUNGRY_MB, "steps": 4})
        # The template's pages are those of its children: its death frees nothing, and the kernel goes on.
        stage.submit(hungry, ends=(Status.FAILED,))
        wait_until(lambda: self._group.kills() > before, "the OOM killer", READY_SECONDS)


FAULTS = (TemplateKilled(), TemplateStopped(), TemplateReplaced(), TemplateOutOfMemory())
