"""Loader processes, which make batches ahead of time: the same bytes that the training would make itself.

Of k processes, process i makes the batches n with n mod k = i, so that they need no instructions: each writes the raw
bytes of its next batch to its own pipe and waits there until they are read. They decode, crop and resize image files; a
set that fits into memory is there once and shared by all of them.

Torch's DataLoader is not used: it draws a seed from the run's generator, its handler of a dead worker raises wherever
the training happens to be (in the middle of a message, or of a checkpoint), and its batches travel through /dev/shm,
which is 64 MiB in a container.
"""

import contextlib
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, Final, Self

import torch
from torch import Tensor

from addercore.config import dataset
from addercore.data import Source
from addercore.errors import BadData, LoaderLost
from addercore.train.batches import Batches

MAX_WORKERS: Final = 16  # processes
AHEAD: Final = 2  # batches in this process's memory beside the one that is computed
OUT_OF_MEMORY: Final = 3  # exit status
FAILED: Final = 4  # exit status; what happened is in the report
_PIPE_BYTES: Final = 1 << 20  # the largest that the system gives everybody
FROM_OUTSIDE: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Process:
    running: "subprocess.Popen[bytes]"
    batches: BinaryIO
    report: BinaryIO  # JSON, once, where it fails


class Loader:
    """`workers` processes that make batches; `take` returns one after the other.

    A thread reads them from the pipes while the device computes, a few batches ahead. The processes end when the reader
    of their pipe ends, in whatever way.
    """

    def __init__(self, source: Source, workers: int, sizes: Iterable[int], largest: int, order: dict[str, Any]) -> None:
        """`sizes` has the number of images of each batch; `order` tells the processes which batches to make."""
        self._shape, self._pinned = source.shape, torch.cuda.is_available()
        self._processes: list[_Process] = []
        self._ready: queue.Queue[Tensor | Exception] = queue.Queue(AHEAD)
        self._failure: Exception | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(sizes,), name="loader", daemon=True)
        shared = source.share()
        order = {**order, "source": shared.description, "workers": workers}
        room = largest * prod(self._shape)
        try:
            for number in range(workers):
                self._processes.append(_start({**order, "number": number}, shared.handles, room))
        except BaseException:
            self._end()
            self._close_pipes()
            raise
        finally:
            shared.close()
        self._thread.start()

    @classmethod
    def of_training(cls, batches: Batches, workers: int, epoch: int, index: int) -> Self:
        """The batches of a run from (epoch, index) on."""
        config = batches.config
        order = {
            "config": config.to_dict(),
            "dataset": dataset(config.dataset.name).to_dict(),
            "place": (epoch, index),
            "shard": (batches.shard.rank, batches.shard.processes),
        }
        sizes = (batches.own(place) for _, place in batches.from_position(epoch, index))
        return cls(batches.source, workers, sizes, config.batch_size, order)

    @classmethod
    def of_evaluation(cls, source: Source, workers: int, size: int) -> Self:
        """All images once, in stored order, in batches of `size`."""
        sizes = (len(part) for part in torch.split(torch.arange(len(source)), size))
        return cls(source, workers, sizes, size, {"size": size})

    def take(self) -> Tensor:
        """The next batch, (n, c, h, w) uint8 in main memory, pinned if there is a GPU.

        Raises `LoaderLost` if its process was ended from outside, and `BadData` or `OSError` if that process did.
        """
        if self._failure is None:
            found = self._ready.get()
            if isinstance(found, Tensor):
                return found
            self._failure = found
        raise self._failure

    def close(self) -> None:
        self._closed.set()
        self._end()
        self._thread.join()

    def _end(self) -> None:
        for process in self._processes:
            process.running.kill()
        for process in self._processes:
            process.running.wait()

    def _close_pipes(self) -> None:
        for process in self._processes:
            process.batches.close()
            process.report.close()

    def _read(self, sizes: Iterable[int]) -> None:
        """Runs in the thread: reads every batch in turn, then hands on the failure or the end."""
        try:
            for number, size in enumerate(sizes):
                self._hand_on(self._received(self._processes[number % len(self._processes)], size))
                if self._closed.is_set():
                    return
            self._hand_on(EOFError("all batches have been taken"))
        except Exception as error:  # noqa: BLE001  (raised again by `take`)
            self._hand_on(error)
        finally:
            self._close_pipes()

    def _hand_on(self, item: "Tensor | Exception") -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(item, timeout=0.1)
                return

    def _received(self, process: _Process, size: int) -> Tensor:
        pixels = torch.empty((size, *self._shape), dtype=torch.uint8, pin_memory=self._pinned)
        room = pixels.numpy().data.cast("B")
        while room:
            count = process.batches.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise _loss(process)
            room = room[count:]
        return pixels


def _start(order: dict[str, object], handles: tuple[int, ...], room: int) -> _Process:
    """Starts a process. `room` is the size of a batch in bytes: its pipe should not hold many small batches."""
    read, write = os.pipe()
    report, tell = os.pipe()
    told = os.memfd_create("adder-order")  # an argument would have to be short
    try:
        with open(told, "w", encoding="utf-8", closefd=False) as file:
            json.dump({**order, "pipe": write, "tell": tell}, file)
        os.lseek(told, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: slower, no less right
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, min(room, _PIPE_BYTES))
        running = subprocess.Popen(
            [sys.executable, "-m", "addercore.train.loader_process"],
            stdin=told,
            pass_fds=(*handles, write, tell),
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # one core each, beside the training's
        )
    except BaseException:
        os.close(read)
        os.close(report)
        raise
    finally:
        for handle in (write, tell, told):
            os.close(handle)
    return _Process(running, os.fdopen(read, "rb", buffering=0), os.fdopen(report, "rb"))


def _loss(process: _Process) -> Exception:
    """The error that says why a process has closed its pipe."""
    status, name = process.running.wait(), f"data-loader process {process.running.pid}"
    if -status in FROM_OUTSIDE:
        return LoaderLost(f"{name} was ended by signal {-status}")
    if status == OUT_OF_MEMORY:
        return MemoryError(f"{name} ran out of memory")
    if status == FAILED:
        told = json.loads(process.report.read())
        return BadData(told["message"]) if told["errno"] is None else OSError(told["errno"], told["message"])
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RuntimeError(f"{name} crashed with {how}; its own words are in the log")
