"""Sends what is due, in a thread of its own with an event loop of its own.

A receiver that is slow or away delays no other: attempts run side by side, of each webhook a few, and of one whose last
attempt failed a single one.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from typing import Final, TypeVar

import httpcore2
import structlog

from jobs.access.scope import SERVICE, ServiceTransaction
from jobs.database import Database
from jobs.repository import core
from jobs.webhooks import delivery_queue
from jobs.webhooks.addresses import Guard, system_resolver
from jobs.webhooks.attempt import SECONDS, attempt
from jobs.webhooks.delivery_queue import Claimed, Outcome

MOST: Final = 200
"""Attempts of one process at a time."""
OF_ONE: Final = 4
"""Of these, attempts for one webhook."""
DATABASE_THREADS: Final = 2
LOOK_UPS: Final = 64
"""Names that are looked up at a time: a slow name server holds a thread longer than its attempt lasts."""
STOP_SECONDS: Final = 10.0
AWAY_SECONDS: Final = 5.0
"""Pause where the database does not answer."""

Clock = Callable[[ServiceTransaction], int]
"""The time in ms."""

T = TypeVar("T")

log = structlog.get_logger()


class Sender:
    """Delivers the events of all projects. Several processes may each have one."""

    def __init__(
        self,
        database: Database,
        *,
        private: bool = False,
        guard: Guard | None = None,
        poll_seconds: float = 1.0,
        attempt_seconds: float = SECONDS,
        clock: Clock = core.now,
    ) -> None:
        """
        Args:
            database: has the deliveries.
            private: whether addresses inside the network are allowed.
            guard: connects; by default one with the system's resolver.
            poll_seconds: how often it looks for what is due.
            attempt_seconds: how long one attempt may take.
            clock: tells the time; the database's by default.
        """
        self._database = database
        self._resolving = ThreadPoolExecutor(LOOK_UPS, "webhook-names")
        self._guard = guard or Guard(private=private, resolve=partial(system_resolver, threads=self._resolving))
        self._poll_seconds = poll_seconds
        self._attempt_seconds = attempt_seconds
        self._clock = clock
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, "webhook-database")
        self._busy: Counter[str] = Counter()
        """Attempts under way, by webhook."""
        self._failing: set[str] = set()
        """Webhooks whose last attempt from here failed."""
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Verifies certificates. Reading the authorities takes some 20 ms, for which few processes have a use."""
        return httpcore2.default_ssl_context()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Breaks off what is under way and gives it back: another process, or the next start, sends it again."""
        self._stopping = True
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._waken)
            self._thread.join(timeout=STOP_SECONDS)
        self._threads.shutdown(wait=False)
        self._resolving.shutdown(wait=False, cancel_futures=True)

    def send_due(self) -> int:
        """Sends everything that is due now, and returns when it has. Returns the number of attempts. For tests."""
        return asyncio.run(self._drain())

    async def _drain(self) -> int:
        made = 0
        while True:
            made += await self._begin()
            if not self._tasks:
                return made
            await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    def _waken(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _serve(self) -> None:
        self._wake = asyncio.Event()
        while not self._stopping:
            self._wake.clear()  # before it looks, so that whatever ends meanwhile wakes it
            pause = self._poll_seconds
            try:
                begun = await self._begin()
            except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
                begun, pause = 0, max(pause, AWAY_SECONDS)
                log.warning("webhooks.deferred", error=str(error), kind=type(error).__name__)
            if not begun and not self._stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        await self._break_off()

    async def _begin(self) -> int:
        """Claims what is due and begins to send it. Returns how many attempts that are."""
        if len(self._tasks) >= MOST:
            return 0
        claimed, stamp = await self._in_thread(self._claim)
        for one in claimed:
            self._busy[one.webhook_id] += 1
            task = asyncio.create_task(self._send(one, stamp // 1000))
            self._tasks[task] = one
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        one = self._tasks.pop(task)
        self._busy[one.webhook_id] -= 1
        if not self._busy[one.webhook_id]:
            del self._busy[one.webhook_id]
        self._waken()

    def _may_take(self, webhook_id: str) -> int:
        """How many further attempts for a webhook may begin."""
        return (1 if webhook_id in self._failing else OF_ONE) - self._busy[webhook_id]

    def _claim(self) -> tuple[list[Claimed], int]:
        room = MOST - len(self._tasks)
        full = [id_ for id_ in list(self._busy) if self._may_take(id_) <= 0]
        with self._database.read(SERVICE) as session:
            now = self._clock(session)
            due = delivery_queue.due_webhooks(session, now, full, room)
        claimed: list[Claimed] = []
        if due:
            _ = self._tls  # made here, and not on the event loop
            with self._database.write(SERVICE) as session:
                for webhook_id in due:
                    most = min(self._may_take(webhook_id), room - len(claimed))
                    if most > 0:
                        claimed += delivery_queue.claim(session, webhook_id, now, most)
        return claimed, now

    async def _send(self, one: Claimed, timestamp: int) -> None:
        outcome = await attempt(one, timestamp, self._guard, self._tls, self._attempt_seconds)
        if outcome.reason is None:
            self._failing.discard(one.webhook_id)
        else:
            self._failing.add(one.webhook_id)
        try:
            await self._in_thread(partial(self._conclude, one, outcome))
        except Exception as error:  # noqa: BLE001  (it falls due again, and is sent again)
            log.warning("webhooks.deferred", error=str(error), kind=type(error).__name__)

    def _conclude(self, one: Claimed, outcome: Outcome) -> None:
        with self._database.write(SERVICE) as session:
            status = delivery_queue.conclude(session, one, outcome, self._clock(session))
        log.info(
            "webhook.attempt",
            webhook=one.webhook_id,
            delivery=one.id,
            type=one.event,
            status=status,
            response=outcome.response_status,
            reason=outcome.reason,
        )

    async def _break_off(self) -> None:
        left = list(self._tasks.items())
        for task, _ in left:
            task.cancel()
        await asyncio.gather(*(task for task, _ in left), return_exceptions=True)
        claimed = [one for task, one in left if task.cancelled()]
        if claimed:
            await self._in_thread(partial(self._release, claimed))

    def _release(self, claimed: list[Claimed]) -> None:
        with self._database.write(SERVICE) as session:
            delivery_queue.release(session, claimed, self._clock(session))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
