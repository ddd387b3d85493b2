"""One training, with or without the service, and the CPU seconds of everything that took part in it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adderclient import Client
from addercore.config import TrainConfig
from benchmarks.cpu import Sampler, children, command_line
from benchmarks.programs import log_end, program, python
from benchmarks.service.setup import Running, Setup, adder_up

DIRECT = Path(__file__).with_name("direct.py")
TRAINING = "training"
"""Name of the process that trains; the other names are the service's parts."""
RUN_SECONDS = 900.0
CHILD_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""What the service's training processes run with; the direct run gets the same."""


@dataclass(frozen=True)
class Run:
    """Seconds. The steady state is from the first to the last `val/accuracy`: all but one epoch, with checkpoints."""

    cpu: dict[str, float]
    """CPU of each process in the steady state."""
    wall: float
    """The steady state on the clock."""
    start_up: float
    """From submission (or from starting the process) to the first metric, after 10 steps."""
    whole: float
    """From submission (or start) to the end (succeeded, or the process's exit)."""
    metrics: dict[str, float]
    """Of the trained model: equal for all runs, or they did not do the same work."""
    sampling_error: float | None = None
    """How far the sampled CPU is from what the process said itself, relative; the direct run only."""

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


def direct(setup: Setup, spec: dict[str, Any]) -> Run:
    """`addercore.fit` in a process of its own."""
    folder = setup.folder()
    config, log = folder / "config.json", folder / "direct.log"
    config.write_text(json.dumps(spec))
    arguments = python(DIRECT, "--config", config, "--folder", folder)
    with Sampler() as sampler:
        began = time.time()
        with program(arguments, os.environ | CHILD_VARIABLES, log) as process:
            sampler.add(TRAINING, process.pid)
            try:
                code = process.wait(RUN_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            whole = time.time() - began
            if code != 0:
                raise RuntimeError(f"the direct run ended with {code}; {log_end(log)}")
    report = json.loads((folder / "report.json").read_text())
    (first, first_cpu), (last, last_cpu) = report["validations"][0], report["validations"][-1]
    used = sampler.between(TRAINING, first, last)
    error = abs(used - (last_cpu - first_cpu)) / (last_cpu - first_cpu)
    start_up = report["first_metric"] - began
    return Run({TRAINING: used}, last - first, start_up, whole, report["metrics"], error)


def served(setup: Setup, database: str, spec: dict[str, Any], *, watched: bool) -> Run:
    """The same as a job of a service that has nothing else to do; `watched`: somebody follows its stream."""
    with adder_up(setup, database) as service, Client(service.url) as client, Sampler() as sampler:
        time.sleep(1)
        for name, pid in service.parts.items():
            sampler.add(name, pid)
        if database == "postgresql":
            assert setup.postgres is not None
            sampler.add("postgresql", setup.postgres.pid, tree=True)
        began = time.time()
        job_id = client.jobs.submit(spec).id
        with _watcher(service, job_id, watched):
            sampler.add(TRAINING, _training_process(service.parts["worker"]))
            job = client.jobs.wait(job_id, timeout=RUN_SECONDS)
        whole = time.time() - began
        time.sleep(0.2)  # a last sample
        points = client.jobs.metrics(job_id)
        _same_work(spec, dict(job.spec))
    stamps = [p.time.timestamp() for p in points if p.name == "val/accuracy" and p.time is not None]
    first, last = stamps[0], stamps[-1]
    begin = min(p.time.timestamp() for p in points if p.time is not None)
    cpu = {name: sampler.between(name, first, last) for name in sampler.names}
    return Run(cpu, last - first, begin - began, whole, dict(job.result))


@contextmanager
def _watcher(service: Running, job_id: str, watched: bool) -> Iterator[None]:
    def follow() -> None:
        with Client(service.url) as client:
            for _ in client.jobs.stream(job_id):
                pass

    thread = threading.Thread(target=follow, daemon=True)
    if watched:
        thread.start()
    yield
    if watched:
        thread.join(timeout=30)


def _training_process(worker: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in children(worker):
            command = command_line(pid)
            if "worker.child" in command:
                return pid
            if "worker.template" in command and (forked := children(pid)):
                return forked[0]
        time.sleep(0.02)
    raise RuntimeError("the worker started no training process within 60 s")


def _same_work(mine: dict[str, Any], its: dict[str, Any]) -> None:
    if TrainConfig.from_dict(mine) != TrainConfig.from_dict(its):
        raise RuntimeError(f"the service trains something else than the direct run: {its}")
