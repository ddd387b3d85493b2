"""Wake-ups duplicated, delayed, reordered and lost, by a hand in the broker's list."""

from __future__ import annotations

import json
import signal
import time
from abc import abstractmethod
from datetime import datetime

from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, now_ms, submit_next
from tests.faults.launch import RECEIVED
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage, with_patience
from tests.support.servers import wait_until

JOBS = 5


class Messages(Fault):
    times = 5
    task = Task(steps=8, ms=40)
    options = Options(workers=2)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        """The workers are stopped for less than a lease, so that the messages of the next jobs wait in the list."""
        injection = Injection(now_ms())
        for worker in stage.workers:
            worker.signal(signal.SIGSTOP)
        try:
            for _ in range(JOBS):
                submit_next(stage, self.task)
            messages = take(stage)
        finally:
            for worker in stage.workers:
                worker.signal(signal.SIGCONT)
        changed = self.change(messages, strike)
        injection.facts["put_back"] = now_ms()
        if changed:  # all of them at once: an idle worker would have the first before the second is there
            with stage.servers.valkey.client() as client:
                client.rpush(stage.settings.queue, *changed)
        injection.facts["touched"] = [id_of(message) for message in messages]
        # Workers read messages when they have nothing to do: those left over must not change anything either.
        stage.settle()
        back = sorted({id_of(message) for message in changed})
        with_patience(lambda: {id for _, id in self.received(stage, back)} == set(back), 30)
        return injection

    @abstractmethod
    def change(self, messages: list[bytes], strike: Strike) -> list[bytes]:
        """What is put back, first at the end that is read last."""

    def received(self, stage: Stage, ids: list[str]) -> list[tuple[int, str]]:
        """`(wall time in ms, id)` of those messages as workers said that they got them; one can be there twice."""
        lines = sorted(map(json.loads, stage.said(RECEIVED)), key=lambda line: line["timestamp"])
        times = [int(datetime.fromisoformat(line["timestamp"]).timestamp() * 1000) for line in lines]
        return [(at, line["message"]) for at, line in zip(times, lines, strict=True) if line["message"] in ids]

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        return None


def id_of(message: bytes) -> str:
    return str(json.loads(message)["headers"]["id"])


def take(stage: Stage) -> list[bytes]:
    """All messages that wait, at least two of them, out of the list."""
    with stage.servers.valkey.client() as client:
        queue = stage.settings.queue
        wait_until(lambda: client.llen(queue) >= 2, "messages to wait", 30)
        with client.pipeline(transaction=True) as both:
            both.lrange(queue, 0, -1)
            both.delete(queue)
            taken: list[bytes] = both.execute()[0]
    return taken


class Duplicated(Messages):
    name = "messages duplicated"
    about = "Every waiting wake-up is put into the list three times."
    proof = "the workers' logs: one message received several times"

    def change(self, messages: list[bytes], strike: Strike) -> list[bytes]:
        return [message for message in messages for _ in range(3)]

    def confirm(self, stage: Stage, injection: Injection) -> str:
        ids = injection.facts["touched"]
        got = [id for _, id in self.received(stage, ids)]
        return f"{len(ids)} messages were received {len(got)} times" if len(got) > len(set(got)) else ""


class Delayed(Messages):
    name = "messages delayed and reordered"
    about = "All waiting wake-ups are held for one to three seconds and put back in the reverse order."
    proof = "the workers' logs: each was received only after it was put back, the last one before the first"

    def change(self, messages: list[bytes], strike: Strike) -> list[bytes]:
        time.sleep(1 + 2 * strike.pick)
        return messages[::-1]

    def confirm(self, stage: Stage, injection: Injection) -> str:
        ids, back = injection.facts["touched"], injection.facts["put_back"]
        got = self.received(stage, ids)
        late = len({id for _, id in got}) == len(ids) and all(at >= back for at, _ in got)
        # The list is read from its end: the newest comes first in `ids`.
        return f"{len(ids)} messages came late, the newest before the oldest" if late and got[0][1] != ids[-1] else ""


class Lost(Messages):
    name = "messages lost"
    about = "All waiting wake-ups are taken out of the list."
    proof = "the workers' logs: none of them was ever received"

    def change(self, messages: list[bytes], strike: Strike) -> list[bytes]:
        return []

    def confirm(self, stage: Stage, injection: Injection) -> str:
        ids = injection.facts["touched"]
        return f"{len(ids)} messages were never received" if ids and not self.received(stage, ids) else ""


FAULTS = (Duplicated(), Delayed(), Lost())
