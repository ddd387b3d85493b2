"""What jobs and workers use, sampled from real processes that use a known amount."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.access.scope import DEFAULT, SERVICE
from jobs.repository import history, recovery, workers
from jobs.settings import Settings
from jobs.system_metrics import CPU, GPU, GPU_MEMORY, MEMORY, NAMES, Sample, points_of, samples_of
from tests.support.servers import wait_until
from tests.worker.steps import job_of, run_in_background, submit
from worker.context import WorkerContext
from worker.sampling import KEPT, History, Meter, Sampler, Use, Watched, of_group, of_tree, processes

MIB = 1 << 20
BURNS = """
import os, subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
if len(sys.argv) > 1:  # a loader: it burns and ends
    burn(float(sys.argv[1]))
    sys.exit()
memory = b"x" * (200 * 2**20)
subprocess.run([sys.executable, "-c", open("/proc/self/cmdline").read().split("\\0")[2], "0.5"])
burn(1.0)
print("burnt", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def burnt() -> Iterator[tuple[int, float]]:
    """A process group that has used 1.5 s of CPU time in two processes, one of which has ended, and holds 200 MiB; and
    when it began."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", BURNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"burnt\n"
    yield child.pid, began
    child.communicate(timeout=60)


def test_a_group_uses_what_its_processes_do_the_ended_ones_included(burnt: tuple[int, float]) -> None:
    group, _ = burnt
    found = processes()
    use = of_group(found, group)
    assert use.cpu_seconds == pytest.approx(1.5, abs=0.15)
    assert 200 * MIB <= use.resident_bytes < 260 * MIB
    tree = of_tree(found, os.getpid())
    assert tree.cpu_seconds >= use.cpu_seconds
    assert tree.resident_bytes >= use.resident_bytes
    assert of_group(found, 1 << 30) == Use(0, 0)


def test_a_sample_has_cpu_time_by_time_and_the_most_memory(burnt: tuple[int, float]) -> None:
    group, began = burnt
    meter = Meter(began)
    meter.read(Use(0.1, 400 * MIB, 0.5, 7))
    meter.read(of_group(processes(), group))
    now = time.monotonic()
    sample = meter.sample(now, 5_000)
    assert sample is not None
    assert sample.cpu * (now - began) == pytest.approx(1.5, abs=0.15)
    assert (sample.time, sample.memory_bytes, sample.gpu, sample.gpu_memory_bytes) == (5_000, 400 * MIB, 0.5, 7)
    meter.read(of_group(processes(), group))
    later = meter.sample(now + 1, 6_000)
    assert later is not None
    assert later.cpu == pytest.approx(0, abs=0.1), "it has stopped to burn"
    assert meter.sample(now + 2, 7_000) is None, "nothing was read meanwhile"


def test_samples_of_an_attempt_grow_rare() -> None:
    watched, seconds = Watched(1, "cpu", 0.0), 5.0
    times, at = [], 0.0
    while at < 30 * 86_400:
        at += watched.gap(at, seconds)
        times.append(at)
    assert sum(time <= 10 for time in times) == 10, "a short job has some"
    assert 280 <= sum(60 < time <= 1500 for time in times) <= 290
    assert sum(time <= 86_400 for time in times) < 1600
    assert len(times) < 2700, "of a month"


def test_a_worker_keeps_equal_parts_of_its_last_hours() -> None:
    kept = History(hours=2)
    minute = 60_000
    for n in range(300 * 12):  # five hours, a sample every 5 s; each minute one of them is higher
        kept.add(Sample(n * 5_000, 13.0 if n % 12 == 3 else 1.0, 9 if n % 12 == 4 else 5, 0.5, 3), 5.0)
    samples = kept.samples()
    assert len(samples) == KEPT
    assert samples[0].time >= samples[-1].time - 120 * minute
    assert samples[-2] == Sample(samples[-1].time - minute, 2.0, 9, 0.5, 3), "the mean, and the most memory"
    kept.add(Sample(samples[-1].time + 90 * minute, 1.0, 5), 5.0)
    assert len(kept.samples()) <= 31, "what is older than the hours is gone, also after a gap"


def test_a_job_on_a_gpu_has_the_use_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    readings = [{"index": n, "utilization": 10 * n, "memory_used_bytes": n * MIB} for n in range(3)]
    sampler = Sampler(Settings(sample_seconds=0.01), lambda: True, lambda: readings)
    with sampler.watching(os.getpgid(0), "cuda:1") as one, sampler.watching(os.getpgid(0), "cpu") as other:
        time.sleep(0.05)
        sampler.round()
        found, without = one.take(), other.take()
    assert [(sample.gpu, sample.gpu_memory_bytes) for sample in found] == [(0.1, MIB)]
    assert [(sample.gpu, sample.gpu_memory_bytes) for sample in without] == [(None, None)]
    assert [(sample.gpu, sample.gpu_memory_bytes) for sample in sampler.samples()] == [(0.3, 3 * MIB)]
    assert set(points_of(found[0], 0)[2]) == {"name", "step", "epoch", "value", "time"}
    assert [point["name"] for point in points_of(found[0], 0)] == [CPU, MEMORY, GPU, GPU_MEMORY]


def test_a_system_without_proc_has_no_samples(tmp_path: Path) -> None:
    assert processes(tmp_path / "none") == []


@pytest.fixture
def sampling(context: WorkerContext) -> Iterator[None]:
    context.sampler = Sampler(context.settings.model_copy(update={"sample_seconds": 0.5}))
    context.sampler.start()
    yield
    context.sampler.stop()


@pytest.mark.usefixtures("sampling")
def test_a_running_job_has_samples_that_who_reads_all_metrics_does_not_get(context: WorkerContext) -> None:
    job_id = submit(context, {"seconds": "3", "points": "6"})
    thread = run_in_background(context)
    thread.join(timeout=300)
    job = job_of(context, job_id)
    assert job.status == "succeeded"
    assert job.started_at is not None
    assert job.finished_at is not None
    with context.database.read(DEFAULT) as session:
        plain = history.metrics(session, job_id)
        sampled = history.metrics(session, job_id, names=NAMES)
    assert len(plain) == 6
    assert not {point.name for point in plain} & set(NAMES)
    assert {point.name for point in sampled} == {CPU, MEMORY}
    assert len(sampled) >= 4
    assert all(job.started_at - 1000 <= point.time <= job.finished_at + 1000 for point in sampled)
    assert all(point.step == max(0, point.time - job.started_at) // 1000 for point in sampled)
    memory = [point.value for point in sampled if point.name == MEMORY]
    assert all(value is not None and MIB < value < 1024 * MIB for value in memory)
    with context.database.write(SERVICE) as session:
        recovery.heartbeat(session, context.row())
        (row,) = workers.present(session, 60_000)
        own = samples_of(row.stats)
    assert own
    assert own[-1].memory_bytes > max(value or 0 for value in memory)
    wait_until(lambda: context.sampler.samples()[-1].time > own[-1].time, "a further sample")
