"""kill -9 of the process that sends, and of the one that changes something: no event is lost, on both databases."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from benchmarks.programs import die_with_parent
from jobs.database import Database
from jobs.webhooks.delivery_queue import LEASE_MS
from jobs.webhooks.sender import Sender
from tests.jobs.webhooks.conftest import Clock, cancelled, deliveries, hook
from tests.support.receiver import Receiver, status
from tests.support.servers import wait_until

ROUNDS = 3
OF_A_ROUND = 4


@contextmanager
def sending(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that sends; it is killed at the end."""
    command = [sys.executable, "-m", "tests.support.webhook_sender", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent(9)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_killed_in_the_middle_of_deliveries_it_loses_none(
    database: Database, database_url: str, clock: Clock, sender_of: Callable[..., Sender]
) -> None:
    """Each round some requests are answered, some are held, and the process is killed while it waits for those."""
    held = threading.Event()
    draw = random.Random(7)

    def sometimes(handler: BaseHTTPRequestHandler) -> None:
        if draw.random() < 0.5:
            held.wait(60)
        status(204)(handler)

    with Receiver(sometimes) as receiver:
        hook(database, receiver.url)
        jobs = []
        for _ in range(ROUNDS):
            jobs += [cancelled(database) for _ in range(OF_A_ROUND)]
            before = len(receiver.taken)
            with sending(database_url):
                wait_until(lambda before=before: len(receiver.taken) > before, "a delivery")  # type: ignore[misc]
        held.set()
        receiver.answer = status(204)
        clock.ahead = LEASE_MS + 10_000
        sender_of().send_due()
        found = deliveries(database)
        assert {row.status for row in found} == {"delivered"}
        assert len(found) == len(jobs)
        assert set(receiver.ids) == {row.event_id for row in found}
