"""The other processes of a training that several compute: started, watched and ended by rank 0, which is the caller's.

They are fresh programs in its process group. Each does all steps from the place where rank 0 stands to the last epoch,
and waits for the others in every exchange; validations, metrics and checkpoints are rank 0's business, and so is the
end: it kills them, as they hold nothing that is not rank 0's as well. They end with rank 0, however that ended.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import torch

from addercore.config import dataset
from addercore.data import Source
from addercore.errors import AdderError, BadData, LoaderLost, RankLost
from addercore.train.exchange import Exchange
from addercore.train.loader import FAILED, FROM_OUTSIDE, OUT_OF_MEMORY
from addercore.train.state import Position
from addercore.train.stepping import Stepper

MAX_PROCESSES: Final = 64
PEER_LOST: Final = 5
"""Exit status of a rank that ended since another one did."""
CAUSE_SECONDS: Final = 60.0
"""How long the end of a connection waits for the end of the process behind it, whose interpreter winds up meanwhile: on
a machine with many times more work than processors that took over ten seconds, and the cause was lost."""
_TOLD: Final[dict[str, type[AdderError]]] = {"BadData": BadData, "LoaderLost": LoaderLost}


@dataclass(frozen=True, slots=True)
class _Process:
    rank: int
    running: "subprocess.Popen[bytes]"
    report: BinaryIO
    """Lines of JSON: that it is ready, and why it failed."""

    @property
    def name(self) -> str:
        return f"process {self.running.pid} (rank {self.rank})"


class Ranks:
    """The processes of ranks 1 to n − 1, and rank 0's exchange with them."""

    def __init__(self, processes: list[_Process], lifeline: int) -> None:
        self._processes, self._lifeline = processes, lifeline

    @classmethod
    def start(
        cls,
        stepper: Stepper,
        source: Source,
        position: Position,
        *,
        backend: str,
        loader_workers: int,
        teacher: Path | None,
    ) -> Self:
        """Starts the processes with the state of `stepper` at `position`, and has it take its steps with them.

        Args:
            source: the training images, which all of them share.
            backend: name of the kernels of adder layers.
            loader_workers: of each rank.
            teacher: file of the model that the configuration names.

        Raises:
            AdderError, MemoryError, OSError, RuntimeError: why one of them could not start.
        """
        config, shard = stepper.config, stepper.batches.shard
        state = _memory_file(stepper)
        shared = source.share()
        lifeline_read, lifeline = os.pipe()
        ranks = cls([], lifeline)
        try:
            with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
                order = {
                    "config": config.to_dict(),
                    "dataset": dataset(config.dataset.name).to_dict(),
                    "source": shared.description,
                    "device": stepper.device.type,
                    "threads": torch.get_num_threads(),
                    "processes": shard.processes,
                    "meet": f"{folder}/meet",
                    "epoch": position.epoch,
                    "step_in_epoch": position.step_in_epoch,
                    "backend": backend,
                    "loader_workers": loader_workers,
                    "teacher": None if teacher is None else str(teacher),
                    "state": state,
                    "lifeline": lifeline_read,
                }
                handles = (*shared.handles, state, lifeline_read)
                for rank in range(1, shard.processes):
                    ranks._processes.append(_start({**order, "rank": rank}, handles))
                ranks._await_ready()
                try:
                    stepper.join(Exchange(0, shard.processes, Path(folder) / "meet", stepper.device))
                except RankLost as error:
                    raise ranks.cause(error) from error
        except BaseException:
            ranks.close()
            raise
        finally:
            shared.close()
            os.close(state)
            os.close(lifeline_read)
        return ranks

    def _await_ready(self) -> None:
        for process in self._processes:
            if not process.report.readline():
                raise self.cause(RankLost(f"{process.name} ended before it was ready"))

    def cause(self, broken: RankLost) -> Exception:
        """The error of the process that ended first: the others end since that one did."""
        until = time.monotonic() + CAUSE_SECONDS
        while time.monotonic() < until:
            ended = [one for one in self._processes if one.running.poll() not in (None, PEER_LOST)]
            if ended:
                return _loss(ended[0])
            time.sleep(0.02)
        return broken

    def close(self) -> None:
        for process in self._processes:
            process.running.kill()
        for process in self._processes:
            process.running.wait()
            process.report.close()
        self._processes = []
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _memory_file(stepper: Stepper) -> int:
    """A memory file with the state of network and optimizer, for the ranks to read."""
    handle = os.memfd_create("adder-state")
    with open(handle, "wb", closefd=False) as file:
        torch.save({"model": stepper.model.state_dict(), "optimizer": stepper.optimizer.state_dict()}, file)
    return handle


def _start(order: dict[str, Any], handles: tuple[int, ...]) -> _Process:
    report, tell = os.pipe()
    told = os.memfd_create("adder-order")  # an argument would have to be short
    try:
        with open(told, "w", encoding="utf-8", closefd=False) as file:
            json.dump({**order, "tell": tell}, file)
        os.lseek(told, 0, os.SEEK_SET)
        running = subprocess.Popen(
            [sys.executable, "-m", "addercore.train.rank_process"],
            stdin=told,
            pass_fds=(*handles, tell),
            env={**os.environ, "OMP_NUM_THREADS": str(order["threads"])},
        )
    except BaseException:
        os.close(report)
        raise
    finally:
        for handle in (tell, told):
            os.close(handle)
    return _Process(order["rank"], running, os.fdopen(report, "rb"))


def _loss(process: _Process) -> Exception:
    """The error that says why a process has ended."""
    status = process.running.wait()
    if -status in FROM_OUTSIDE:
        return RankLost(f"{process.name} of the training was ended by signal {-status}")
    if status == OUT_OF_MEMORY:
        return MemoryError(f"{process.name} of the training ran out of memory")
    if status == FAILED:
        with contextlib.suppress(ValueError):
            told = json.loads(process.report.read().splitlines()[-1])
            if told["errno"] is not None:
                return OSError(told["errno"], told["message"])
            return _TOLD.get(told["kind"], RuntimeError)(told["message"])
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RuntimeError(f"{process.name} of the training crashed with {how}; its own words are in the log")
