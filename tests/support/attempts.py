"""The real training process under a supervisor that only listens: what it says, kept; what it saves, copied."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.scheduling import ranks_of
from jobs.spec import Spec
from worker import protocol
from worker.process import ChildProcess
from worker.template.client import Template

COMMAND = (sys.executable, "-m", "worker.child")


class Attempts:
    """The attempts of one job, one after the other, each in a work folder of its own as in the service.

    Every checkpoint is copied when it is announced; the next attempt gets the copies, newest first.
    """

    def __init__(
        self,
        folder: Path,
        spec: Spec,
        *,
        model: Path | None = None,
        disk: Path | None = None,
        template: Template | None = None,
        threads: int = 1,
        confined: bool = False,
    ) -> None:
        """`disk`: where the work folders lie, if not in `folder`; `template`: what the processes are forked from;
        `confined`: they restrict themselves by Landlock."""
        self.confined = confined
        self.template, self.threads = template, threads
        self.folder, self.disk, self.spec, self.model = folder, disk or folder, spec.model_dump(mode="json"), model
        self.store = folder / "store"
        self.store.mkdir(parents=True)
        self.number = 0
        self.said: list[protocol.Message] = []  # of the last attempt
        self.log = ""  # of all
        self.rows: dict[tuple[str, int], tuple[int, float | None]] = {}
        self.repeated = 0  # points that came again

    @property
    def workdir(self) -> Path:
        return self.disk / f"attempt-{self.number}"

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.store.iterdir())

    def run(self, on_message: Callable[[ChildProcess, protocol.Message], None] | None = None) -> int | None:
        """One attempt to its end; `on_message` sees each message when it comes. Returns the exit status."""
        self.number += 1
        self.said = []
        self.workdir.mkdir(exist_ok=True)
        order = protocol.JobOrder(
            job_id="job_test",
            attempt=self.number,
            kind=self.spec["kind"],
            spec=self.spec,
            workdir=str(self.workdir),
            datasets_dir=str(self.folder),
            threads=self.threads,
            checkpoints=tuple(str(path) for path in reversed(self.checkpoints())),
            model=str(self.model) if self.model else None,
            confinement=self._confinement() if self.confined else None,
        )
        path = self.folder / f"order-{self.number}.json"
        path.write_text(order.model_dump_json())
        ended, started = threading.Event(), threading.Event()

        def receive(line: bytes) -> None:
            message = protocol.MESSAGE.validate_json(line) if line.endswith(b"\n") else None  # killed while it wrote
            if message is None:
                return
            self.said.append(message)
            self._keep(message)
            if on_message is not None:
                started.wait()
                on_message(child, message)

        def log(text: str) -> None:
            self.log += text

        child = ChildProcess(
            COMMAND,
            path,
            threads=self.threads,
            template=self.template,
            on_message=receive,
            on_log=log,
            on_end=ended.set,
        )
        started.set()
        try:
            assert ended.wait(300), self.log
        finally:
            child.close()
        return child.returncode

    def _confinement(self) -> protocol.Confinement:
        """What a test hands over lies beside the work folder, and not in it as in the service."""
        given = [self.store, *([self.model] if self.model else [])]
        return protocol.Confinement(
            data_dir=str(self.folder / "hidden"), readable=tuple(map(str, given)), network=ranks_of(self.spec) > 1
        )

    def _keep(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved):
            source = Path(message.path)
            if source.exists():  # else it was pruned: a newer one follows
                shutil.copy(source, self.store / f"{len(self.checkpoints()):06d}-{source.name}")
        if isinstance(message, protocol.Metrics):
            for p in message.points:
                value = None if p.name.endswith("images_per_second") else p.value
                self.repeated += (p.name, p.step) in self.rows
                before = self.rows.setdefault((p.name, p.step), (p.epoch, value))
                assert before == (p.epoch, value), f"{p.name} at step {p.step}: {before}, then {(p.epoch, value)}"

    def heard(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]

    def notes(self) -> dict[str, str]:
        return {note.event: note.message for note in self.heard(protocol.Note)}


def kill_process(child: ChildProcess) -> None:
    """The process alone, not its group."""
    os.kill(child.pid, signal.SIGKILL)
