"""Periodic work of a worker: heartbeat, jobs without a message, jobs of lost workers, unsent wake-ups, sweeps.

Any number of workers may do it side by side. Each step is a conditional write, or does no harm when it is done twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs.access.scope import SERVICE
from jobs.repository import core, recovery, workers
from jobs.repository.attempts import Claim
from jobs.retention import GarbageCollector
from jobs.scheduling import Rules
from jobs.sweeps.driver import Driver
from jobs.wakeups import Relay
from worker.app import claim_next, run_available, run_claimed
from worker.context import WorkerContext

FORGET_AFTER_LEASES = 10
TICK_SECONDS = 1.0
"""How often a worker checks whether it was asked to drain."""

log = structlog.get_logger()


class Watch:
    """Whether this worker has seen the database for a whole lease without a gap.

    Only then is a job's owner gone that has not renewed its lease. A gap in the database's own time counts too: its
    host may have been suspended, or a standby with another clock may have taken over, and then every lease may seem
    expired.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._since: float | None = None
        self._seen = 0.0
        self._database_seen = 0.0

    def saw(self, database_ms: int) -> bool:
        """Call it whenever the database has answered, with the time that it gave."""
        now, database_now = time.monotonic(), database_ms / 1000
        gap = max(now - self._seen, abs(database_now - self._database_seen))
        if self._since is None or gap > self._lease / 2:
            self._since = now
        self._seen, self._database_seen = now, database_now
        return now - self._since >= self._lease

    def lost(self) -> None:
        """Call when it did not answer."""
        self._since = None


class Housekeeping:
    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._settings = context.settings
        self._relay = Relay(context.settings, context.database, context.app, self._note_relay_error)
        self.garbage_collector = GarbageCollector(
            context.database, context.store, context.settings, context.stats.garbage_removed
        )
        self._sweeps = Driver(context.database, Rules.of(context.settings))
        self._stopping = threading.Event()
        self._watch = Watch(self._settings.lease_seconds)
        self._unheard: set[tuple[str, int]] = set()
        self._runners: list[threading.Thread] = []
        self._looking = threading.Lock()
        """Held while jobs are claimed and their threads started."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        threading.Thread(target=self._probe, name="probe", daemon=True).start()
        self._context.sampler.start()
        self._relay.start()
        self.garbage_collector.start()
        self._thread.start()

    def stop(self) -> None:
        """Claims nothing more, waits for the attempts that this began, and takes this worker off the list.

        Heartbeats go on until those attempts have ended.
        """
        with self._looking:
            self._closing = True
        for runner in self._runners:  # the list no longer changes
            runner.join()
        self._stopping.set()
        self._context.sampler.stop()
        self._relay.stop()
        self.garbage_collector.stop()
        self._thread.join(timeout=10)
        try:
            with self._context.database.write(SERVICE) as session:
                recovery.forget_worker(session, self._context.id)
        except Exception as error:  # noqa: BLE001  (its heartbeat expires by itself)
            log.warning("worker.not_forgotten", error=str(error))

    def _probe(self) -> None:
        """Finds out what the machine offers, once the template has started, which says so where there is no GPU."""
        template = self._context.template
        while template is not None and not template.settled and not self._stopping.wait(TICK_SECONDS / 10):
            pass
        if not self._context.info and not self._stopping.is_set():
            self._context.probe_machine()

    def _note_relay_error(self, error: Exception) -> None:
        self._context.stats.count("database_errors" if isinstance(error, SQLAlchemyError) else "broker_errors")

    def _run(self) -> None:
        interval = min(self._settings.reconcile_seconds, self._settings.renew_seconds)
        due = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                self._guarded(self.round)
                self._guarded(self.move_sweeps)
            else:
                self._guarded(self.heed_drain)
                if self._context.ended.is_set():
                    self._guarded(self.move_sweeps)
            self._stopping.wait(min(TICK_SECONDS, interval))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
            self._watch.lost()
            self._context.stats.count("database_errors")
            log.warning("housekeeping.deferred", error=str(error), kind=type(error).__name__)

    def heed_drain(self) -> None:
        """Reads whether an operator drains this worker, or has ended that; called every second or two."""
        with self._context.database.read(SERVICE) as session:
            asked = workers.asked_to_drain(session, self._context.id, self._context.drain)
        if asked != self._context.drain:
            log.info("worker.drain", asked=asked, running=len(self._context.running.fences))
            self._context.drain = asked
            if asked is None:
                self.fill_free_slots()

    def round(self) -> None:
        with self._context.database.write(SERVICE) as session:
            recovery.heartbeat(session, self._context.row())
            recovery.forget_dead_workers(session, FORGET_AFTER_LEASES * self._context.lease_ms)
        if self._context.template is not None:
            self._context.template.keep()
        self.heed_drain()
        self.reclaim()
        self.release_unheard()
        self.fill_free_slots()

    def move_sweeps(self) -> None:
        """Moves sweeps on, where a trial has ended: with each round, and soon after an attempt has ended here."""
        self._context.ended.clear()
        self._sweeps.round()

    def reclaim(self) -> list[str]:
        """Queues the jobs of lost workers again, once this worker has seen the database for a whole lease."""
        with self._context.database.write(SERVICE) as session:
            now = core.now(session)
            if not self._watch.saw(now):
                return []
            lost = recovery.reclaim_expired(session, now)
        for job_id in lost:
            log.warning("job.reclaimed", job=job_id)
        return lost

    def release_unheard(self) -> None:
        """Gives back jobs that this worker owns by the database, but that have not run here for two rounds."""
        with self._context.database.read(SERVICE) as session:
            owned = recovery.owned_by(session, self._context.id)
        unheard = owned - self._context.running.fences
        for job_id, fence in unheard & self._unheard:
            with self._context.database.write(SERVICE) as session:
                if recovery.release(session, job_id, fence):
                    log.warning("job.released", job=job_id, fence=fence)
        self._unheard = unheard

    def fill_free_slots(self) -> None:
        """Claims jobs for free slots: the messages of waiting jobs may be lost, or the broker away."""
        with self._looking:
            if self._closing:
                return
            self._runners = [runner for runner in self._runners if runner.is_alive()]
            while (claim := claim_next(self._context)) is not None:
                runner = threading.Thread(target=self._run_on, args=(claim,), name=f"slot-{claim.job_id}")
                self._runners.append(runner)
                runner.start()

    def _run_on(self, claim: Claim) -> None:
        run_claimed(self._context, claim)
        run_available(self._context)
