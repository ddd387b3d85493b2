"""A stand-in for the training process: speaks `worker.protocol` with the standard library alone, starts in ~20 ms.

Labels of the job say what it does: `points`, how many metric points it reports (0), `seconds`, how long it takes (0.15,
so that a client sees it running), `fail`, that it ends as a failure. Asked to stop, it leaves a checkpoint and goes on
from there when it is resumed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

DEFAULT_SECONDS = "0.15"


class StopAsked(Exception):
    """SIGTERM: the supervisor wants the state saved."""


class Training:
    def __init__(self, order: dict[str, object], labels: dict[str, str], messages: int) -> None:
        self.folder = str(order["workdir"])
        self.pipe = os.fdopen(messages, "w", buffering=1)
        self.points = int(labels.get("points", "0"))
        self.pause = float(labels.get("seconds", DEFAULT_SECONDS)) / max(1, self.points)
        self.fail = "fail" in labels
        self.step = 0
        self.asleep = self.asked = False
        checkpoints = order["checkpoints"]
        if isinstance(checkpoints, list) and checkpoints:
            with open(checkpoints[0], encoding="utf-8") as file:
                self.step = json.load(file)["step"]

    def run(self) -> None:
        self.say("environment", environment={"device": "cpu", "backend": "none"})
        try:
            while self.step < max(1, self.points):
                self.sleep()
                self.step += 1
                if self.points:
                    self.report()
        except StopAsked:
            self.save()
            self.say("stopped")
            return
        if self.fail:
            self.say("failed", code="diverged", message="The loss is not a number.")
        else:
            self.say("done", result={"steps": self.step})

    def stop(self, *_: object) -> None:
        """Signal handler: breaks a sleep, never a line that is being written."""
        self.asked = True
        if self.asleep:
            raise StopAsked

    def sleep(self) -> None:
        self.asleep = True
        if self.asked:
            raise StopAsked
        time.sleep(self.pause)
        self.asleep = False

    def report(self) -> None:
        now = time.time_ns() // 1_000_000
        point = {"name": "train/loss", "step": self.step, "epoch": 1, "value": 1 / self.step, "time": now}
        self.say("metrics", points=[point])

    def save(self) -> None:
        self.asleep = False
        path = os.path.join(self.folder, f"{self.step}.ckpt")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"step": self.step}, file)
        self.say("checkpoint", path=path, step=self.step, epoch=1, sha256="")

    def say(self, kind: str, **fields: object) -> None:
        self.pipe.write(json.dumps({"type": kind, **fields}) + "\n")


def main() -> int:
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))  # importing argparse would take a fifth of the start
    threading.Thread(target=_die_with_supervisor, args=(int(given["--lifeline-fd"]),), daemon=True).start()
    with open(given["--job"], encoding="utf-8") as file:
        order = json.load(file)
    training = Training(order, order["spec"]["labels"], int(given["--messages-fd"]))
    signal.signal(signal.SIGTERM, training.stop)
    training.run()
    return 0


def _die_with_supervisor(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main())
