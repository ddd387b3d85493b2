"""Batches made ahead of time by processes of their own, with the very bytes that the training would have made itself.

Batch n of a run is made by process n modulo their number, so nothing needs to be told to them: each writes raw float32
images to its own pipe, one batch ahead, and waits there until they are taken. The images lie in memory that all share.

Torch's DataLoader is not used: it draws a seed from the run's generator, its handler of a dead worker raises wherever
the training happens to be (in the middle of a message, or of a checkpoint), and its batches travel through /dev/shm,
which is 64 MiB in a container.
"""

import contextlib
import fcntl
import json
import mmap
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import torch
from torch import Tensor

from addercore.data import Examples
from addercore.errors import LoaderLost
from addercore.spec import TrainConfig

MOST: Final = 16  # processes
OUT_OF_MEMORY: Final = 3  # exit status
_PIPE_BYTES: Final = 1 << 20  # the largest that the system gives everybody
_FROM_OUTSIDE: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


def share(examples: Examples) -> int:
    """A memory file (images, then labels) that other processes can map; close its handle when they have."""
    handle = os.memfd_create("adder-examples")
    with open(handle, "wb", closefd=False) as file:
        for tensor in (examples.images, examples.labels):
            file.write(tensor.contiguous().numpy().data.cast("B"))
    return handle


def shared(handle: int, shape: tuple[int, ...]) -> Examples:
    """The examples of `share`, whose images have `shape`, without a copy."""
    content = mmap.mmap(handle, 0)  # writable, as torch wants it; nothing writes
    images = np.frombuffer(content, dtype=np.float32, count=int(np.prod(shape)))
    labels = np.frombuffer(content, dtype=np.int64, offset=images.nbytes, count=shape[0])
    return Examples(torch.from_numpy(images).view(shape), torch.from_numpy(labels))


@dataclass(frozen=True, slots=True)
class _Process:
    running: "subprocess.Popen[bytes]"
    batches: BinaryIO


class Loader:
    """`workers` processes that make the batches from (epoch, index) on; `take` gives them one after the other.

    They end when the pipe's reader does, however it ended.
    """

    def __init__(self, examples: Examples, config: TrainConfig, workers: int, epoch: int, index: int) -> None:
        self._shape = tuple(examples.images.shape[1:])
        self._taken = 0
        self._processes: list[_Process] = []
        handle = share(examples)
        order = {
            "config": config.to_dict(),
            "shape": tuple(examples.images.shape),
            "examples": handle,
            "workers": workers,
            "place": (epoch, index),
        }
        try:
            for number in range(workers):
                self._processes.append(_start({**order, "number": number}, handle))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(handle)

    def take(self, size: int) -> Tensor:
        """The next batch, of `size` images: (size, c, h, w) on the processor. `LoaderLost` if its process was ended."""
        process = self._processes[self._taken % len(self._processes)]
        self._taken += 1
        images = torch.empty((size, *self._shape))
        room = images.numpy().data.cast("B")
        while room:
            count = process.batches.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise _loss(process)
            room = room[count:]
        return images

    def close(self) -> None:
        for process in self._processes:
            process.running.kill()
            process.batches.close()
        for process in self._processes:
            process.running.wait()


def _start(order: dict[str, object], examples: int) -> _Process:
    read, write = os.pipe()
    try:
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: slower, no less right
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        running = subprocess.Popen(
            [sys.executable, "-m", "addercore.train.loader_process", json.dumps({**order, "pipe": write})],
            stdin=subprocess.DEVNULL,
            pass_fds=(examples, write),
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # one core each, beside the training's
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return _Process(running, os.fdopen(read, "rb", buffering=0))


def _loss(process: _Process) -> Exception:
    """Why a process has closed its pipe."""
    status, name = process.running.wait(), f"data-loader process {process.running.pid}"
    if -status in _FROM_OUTSIDE:
        return LoaderLost(f"{name} was ended by signal {-status}")
    if status == OUT_OF_MEMORY:
        return MemoryError(f"{name} ran out of memory")
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RuntimeError(f"{name} crashed with {how}; its own words are in the log")
