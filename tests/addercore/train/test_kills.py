"""Killed at any instant, a training ends with the bytes, the rows and the state of one that was never touched.

The one that is killed has its batches made by two loader processes, the other one makes them itself.

`ADDER_KILLS=100 pytest tests/addercore/train/test_kills.py` kills that often; `ADDER_KILLS_SEED` picks other instants.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore.config import merge
from addercore.train import checkpoint
from jobs.spec import SPEC as SPECS
from tests.support.attempts import Attempts, kill_process
from tests.support.specs import train_body
from worker import protocol
from worker.process import ChildProcess

pytestmark = pytest.mark.bits

KILLS = int(os.environ.get("ADDER_KILLS", "3"))
SEED = int(os.environ.get("ADDER_KILLS_SEED", "0"))
SPEC = train_body(
    epochs=7,
    batch_size=64,
    augment="crop",
    optimizer={"accumulate": 2},
    early_stop={"patience": 5, "min_delta": 1.0},  # no accuracy rises by more: it stops after 6 epochs on any processor
    publish="best",
    checkpoint={"every_epochs": None, "every_seconds": 0.1},
    metrics_every_steps=1,
    resources={"device": "cpu"},
)


def state(attempts: Attempts) -> dict[str, Any]:
    """All that the last checkpoint holds, less what tells of time and of the checkout."""
    found = dict(checkpoint.load(attempts.checkpoints()[-1]).state)
    del found["environment"], found["pace"]
    history = found.pop("history")
    speed = history["names"].index("images_per_second")
    kept = history["rows"][:, 0] != speed
    names = [history["names"][number] for number in history["rows"][kept, 0].tolist()]
    return {**found, "points": [names, history["rows"][kept, 1:3], history["values"][kept]]}


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, also within dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.long("half a dozen processes that load torch, killed in the middle of a training")
def test_killed_at_random_instants_it_ends_the_same(tmp_path: Path) -> None:
    untouched = Attempts(tmp_path / "untouched", SPECS.validate_python(SPEC))
    assert untouched.run() == 0, untouched.log
    steps = max(step for _, step in untouched.rows)
    assert "early_stop" in untouched.notes()
    assert max(epoch for epoch, _ in untouched.rows.values()) == 6

    killed = Attempts(tmp_path / "killed", SPECS.validate_python(merge(SPEC, {"resources": {"loader_workers": 2}})))
    instants = random.Random(SEED)
    at: list[int] = []
    while len(at) < KILLS:
        # After so many messages, or a moment later, in the middle of whatever it does then. Far enough for a checkpoint
        # now and then, near enough to die before the end.
        messages = instants.randrange(1, max(8, 3 * steps // (KILLS + 1)))
        kill = ChildProcess.kill if instants.random() < 0.5 else kill_process

        def stroke(child: ChildProcess, _: protocol.Message, messages: int = messages, kill: Any = kill) -> None:
            if len(killed.said) == messages:
                kill(child)

        if killed.run(stroke) == 0:
            break  # faster than the blow
        at.append(len(killed.rows))
    else:
        assert killed.run() == 0, killed.log
    print(f"{len(at)} kills, {killed.repeated} points computed again")
    assert len(at) >= min(KILLS, 2)
    assert "resumed" in killed.notes()
    assert killed.rows == untouched.rows
    mine, its = state(killed), state(untouched)
    assert [part for part in its if not same(mine[part], its[part])] == []
    for name in ("model.safetensors", "model.json"):
        assert (killed.workdir / name).read_bytes() == (untouched.workdir / name).read_bytes()
