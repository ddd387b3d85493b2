"""Trainings of two processes in the worker's child: killed, stopped, confined."""

from __future__ import annotations

import os
import random
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
