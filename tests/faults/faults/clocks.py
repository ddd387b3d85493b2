"""Clocks that disagree, and two who look for lost jobs at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from benchmarks.programs import die_with_parent
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, keep_busy, now_ms
from tests.faults.faults.kills import KILLED, kill, some_running
from tests.faults.plan import Strike
from tests.faults.stage import Options, Program, Stage

SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long skew(void) {
    const char *seconds = getenv("FAULTS_SKEW");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, at);
    if (status == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += skew();
    return status;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
"""Preloaded into a process, it moves its wall clock, and leaves the monotonic one alone."""
HOURS = (5, -5)


class ClocksDisagree(Fault):
    name = "clocks of hosts hours apart, their workers killed"
    about = (
        "Two workers live five hours in the future and in the past (a preloaded library moves their wall clock, and \
that of their trainings); each is killed at random instants and replaced by one with the same clock."
    )
    proof = "the times in the worker's own log are hours off; the attempt's row as for a killed worker"
    times = 6
    task = Task(steps=30, ms=50)
    options = Options(workers=0)

    def unavailable(self) -> str:
        return "" if shutil.which("gcc") else "there is no gcc to build the library that moves the clock"

    def before(self, stage: Stage) -> None:
        source, self._library = stage.folder / "skew.c", stage.folder / "skew.so"
        source.write_text(SHIM)
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        for hours in HOURS:
            self._add(stage, hours)
        stage.ready()

    def _add(self, stage: Stage, hours: int) -> None:
        worker = stage.add_worker(LD_PRELOAD=str(self._library), FAULTS_SKEW=str(3600 * hours))
        stage.facts[worker.name] = hours

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        keep_busy(stage, self.task, 4)
        time.sleep(0.5 * strike.pause)
        running = some_running(stage, strike)
        hours = stage.facts[running.worker.name]
        injection = Injection(now_ms(), running.job, running.attempt, {"worker": running.worker, "hours": hours})
        kill(running, "worker")
        running.worker.process.wait(timeout=20)
        stage.workers.remove(running.worker)
        self._add(stage, hours)
        return injection

    def confirm(self, stage: Stage, injection: Injection) -> str:
        worker, hours = injection.facts["worker"], injection.facts["hours"]
        if KILLED["worker"] not in (ended(stage, injection).message or "") or not worker.killed:
            return ""
        line = next(line for line in worker.said() if "attempt.started" in line)
        off = datetime.fromisoformat(json.loads(line)["timestamp"]) - datetime.now(UTC)
        right = abs(off - timedelta(hours=hours)) < timedelta(minutes=30)
        return f"{worker.name}, {hours:+d} h: {line}" if right else ""

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        """By the database's clock: the trainings' own are wrong here."""
        following = stage.attempt(injection.job, injection.attempt + 1)
        return following.started_at - injection.at


class TwoReconcilers(Fault):
    name = "several reconcilers at once, a worker killed"
    about = "Three more processes look for lost jobs without a pause, beside the workers', while a worker is killed."
    proof = "each of them counts its rounds; the attempt's row as for a killed worker"
    times = 8
    task = Task(steps=30, ms=50)
    options = Options(workers=3)

    def before(self, stage: Stage) -> None:
        self._reconcilers = []
        for number in range(3):
            log = stage.folder / f"reconciler-{number}.log"
            with log.open("wb") as sink:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.reconciler", stage.settings.resolved_database_url],
                    stdout=sink, stderr=sink, preexec_fn=die_with_parent(9),
                )  # fmt: skip
            self._reconcilers.append(Program(f"reconciler-{number}", log, process))

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        keep_busy(stage, self.task, 4)
        time.sleep(0.5 * strike.pause)
        running = some_running(stage, strike)
        injection = Injection(now_ms(), running.job, running.attempt, {"rounds": self._rounds()})
        kill(running, "worker")
        running.worker.process.wait(timeout=20)
        stage.replace(running.worker)
        return injection

    def after(self, stage: Stage) -> None:
        stage.settle()
        for reconciler in self._reconcilers:
            reconciler.kill()

    def _rounds(self) -> list[int]:
        return [len(reconciler.said()) for reconciler in self._reconcilers]

    def confirm(self, stage: Stage, injection: Injection) -> str:
        attempt, rounds = ended(stage, injection), self._rounds()
        busy = all(now > before for now, before in zip(rounds, injection.facts["rounds"], strict=True))
        if busy and KILLED["worker"] in (attempt.message or ""):
            return f"rounds {rounds}; attempt {attempt.attempt}: {attempt.cause}, {attempt.message}"
        return ""


FAULTS = (ClocksDisagree(), TwoReconcilers())
