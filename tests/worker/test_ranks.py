"""Trainings of two processes in the worker's child: killed, stopped, confined."""

from __future__ import annotations

import os
import random
import resource
import signal
from pathlib import Path

import pytest

from benchmarks.cpu import children
from jobs.spec import SPEC
from jobs.states import FailureCode
from tests.support.attempts import Attempts, kill_process
from tests.support.specs import train_body
from worker import landlock, protocol
from worker.process import ChildProcess

pytestmark = pytest.mark.bits

KILLS = int(os.environ.get("ADDER_KILLS", "3"))
SEED = int(os.environ.get("ADDER_KILLS_SEED", "0"))


def body(**changes: object) -> dict[str, object]:
    given = {
        "epochs": 4,
        "batch_size": 64,
        "augment": "crop",
        "checkpoint": {"every_epochs": None, "every_seconds": 0.1},
        "metrics_every_steps": 1,
        "resources": {"processes": 2},
    }
    return train_body(**{**given, **changes})


def kill_rank(child: ChildProcess) -> None:
    """Rank 1 alone."""
    for pid in children(child.pid):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.long("half a dozen trainings of two processes that load torch")
def test_killed_at_random_instants_it_ends_the_same(tmp_path: Path) -> None:
    untouched = Attempts(tmp_path / "untouched", SPEC.validate_python(body()))
    assert untouched.run() == 0, untouched.log
    steps = max(step for _, step in untouched.rows)
    killed, instants = Attempts(tmp_path / "killed", SPEC.validate_python(body())), random.Random(SEED)
    said: list[str] = []
    for number in range(KILLS):
        messages = instants.randrange(3, max(8, 3 * steps // (KILLS + 1)))
        kill = (kill_rank, kill_process, ChildProcess.kill)[number % 3]

        def stroke(child: ChildProcess, _: protocol.Message, messages: int = messages, kill: object = kill) -> None:
            if len(killed.said) == messages:
                kill(child)  # type: ignore[operator]

        if killed.run(stroke) == 0:
            break
        said += [failed.code for failed in killed.heard(protocol.Failed)]
    else:
        assert killed.run() == 0, killed.log
    assert said == [FailureCode.WORKER_LOST], "the rank's end is told, the others' are seen"
    assert killed.rows == untouched.rows
    for name in ("model.safetensors", "model.json"):
        assert (killed.workdir / name).read_bytes() == (untouched.workdir / name).read_bytes()


def starve_rank(child: ChildProcess) -> None:
    """Rank 1 gets no more memory than it holds: half of its addresses are allowed, so that nothing can be added."""
    for pid in children(child.pid):
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size // 2, size // 2))


@pytest.mark.long("a training of two processes that load torch")
def test_a_rank_without_memory_ends_all_with_that_cause(tmp_path: Path) -> None:
    """Batches of hundreds of images: every step takes tens of MiB anew."""
    mine, starved = Attempts(tmp_path, SPEC.validate_python(body(epochs=500, batch_size=1024))), set[int]()

    def strike(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.Metrics) and not starved:
            starved.update(children(child.pid))
            starve_rank(child)

    status = mine.run(strike)
    assert status != 0, mine.log
    [failed] = mine.heard(protocol.Failed)
    assert failed.code == FailureCode.OUT_OF_MEMORY, mine.log
    assert "rank 1" in mine.log
    assert len(starved) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in starved), "no process is left"


@pytest.mark.skipif(not landlock.abi()[0], reason=f"Landlock: {landlock.abi()[1]}")
@pytest.mark.long("a training of two processes that load torch")
def test_a_confined_job_has_several_processes_and_stops_on_request(tmp_path: Path) -> None:
    mine = Attempts(tmp_path, SPEC.validate_python(body(epochs=500)), confined=True)

    def stop(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved):
            child.terminate()

    assert mine.run(stop) == 0, mine.log
    assert mine.heard(protocol.Stopped), mine.log
    [environment] = mine.heard(protocol.Environment)
    assert environment.environment["processes"] == 2
