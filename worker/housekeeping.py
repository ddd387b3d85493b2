"""What a worker does besides training, in one thread: heartbeat, unsent wake-ups, lost messages, lost workers.

Any number of workers may do this side by side: each step is a conditional write, or harmless when it is done twice.
"""

from __future__ import annotations

import threading
import time

import structlog

from jobs.repository import recovery
from jobs.retention import Sweeper
from jobs.wakeups import Relay, send
from worker.context import WorkerContext
from worker.probe import probe

FORGET_AFTER_LEASES = 10

log = structlog.get_logger()


class Housekeeping:
    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._settings = context.settings
        self._relay = Relay(context.settings, context.database, context.app)
        self.sweeper = Sweeper(context.database, context.store, context.settings)
        self._stopping = threading.Event()
        self._watching_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.sweeper.start()
        threading.Thread(target=self._probe, name="probe", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread and takes this worker off the list."""
        self._stopping.set()
        self.sweeper.stop()
        self._thread.join(timeout=10)
        try:
            with self._context.database.write() as session:
                recovery.forget_worker(session, self._context.id)
        except Exception as error:  # noqa: BLE001  (its heartbeat runs out by itself)
            log.warning("worker.not_forgotten", error=str(error))

    def _probe(self) -> None:
        try:
            self._context.info = probe()
        except Exception as error:  # noqa: BLE001  (shown on /v1/system; jobs will say the same when they run)
            log.error("worker.probe_failed", error=str(error))
            self._context.info = {"error": f"torch cannot be loaded: {error}"}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
                self._watching_since = None
                log.warning("housekeeping.deferred", error=str(error), kind=type(error).__name__)
            self._stopping.wait(min(self._settings.reconcile_seconds, self._settings.renew_seconds))

    def round(self) -> None:
        with self._context.database.write() as session:
            recovery.heartbeat(session, self._context.row())
            recovery.forget_dead_workers(session, FORGET_AFTER_LEASES * self._context.lease_ms)
        self.reclaim()
        if self._relay.flush():
            self.rewake()

    def reclaim(self) -> list[str]:
        """Takes jobs from lost workers, once this worker has itself seen the database for a whole lease."""
        now = time.monotonic()
        self._watching_since = self._watching_since or now
        if now - self._watching_since < self._settings.lease_seconds:
            return []
        with self._context.database.write() as session:
            lost = recovery.reclaim_expired(session)
        for job_id in lost:
            log.warning("job.reclaimed", job=job_id)
        return lost

    def rewake(self) -> None:
        """Sends wake-ups for jobs that wait although slots are free: their messages were lost. At most one a slot."""
        with self._context.database.read() as session:
            waiting = recovery.backlog(session, int(self._settings.reconcile_seconds * 1000), self._context.lease_ms)
        for job_id in waiting.jobs[: waiting.free_slots]:
            send(self._context.app, self._settings, job_id)
