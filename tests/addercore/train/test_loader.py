"""Loader processes: the very batches of the training's own making, and nothing of them left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import fit
from addercore.data import opened, source
from addercore.errors import LoaderLost
from addercore.train.batches import Batches
from addercore.train.isolation import rng_state
from addercore.train.loader import Loader
from benchmarks.cpu import children
from tests.support.servers import wait_until

pytestmark = pytest.mark.bits

DIGITS = source("digits", "train")
CPU = torch.device("cpu")


def test_shared_images_are_the_images() -> None:
    shared = DIGITS.share()
    found = opened(json.loads(json.dumps(shared.description)))
    shared.close()
    everything = torch.arange(len(DIGITS))
    assert torch.equal(found.pixels(everything), DIGITS.pixels(everything))
    assert torch.equal(found.labels, DIGITS.labels)


def test_batches_are_the_same_from_any_place(config: Any) -> None:
    spec = config(augment="crop", batch_size=400, epochs=3)
    batches = Batches(DIGITS, spec, CPU)
    before = rng_state(CPU)
    others = set(children(os.getpid()))  # servers of other tests
    loader = Loader.of_training(batches, workers=3, epoch=0, index=2)
    try:
        for epoch, index in batches.from_position(0, 2):
            expected = batches.pixels(epoch, batches.permutation(epoch), index)
            assert torch.equal(loader.take(), expected)
        with pytest.raises(EOFError, match="all batches have been taken"):
            loader.take()
    finally:
        loader.close()
    after = rng_state(CPU)
    assert torch.equal(before["torch"], after["torch"])
    assert before["python"] == after["python"]
    assert torch.equal(before["numpy"]["key"], after["numpy"]["key"])
    assert set(children(os.getpid())) == others


@pytest.mark.parametrize(("by", "error"), [(signal.SIGKILL, LoaderLost), (signal.SIGSEGV, RuntimeError)])
def test_a_loader_that_ends_is_told(config: Any, by: signal.Signals, error: type[Exception]) -> None:
    others = set(children(os.getpid()))
    loader = Loader.of_training(Batches(DIGITS, config(epochs=5), CPU), workers=1, epoch=0, index=0)

    def drain() -> None:
        for _ in range(60):  # what it had sent is still in the pipe, or was taken from there
            loader.take()

    try:
        loader.take()
        [pid] = set(children(os.getpid())) - others
        os.kill(pid, by)
        with pytest.raises(error, match=f"process {pid} .* by signal 9|crashed with signal 11"):
            drain()
        with pytest.raises(error):  # and again, whoever asks
            loader.take()
    finally:
        loader.close()


TRAINING = """
from pathlib import Path
from addercore import Callbacks, TrainConfig, fit
class Told(Callbacks):
    def on_metrics(self, points):
        print("training", flush=True)
fit(TrainConfig.from_dict({spec!r}), workdir=Path({folder!r}), device="cpu", loader_workers=2, callbacks=Told())
"""


@pytest.mark.long("processes that import torch")
def test_loaders_end_with_a_training_that_is_killed_alone(tmp_path: Path, config: Any) -> None:
    code = TRAINING.format(spec=config(epochs=1000).to_dict(), folder=str(tmp_path))
    training = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert training.stdout is not None
    with training.stdout:
        assert training.stdout.readline() == b"training\n"
        loaders = children(training.pid)
        assert len(loaders) == 2
        training.kill()
        training.wait()

    def gone(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_until(lambda: all(map(gone, loaders)), "the loaders to end")


@pytest.mark.parametrize("count", [-1, 17])
def test_a_wrong_number_is_named(tmp_path: Path, config: Any, count: int) -> None:
    with pytest.raises(ValueError, match=f"loader_workers must be 0 to 16, got {count}"):
        fit(config(), workdir=tmp_path, loader_workers=count)
