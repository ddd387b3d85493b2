"""Batches made ahead of time by processes of their own, with the very bytes that the training would have made itself.

Batch n of a run is made by process n modulo their number, so nothing needs to be told to them: each writes raw bytes of
images to its own pipe, one batch ahead, and waits there until they are taken. They decode, cut and resize image files;
sets that fit into memory lie there once for all of them.

Torch's DataLoader is not used: it draws a seed from the run's generator, its handler of a dead worker raises wherever
the training happens to be (in the middle of a message, or of a checkpoint), and its batches travel through /dev/shm,
which is 64 MiB in a container.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Self

import torch
from torch import Tensor

from addercore.data import Source
from addercore.errors import BadData, LoaderLost
from addercore.spec import TrainConfig, dataset

MOST: Final = 16  # processes
OUT_OF_MEMORY: Final = 3  # exit status
FAILED: Final = 4  # exit status; what happened is in the report
_PIPE_BYTES: Final = 1 << 20  # the largest that the system gives everybody
_FROM_OUTSIDE: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Process:
    running: "subprocess.Popen[bytes]"
    batches: BinaryIO
    report: BinaryIO  # JSON, once, where it fails


class Loader:
    """`workers` processes that make batches; `take` gives them one after the other.

    They end when the pipe's reader does, however it ended.
    """

    def __init__(self, source: Source, workers: int, order: dict[str, Any]) -> None:
        """`order` says which batches, see `of_training` and `in_order`."""
        self._taken = 0
        self._processes: list[_Process] = []
        self._shape, self._pinned = source.shape, torch.cuda.is_available()
        shared = source.share()
        order = {**order, "source": shared.description, "workers": workers}
        try:
            for number in range(workers):
                self._processes.append(_start({**order, "number": number}, shared.handles))
        except BaseException:
            self.close()
            raise
        finally:
            shared.close()

    @classmethod
    def of_training(cls, source: Source, config: TrainConfig, workers: int, epoch: int, index: int) -> Self:
        """The batches of a run from (epoch, index) on."""
        info = dataset(config.dataset.name).to_dict()
        return cls(source, workers, {"config": config.to_dict(), "dataset": info, "place": (epoch, index)})

    @classmethod
    def in_order(cls, source: Source, workers: int, size: int) -> Self:
        """All images once, in their stored order, `size` at a time."""
        return cls(source, workers, {"size": size})

    def take(self, size: int) -> Tensor:
        """The next batch, of `size` images: (size, c, h, w) uint8 on the processor.

        Raises `LoaderLost` if its process was ended, and what it found wrong with the data.
        """
        process = self._processes[self._taken % len(self._processes)]
        self._taken += 1
        pixels = torch.empty((size, *self._shape), dtype=torch.uint8, pin_memory=self._pinned)
        room = pixels.numpy().data.cast("B")
        while room:
            count = process.batches.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise _loss(process)
            room = room[count:]
        return pixels

    def close(self) -> None:
        for process in self._processes:
            process.running.kill()
            process.batches.close()
            process.report.close()
        for process in self._processes:
            process.running.wait()


def _start(order: dict[str, object], handles: tuple[int, ...]) -> _Process:
    read, write = os.pipe()
    report, tell = os.pipe()
    command = [sys.executable, "-m", "addercore.train.loader_process"]
    try:
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: slower, no less right
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        running = subprocess.Popen(
            [*command, json.dumps({**order, "pipe": write, "tell": tell})],
            stdin=subprocess.DEVNULL,
            pass_fds=(*handles, write, tell),
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # one core each, beside the training's
        )
    except BaseException:
        os.close(read)
        os.close(report)
        raise
    finally:
        os.close(write)
        os.close(tell)
    return _Process(running, os.fdopen(read, "rb", buffering=0), os.fdopen(report, "rb"))


def _loss(process: _Process) -> Exception:
    """Why a process has closed its pipe."""
    status, name = process.running.wait(), f"data-loader process {process.running.pid}"
    if -status in _FROM_OUTSIDE:
        return LoaderLost(f"{name} was ended by signal {-status}")
    if status == OUT_OF_MEMORY:
        return MemoryError(f"{name} ran out of memory")
    if status == FAILED:
        told = json.loads(process.report.read())
        return BadData(told["message"]) if told["errno"] is None else OSError(told["errno"], told["message"])
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RuntimeError(f"{name} crashed with {how}; its own words are in the log")
