"""`python -m tests.faults.chain_child`: runs a chain (`chain.py`), speaking `worker.protocol` without torch.

It checkpoints, resumes, stops on SIGTERM and dies with its supervisor as the real child does. To the file that
`FAULTS_JOURNAL` names it appends a line when an attempt begins; its log says which attempt wrote each line.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults import chain
from tests.faults.chain import Task
from tests.faults.holds import reach


class Child:
    def __init__(self, order: dict[str, Any], messages_fd: int) -> None:
        self._order = order
        self._task = Task.of(order["spec"]["labels"])
        self._pipe = os.fdopen(messages_fd, "w", buffering=1)
        self._workdir = Path(order["workdir"])
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def send(self, **message: object) -> None:
        self._pipe.write(json.dumps(message) + "\n")

    def run(self) -> int:
        step, state = self._resume()
        self.send(type="environment", environment={"device": "cpu", "backend": "chain"})
        hunger = bytearray(self._task.eat_mb * 2**20)
        hunger[::4096] = b"\1" * len(hunger[::4096])
        while step < self._task.steps:
            if self._stop.wait(self._task.ms / 1000):
                return self._stopped(step, state)
            step += 1
            state = chain.after(state, self._task, step)
            self._report(step, state)
            if step % self._task.every == 0:
                self._save(step, state)
        self._publish(state)
        return 0

    def _report(self, step: int, state: bytes) -> None:
        now = int(time.time() * 1000)
        point = {"name": chain.METRIC, "step": step, "epoch": 1, "value": chain.value(state), "time": now}
        self.send(type="metrics", points=[point])
        done = {"epoch": 1, "epochs": 1, "step": step, "steps": self._task.steps}
        self.send(type="progress", progress=done | {"fraction": step / self._task.steps})
        print(f"attempt {self._order['attempt']} step {step}", flush=True)

    def _save(self, step: int, state: bytes) -> None:
        """A checkpoint as the real child writes it: whole under another name, synced, then renamed."""
        body = chain.filler(state, self._task.checkpoint_kb)
        head = {"step": step, "state": state.hex(), "sha256": hashlib.sha256(body).hexdigest()}
        content = json.dumps(head).encode() + b"\n" + body
        path = self._workdir / f"{step:09d}.ckpt"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            reach("child-saving", self._order["job_id"])
            file.write(content[len(content) // 2 :])
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        self.send(type="checkpoint", path=str(path), step=step, epoch=1, sha256=hashlib.sha256(content).hexdigest())

    def _resume(self) -> tuple[int, bytes]:
        """Step and state of the newest checkpoint that is whole, else the start."""
        for path in self._order["checkpoints"]:
            head, _, body = Path(path).read_bytes().partition(b"\n")
            try:
                found = json.loads(head)
            except ValueError:
                found = {"sha256": None}
            if found["sha256"] == hashlib.sha256(body).hexdigest():
                self.send(type="event", event="resumed", message=f"Goes on after step {found['step']}.", data=None)
                return found["step"], bytes.fromhex(found["state"])
            self.send(type="event", event="checkpoint_lost", message=f"{path} is not whole.", data=None)
        return 0, chain.start(self._task)

    def _stopped(self, step: int, state: bytes) -> int:
        reach("child-stopping", self._order["job_id"])
        time.sleep(self._task.stop_ms / 1000)
        self._save(step, state)
        self.send(type="stopped")
        return 0

    def _publish(self, state: bytes) -> None:
        path = self._workdir / "chain.bin"
        path.write_bytes(chain.result_bytes(state, self._task))
        self.send(
            type="artifact", path=str(path), name="chain.bin", kind="result", media_type="application/octet-stream"
        )
        reach("child-publishing", self._order["job_id"])
        self.send(type="done", result={"state": state.hex(), "attempt": self._order["attempt"]})


def die_with_supervisor(lifeline: int) -> None:
    def wait() -> None:
        os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def journal(order: dict[str, Any]) -> None:
    handle = os.open(os.environ["FAULTS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{order['job_id']} {order['attempt']} {os.getpid()}\n".encode())
    os.close(handle)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the attempt that the arguments name; None: those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path)
    parser.add_argument("--messages-fd", type=int)
    parser.add_argument("--lifeline-fd", type=int)
    arguments = parser.parse_args(argv)
    order = json.loads(arguments.job.read_text())
    journal(order)
    if "real" in order["spec"]["labels"]:  # this one shall train: become the real child, with the same pipes
        if argv is not None:  # forked
            from worker.child import main as train

            return train(argv)
        os.execv(sys.executable, [sys.executable, "-m", "worker.child", *sys.argv[1:]])
    die_with_supervisor(arguments.lifeline_fd)
    child = Child(order, arguments.messages_fd)
    try:
        return child.run()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        child.send(type="stopped", reason="disk_full", message=str(error))
        return 0


if __name__ == "__main__":
    sys.exit(main())
