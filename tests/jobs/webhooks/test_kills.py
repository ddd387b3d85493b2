"""kill -9 of a process that ends jobs and sends their events: none is lost, on both databases."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

from sqlalchemy import select

from benchmarks.programs import die_with_parent
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.states import Status
from jobs.tables import Job
from jobs.webhooks.delivery_queue import LEASE_MS
from jobs.webhooks.sender import Sender
from tests.jobs.webhooks.conftest import Clock, deliveries, hook
from tests.support.receiver import Receiver, status
from tests.support.servers import wait_until

ROUNDS = 2
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


def test_killed_in_the_middle_of_changes_and_deliveries_it_loses_none(
    database: Database, database_url: str, clock: Clock, sender_of: Callable[..., Sender]
) -> None:
    """The process ends jobs and sends at once. Half of the requests are held, so that it is killed in attempts."""
    held = threading.Event()
    draw = random.Random(7)

    def sometimes(handler: BaseHTTPRequestHandler) -> None:
        if draw.random() < 0.5:
            held.wait(60)
        with suppress(OSError):  # its sender is dead
            status(204)(handler)

    with Receiver(sometimes) as receiver:
        hook(database, receiver.url)
        for number in range(1, ROUNDS + 1):
            with sending(database_url):
                wait_until(lambda least=number * OF_A_ROUND: len(receiver.taken) >= least, "deliveries")  # type: ignore[misc]
        held.set()
        receiver.answer = status(204)
        clock.ahead = LEASE_MS + 10_000
        sender_of().send_due()
        with database.read(DEFAULT) as session:
            ended = set(session.execute(select(Job.id).where(Job.status == Status.CANCELLED)).scalars())
        found = deliveries(database)
        assert {json.loads(row.body)["data"]["id"] for row in found} == ended
        assert len(found) == len(ended)
        assert {row.status for row in found} == {"delivered"}
        assert set(receiver.ids) == {row.event_id for row in found}
