"""Deliveries to a real receiver on loopback, by a clock that the test sets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest
from standardwebhooks.webhooks import Webhook as Oracle

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.errors import Conflict
from jobs.settings import Settings
from jobs.tables import DeliveryStatus
from jobs.webhooks import delivery_queue, repository
from jobs.webhooks.delivery_queue import DELAYS_MS, HOUR, LEASE_MS
from jobs.webhooks.sender import OF_ONE, Sender
from tests.jobs.webhooks.conftest import Clock, cancelled, deliveries, hook
from tests.support.receiver import Receiver, status
from tests.support.servers import wait_until

Make = Callable[..., Sender]


def test_a_receiver_gets_the_event_signed_as_the_oracle_wants_it(database: Database, sender_of: Make) -> None:
    with Receiver() as receiver:
        row = hook(database, receiver.url)
        job = cancelled(database)
        assert sender_of().send_due() == 1
        (taken,) = receiver.taken
        event = Oracle(row.secret).verify(taken.body, taken.headers)
        assert event["type"] == "job.cancelled"
        assert event["data"]["id"] == job
        assert taken.headers["content-type"] == "application/json"
        (sent,) = deliveries(database)
        assert (sent.status, sent.attempts, sent.response_status, sent.reason) == ("delivered", 1, 204, None)
        assert sender_of().send_due() == 0


def test_while_a_secret_is_rotated_both_verify(database: Database, clock: Clock, sender_of: Make) -> None:
    with Receiver() as receiver:
        row = hook(database, receiver.url)
        with database.write(DEFAULT) as session:
            new = repository.rotate(session, row.id, 3600).secret
        cancelled(database)
        sender_of().send_due()
        for secret in (row.secret, new):
            Oracle(secret).verify(receiver.taken[0].body, receiver.taken[0].headers)
        clock.ahead = HOUR + 1000
        cancelled(database)
        sender_of().send_due()
        assert len(receiver.taken[0].headers["webhook-signature"].split()) == 2
        assert len(receiver.taken[1].headers["webhook-signature"].split()) == 1


def test_attempts_come_after_the_stated_times_and_then_no_more(
    database: Database, clock: Clock, sender_of: Make
) -> None:
    with Receiver(status(500)) as receiver:
        hook(database, receiver.url)
        cancelled(database)
        sender = sender_of()
        for number, delay in enumerate(DELAYS_MS, start=1):
            if delay:
                clock.ahead += delay - 1
                assert sender.send_due() == 0
                clock.ahead += 1
            assert sender.send_due() == 1
            assert len(receiver.taken) == number
        (sent,) = deliveries(database)
        assert (sent.status, sent.attempts, sent.reason) == (DeliveryStatus.FAILED, 10, "It answered 500.")
        clock.ahead += 1000 * HOUR
        assert sender.send_due() == 0
        assert len(set(receiver.ids)) == 1
    assert tuple(int(1000 * s) for s in (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)) == DELAYS_MS


def test_a_receiver_that_was_down_for_an_hour_gets_everything(
    database: Database, clock: Clock, sender_of: Make
) -> None:
    with Receiver(status(503)) as receiver:
        hook(database, receiver.url)
        sender = sender_of()
        for _ in range(60):  # a minute each
            if clock.ahead % 600_000 == 0:
                cancelled(database)
            sender.send_due()
            clock.ahead += 60_000
        written = [row.event_id for row in deliveries(database)]
        assert len(written) == 6
        receiver.answer, receiver.taken = status(204), []
        for _ in range(24):
            clock.ahead += HOUR
            sender.send_due()
        assert sorted(receiver.ids) == sorted(written), "each once: none was taken before"
        assert {row.status for row in deliveries(database)} == {"delivered"}


def test_one_that_is_gone_is_told_nothing_more(database: Database, sender_of: Make, clock: Clock) -> None:
    with Receiver(status(410)) as receiver:
        row = hook(database, receiver.url)
        for _ in range(OF_ONE + 3):
            cancelled(database)
        sender_of().send_due()
        assert 1 <= len(receiver.taken) <= OF_ONE, "those that were under way"
        clock.ahead = 100 * HOUR
        assert sender_of().send_due() == 0
        assert {one.status for one in deliveries(database)} == {"failed"}
        with database.write(DEFAULT) as session:
            found = repository.get(session, row.id)
            assert (found.enabled, found.disabled_reason) == (False, "The receiver answered 410 Gone.")
            with pytest.raises(Conflict, match="410"):
                repository.send_test(session, row.id)
            repository.change(session, row.id, {"enabled": True})
            repository.redeliver(session, row.id, deliveries(database)[0].id)
        receiver.answer, receiver.taken = status(204), []
        assert sender_of().send_due() == 1
        assert receiver.ids == [deliveries(database)[0].event_id]


def test_redirects_are_not_followed(database: Database, sender_of: Make) -> None:
    with Receiver() as other, Receiver(status(302, Location=other.url)) as receiver:
        hook(database, receiver.url)
        cancelled(database)
        sender_of().send_due()
        (sent,) = deliveries(database)
        assert len(receiver.taken) == 1
        assert not other.taken
        assert (sent.status, sent.response_status) == ("pending", 302)
        assert "redirects are not followed" in (sent.reason or "")


def _drip(handler: BaseHTTPRequestHandler) -> None:
    """A head of the answer that never ends."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(600):
            handler.wfile.write(f"X-{number}: x\r\n".encode())
            time.sleep(0.1)
    except OSError:
        pass


def _flood(handler: BaseHTTPRequestHandler) -> None:
    """A body without an end."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        pass


def test_a_receiver_that_drips_is_given_up(database: Database, sender_of: Make) -> None:
    with Receiver(_drip) as receiver:
        hook(database, receiver.url)
        cancelled(database)
        sender_of(attempt_seconds=0.5).send_due()
        (sent,) = deliveries(database)
        assert (sent.status, sent.reason) == ("pending", "No answer within 0.5 s.")


def test_the_body_of_an_answer_is_not_read(database: Database, sender_of: Make) -> None:
    with Receiver(_flood) as receiver:
        hook(database, receiver.url)
        cancelled(database)
        sender_of().send_due()
        assert deliveries(database)[0].status == "delivered"


def test_a_dead_receiver_does_not_delay_the_others(database: Database, sender_of: Make) -> None:
    done = threading.Event()
    with Receiver(lambda _: bool(done.wait(30)) and None) as dead, Receiver() as alive:
        hook(database, dead.url)
        hook(database, alive.url)
        for _ in range(3 * OF_ONE):
            cancelled(database)
        sender = sender_of(poll_seconds=0.05)
        sender.start()
        wait_until(lambda: len(alive.taken) == 3 * OF_ONE, "all events to reach the receiver that answers")
        assert len(dead.taken) <= OF_ONE
        sender.stop()
        done.set()


def test_a_sender_that_stops_gives_back_what_is_under_way(database: Database, sender_of: Make) -> None:
    done = threading.Event()
    with Receiver(lambda _: bool(done.wait(30)) and None) as receiver:
        hook(database, receiver.url)
        cancelled(database)
        sender = sender_of(poll_seconds=0.05)
        sender.start()
        wait_until(lambda: len(receiver.taken) == 1, "the attempt")
        sender.stop()
        done.set()
        receiver.answer = status(204)
        assert sender_of().send_due() == 1, "at once, although the first claim's lease has not ended"
        assert len(receiver.ids) == 2
        assert len(set(receiver.ids)) == 1


def test_several_senders_send_each_event_once(database: Database, sender_of: Make) -> None:
    with Receiver() as receiver:
        hook(database, receiver.url)
        for _ in range(20):
            cancelled(database)
        senders = [sender_of() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(Sender.send_due, senders))
        assert sum(counts) == 20
        assert len(set(receiver.ids)) == len(receiver.ids) == 20


def test_a_sender_that_was_suspended_writes_nothing_over_its_successor(
    database: Database, clock: Clock, sender_of: Make
) -> None:
    with Receiver() as receiver:
        row = hook(database, receiver.url)
        cancelled(database)
        with database.write(SERVICE) as session:
            (late,) = delivery_queue.claim(session, row.id, clock(session), 1)
            assert delivery_queue.claim(session, row.id, clock(session), 1) == []
        clock.ahead = LEASE_MS
        assert sender_of().send_due() == 1
        with database.write(SERVICE) as session:
            failed = delivery_queue.Outcome(None, "late")
            assert delivery_queue.conclude(session, late, failed, clock(session)) is None
        assert [(one.status, one.attempts) for one in deliveries(database)] == [("delivered", 1)], "of the ten, one"


def test_a_webhook_that_is_switched_off_gets_what_waits_once_it_is_on_again(
    database: Database, sender_of: Make
) -> None:
    with Receiver() as receiver:
        row = hook(database, receiver.url)
        cancelled(database)
        with database.write(DEFAULT) as session:
            repository.change(session, row.id, {"enabled": False})
        assert sender_of().send_due() == 0
        with database.write(DEFAULT) as session:
            repository.change(session, row.id, {"enabled": True})
        assert sender_of().send_due() == 1


def test_a_webhook_may_be_deleted_while_it_is_told(database: Database, sender_of: Make) -> None:
    with Receiver() as receiver:
        row = hook(database, receiver.url)

        def deleted(handler: BaseHTTPRequestHandler) -> None:
            with database.write(DEFAULT) as session:
                repository.remove(session, row.id)
            status(410)(handler)

        receiver.answer = deleted
        cancelled(database)
        assert sender_of().send_due() == 1
        assert deliveries(database) == []


def test_the_bodies_are_small_json(database: Database) -> None:
    hook(database, "https://hooks.example")
    cancelled(database)
    (sent,) = deliveries(database)
    assert len(sent.body) < 500
    assert list(json.loads(sent.body)) == ["type", "timestamp", "data"]
    assert Settings().webhook_allow_private is False
