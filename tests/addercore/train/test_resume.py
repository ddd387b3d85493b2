"""Resume is exact: a run stopped or killed anywhere ends with the same bytes and the same metric rows."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import CheckpointError, MetricPoint, build, fit
from addercore.io import encode, manifest_of
from addercore.train import checkpoint
from addercore.train.history import CHUNK, History

pytestmark = pytest.mark.bits

SPECS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 2},
    "accumulate and crop": {"epochs": 2, "batch_size": 64, "augment": "crop", "optimizer": {"accumulate": 3}},
    "early stop and best": {
        "epochs": 6,
        "batch_size": 256,
        "early_stop": {"patience": 2, "min_delta": 1.0},  # more than any accuracy rises
        "publish": "best",
    },
    "convolution": {"epochs": 2, "model": {"method": "conv"}, "batch_size": 100},
    "bf16 from a stored model": {
        "epochs": 2,
        "precision": "bf16",
        "model": {"first_last": "conv"},
        "init_from": "model_1",
        "batch_size": 256,
    },
    "distilled": {"epochs": 2, "batch_size": 256, "augment": "crop", "distill": {"teacher": "model_1"}},
    "p from 2 to 1, unclipped": {
        "epochs": 2,
        "batch_size": 400,
        "model": {"p_schedule": {"from": 2, "until": 0.6}},
        "optimizer": {"clip_input_gradient": "none"},
    },
    "pkkd": {"epochs": 2, "batch_size": 400, "optimizer": {"accumulate": 2}, "distill": {"kind": "pkkd"}},
    "kernels": {"epochs": 2, "batch_size": 400, "distill": {"kind": "kernels", "teacher": "model_1"}},
    "holdout": {"epochs": 2, "dataset": {"name": "digits", "holdout": 0.3}},
}


SHORT = ("plain", "distilled")
LONG = [pytest.param(name, marks=pytest.mark.long("trains five times")) for name in SPECS if name not in SHORT]


def test_stopped_before_the_last_validation_it_tells_the_same_of_the_last_step(
    tmp_path: Path, config: Any, recorder: Any
) -> None:
    spec = config(epochs=1, batch_size=400)
    whole, first, second = recorder(), recorder(stop_at=4), recorder()
    fit(spec, workdir=tmp_path / "whole", callbacks=whole, device="cpu", threads=1)
    fit(spec, workdir=tmp_path / "parts", callbacks=first, device="cpu", threads=1)
    resume = tmp_path / "parts" / "checkpoints"
    fit(spec, workdir=tmp_path / "parts", callbacks=second, device="cpu", threads=1, resume_from=resume)
    assert [event for event, *_ in second.events] == ["resumed"]
    assert ("grad_norm/conv1", 4) in whole.rows()
    assert first.rows() | second.rows() == whole.rows()


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_stopped_anywhere_it_ends_the_same(tmp_path: Path, config: Any, recorder: Any, name: str) -> None:
    spec = config(**SPECS[name])
    whole = recorder()
    options: dict[str, Any] = {"device": "cpu", "threads": 1}
    if spec.init_from is not None:
        options["init_from"] = tmp_path / "start.safetensors"
        options["init_from"].write_bytes(encode(build(spec.network(), seed=9).state_dict(), manifest_of(spec, {})))
    if spec.distill is not None and spec.distill.teacher is not None:
        options["teacher"] = tmp_path / "teacher.safetensors"
        twin = build(spec.network(), "conv", "conv", seed=9).state_dict()
        manifest = manifest_of(config(model={"method": "conv"}), {})
        options["teacher"].write_bytes(encode(twin, manifest))
    straight = fit(spec, workdir=tmp_path / "whole", callbacks=whole, **options)
    at = random.Random(name).randrange(1, whole.asked)

    first, second, third = recorder(stop_at=at), recorder(stop_at=1), recorder()
    folder = tmp_path / "parts"
    stopped = fit(spec, workdir=folder, callbacks=first, **options)
    assert stopped.stopped
    assert first.asked == at
    assert stopped.artifacts == []
    assert first.events[-1][0] == "stopped"
    torch.rand(7)  # what happens between does not matter
    again = fit(spec, workdir=folder, callbacks=second, resume_from=first.checkpoints[-1][0], **options)
    assert again.stopped == (second.asked == 1)
    ended = fit(spec, workdir=folder, callbacks=third, resume_from=folder / "checkpoints", **options)
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


@pytest.mark.long("three processes that load torch; test_stopped_anywhere_it_ends_the_same is the short form")
def test_killed_twice_it_ends_the_same(tmp_path: Path, config: Any) -> None:
    spec = config(epochs=2, checkpoint={"every_seconds": 0.15})
    fit(spec, workdir=tmp_path / "whole", device="cpu", threads=1)
    folder = tmp_path / "killed"
    for at, status in ((15, -signal.SIGKILL), (5, -signal.SIGKILL), (-1, 0)):
        code = CHILD.format(at=at, folder=str(folder), spec=spec.to_dict())
        done = subprocess.run([sys.executable, "-c", code], env=os.environ.copy(), timeout=300, check=False)
        assert done.returncode == status
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_checkpoints_are_named_hashed_and_few(tmp_path: Path, config: Any, recorder: Any) -> None:
    seen = recorder()
    spec = config(epochs=4, batch_size=512, checkpoint={"keep": 2})
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert seen.checkpoints[-1][1:3] == (12, 4)
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


def test_a_stop_during_a_validation_is_heeded(tmp_path: Path, config: Any, recorder: Any) -> None:
    spec, whole = config(batch_size=512), recorder()
    fit(spec, workdir=tmp_path / "whole", device="cpu", threads=1, callbacks=whole)
    first, second = recorder(stop_at=4), recorder()  # 3 steps, then between the two batches of 360 images
    stopped = fit(spec, workdir=tmp_path / "parts", device="cpu", threads=1, callbacks=first)
    assert (stopped.stopped, stopped.step, stopped.epoch) == (True, 3, 0)
    [path] = (tmp_path / "parts/checkpoints").iterdir()
    assert path.name == "checkpoint-000000003-unvalidated.adderck"
    fit(spec, workdir=tmp_path / "parts", device="cpu", threads=1, callbacks=second, resume_from=path)
    assert second.points[0].name == "val/loss"
    assert first.rows() | second.rows() == whole.rows()


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, config: Any, recorder: Any) -> None:
    """The first one is held in the air until the training is three steps further, the next is put off meanwhile."""
    further = threading.Event()

    class Slow(recorder):  # type: ignore[misc]
        def on_metrics(self, points: Any) -> None:
            super().on_metrics(points)
            if self.saving and points[0].step >= self.saving + 3:
                further.set()

        saving = 0

        def on_checkpoint(self, path: Any, step: int, epoch: int, sha256: str) -> None:
            assert max(p.step for p in self.points) >= step  # its own points came before
            self.saving = self.saving or step
            assert further.wait(300)
            super().on_checkpoint(path, step, epoch, sha256)

    seen = Slow()
    spec = config(checkpoint={"every_epochs": None, "every_seconds": 1e-6, "keep": 99}, metrics_every_steps=1)
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    steps = [step for _, step, _, _ in seen.checkpoints]
    assert steps[0] == 1
    assert steps[1] >= 4
    assert steps[-1] == 24
    state = checkpoint.load(seen.checkpoints[0][0]).state  # of its moment, though written later
    assert state["place"]["step"] == 1
    assert set(state["history"]["rows"][:, 1].tolist()) == {1}
    again = recorder()
    whole = fit(spec, workdir=tmp_path / "again", device="cpu", callbacks=again, resume_from=seen.checkpoints[0][0])
    assert whole.step == 24
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_a_write_that_fails_ends_the_run(tmp_path: Path, config: Any) -> None:
    (tmp_path / "checkpoints").write_text("no folder")
    with pytest.raises(OSError, match="checkpoints"):
        fit(config(batch_size=512), workdir=tmp_path, device="cpu", threads=1)


def test_the_newest_whole_ones_are_kept_and_used(tmp_path: Path, config: Any, recorder: Any) -> None:
    spec = config(batch_size=512, epochs=3, checkpoint={"every_epochs": None, "every_seconds": None, "keep": 2})
    folder = tmp_path / "checkpoints"
    for stop_at in (1, 1, 1):
        resume = folder if folder.exists() else None
        fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=recorder(stop_at=stop_at), resume_from=resume)
    older, newer = sorted(folder.iterdir())
    newer.write_bytes(newer.read_bytes()[:-1])
    (folder / ".checkpoint-000000009.adderck.1.tmp").write_bytes(b"of a killed process")
    seen = recorder(stop_at=1)
    fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen, resume_from=folder)
    assert [kind for kind, _, _ in seen.events][:2] == ["checkpoint_lost", "resumed"]
    assert newer.name in seen.events[0][1]
    assert older.name in seen.events[1][1]
    assert sorted(folder.iterdir()) == [older, newer]  # the same step again, whole
    assert checkpoint.is_whole(newer)
    newer.write_bytes(b"torn")
    checkpoint.prune(folder, 1, set())
    assert list(folder.iterdir()) == [older]
    older.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        checkpoint.load(folder)


def test_a_long_history_survives_a_checkpoint() -> None:
    history, again = History(), History()
    points = [
        MetricPoint(f"series {n % 3}", n // 3, 1 + n // 9, n / 7, 1_700_000_000_000 + n) for n in range(CHUNK + 500)
    ]
    for start in range(0, len(points), 1000):
        history.add(points[start : start + 1000])
    frozen = history.snapshot()
    history.add([MetricPoint("later", 1, 1, 0.0, 0)])
    again.load_state_dict(frozen.state_dict())
    assert list(again) == points
    assert again.series("series 1") == ([p.step for p in points[1::3]], [p.value for p in points[1::3]])
    assert len(history) == len(points) + 1


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
