"""Resume is exact: a run stopped or killed anywhere ends with the same bytes and the same metric rows."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import CheckpointError, fit
from addercore.train import checkpoint

SPECS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 2},
    "accumulate and crop": {"epochs": 2, "batch_size": 64, "augment": "crop", "optimizer": {"accumulate": 3}},
    "early stop and best": {
        "epochs": 6,
        "batch_size": 256,
        "early_stop": {"patience": 2, "min_delta": 0.5},
        "publish": "best",
    },
    "convolution": {"epochs": 2, "model": {"method": "conv"}, "batch_size": 100},
}


@pytest.mark.parametrize("name", SPECS)
def test_stopped_anywhere_it_ends_the_same(tmp_path: Path, config: Any, recorder: Any, name: str) -> None:
    spec = config(**SPECS[name])
    whole = recorder()
    straight = fit(spec, workdir=tmp_path / "whole", device="cpu", threads=1, callbacks=whole)
    at = random.Random(name).randrange(1, whole.asked)

    first, second, third = recorder(stop_at=at), recorder(stop_at=1), recorder()
    folder = tmp_path / "parts"
    stopped = fit(spec, workdir=folder, device="cpu", threads=1, callbacks=first)
    assert stopped.stopped
    assert first.asked == at
    assert stopped.artifacts == []
    assert first.events[-1][0] == "stopped"
    torch.rand(7)  # what happens between does not matter
    again = fit(spec, workdir=folder, device="cpu", threads=1, callbacks=second, resume_from=first.checkpoints[-1][0])
    assert again.stopped == (second.asked == 1)
    ended = fit(spec, workdir=folder, device="cpu", threads=1, callbacks=third, resume_from=folder / "checkpoints")
    assert not ended.stopped
    assert third.events[0][0] == "resumed"
    assert (ended.step, ended.epoch, ended.metrics) == (straight.step, straight.epoch, straight.metrics)
    assert first.rows() | second.rows() | third.rows() == whole.rows()
    assert len(first.points) + len(second.points) + len(third.points) == len(whole.points)
    for file in ("model.safetensors", "model.json"):
        assert (folder / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()

    def columns(path: Path) -> list[list[str]]:  # name, step, epoch of the table: the whole run, resumed or not
        return [line.split(",")[:3] for line in path.read_text().splitlines()]

    assert columns(folder / "metrics.csv") == columns(tmp_path / "whole/metrics.csv")


CHILD = """
import os, signal, sys
from pathlib import Path
from addercore import Callbacks, TrainConfig, fit

class Killed(Callbacks):
    steps = 0
    def should_stop(self):
        self.steps += 1
        if self.steps == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

resume = Path({folder!r}) / "checkpoints"
fit(TrainConfig.from_dict({spec!r}), workdir=Path({folder!r}), device="cpu", threads=1, callbacks=Killed(),
    resume_from=resume if resume.exists() else None)
"""


def test_killed_twice_it_ends_the_same(tmp_path: Path, config: Any) -> None:
    spec = config(epochs=2, checkpoint={"every_seconds": 0.15})
    fit(spec, workdir=tmp_path / "whole", device="cpu", threads=1)
    folder = tmp_path / "killed"
    for at, status in ((15, -signal.SIGKILL), (5, -signal.SIGKILL), (-1, 0)):
        code = CHILD.format(at=at, folder=str(folder), spec=spec.to_dict())
        done = subprocess.run([sys.executable, "-c", code], env=os.environ.copy(), timeout=120, check=False)
        assert done.returncode == status
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_checkpoints_are_named_hashed_and_few(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    spec = config(epochs=4, batch_size=512, checkpoint={"keep": 2})
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert [step for _, step, _, _ in seen.checkpoints] == [3, 6, 9, 12]
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert kept == [path for path, *_ in seen.checkpoints[-2:]]
    for path, *_, checksum in seen.checkpoints[-2:]:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum


def test_a_run_without_due_checkpoints_saves_its_end(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    spec = config(epochs=2, batch_size=512, checkpoint={"every_epochs": None, "every_seconds": None})
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert [step for _, step, _, _ in seen.checkpoints] == [6]
    before = (tmp_path / "model.safetensors").read_bytes()
    again = fit(spec, workdir=tmp_path, device="cpu", threads=1, resume_from=seen.checkpoints[0][0])
    assert again.step == 6
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.fixture
def saved(tmp_path: Path, config: Any, recorder: Any) -> Path:
    seen = recorder(stop_at=1)
    fit(config(batch_size=512), workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    path: Path = seen.checkpoints[0][0]
    return path


def test_a_damaged_checkpoint_is_refused(saved: Path, tmp_path: Path, config: Any) -> None:
    good = saved.read_bytes()
    for damaged, says in (
        (good[:-1], "damaged"),
        (good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], "damaged"),
        (good[:20], "damaged"),
        (b"", "no checkpoint of addercore"),
        (good[8:], "no checkpoint of addercore"),
        (checkpoint.MAGIC + hashlib.sha256(b"rubbish").digest() + b"rubbish", "cannot be read by torch"),
    ):
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=says) as caught:
            fit(config(batch_size=512), workdir=tmp_path, device="cpu", resume_from=saved)
        assert str(saved) in str(caught.value)
    saved.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(saved)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.load(saved.parent)


def test_a_checkpoint_never_runs_code(saved: Path) -> None:
    import io

    class Bomb:
        def __reduce__(self) -> Any:
            return (os.system, ("touch /tmp/addercore-bomb",))

    buffer = io.BytesIO()
    torch.save({"model": Bomb()}, buffer)
    payload = buffer.getvalue()
    saved.write_bytes(checkpoint.MAGIC + hashlib.sha256(payload).digest() + payload)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(saved)
    assert not Path("/tmp/addercore-bomb").exists()


def test_a_checkpoint_of_another_run_is_refused(saved: Path, tmp_path: Path, config: Any) -> None:
    with pytest.raises(CheckpointError, match="another configuration: optimizer, seed differ"):
        fit(
            config(batch_size=512, seed=9, optimizer={"lr": 0.2}),
            workdir=tmp_path,
            device="cpu",
            resume_from=saved,
        )


def test_another_environment_is_told(saved: Path, tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder(stop_at=1)
    fit(config(batch_size=512), workdir=tmp_path, device="cpu", threads=2, callbacks=seen, resume_from=saved)
    kinds = {kind: (message, data) for kind, message, data in seen.events}
    assert "threads 1 → 2" in kinds["resume_inexact"][0]
    assert kinds["resume_inexact"][1] == {"threads": {"before": 1, "now": 2}}
