"""Retention and garbage collection: what is kept for how long, and what no row names any more.

`docs/backup.md` has the table of rules. Any number of workers may collect garbage side by side. Each step is small:
some jobs for each rule and a few of the store's 256 folders. A transaction locks one finished job, or only reads.
Nothing that a row names is removed, and nothing young.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import ColumnElement, CursorResult, delete, exists, select, tuple_

from jobs import system_metrics
from jobs.access.scope import SERVICE, ServiceTransaction
from jobs.access.tables import SignIn
from jobs.database import Database
from jobs.errors import NotFound
from jobs.files import remove_if_empty, remove_tree
from jobs.lost_logs import keep_logs
from jobs.repository import core, lifecycle, models
from jobs.settings import Settings
from jobs.states import FINAL, OWNED
from jobs.store import ArtifactStore
from jobs.tables import Artifact, Checkpoint, Delivery, Event, IdempotencyKey, Job, LogChunk, Metric

DAY_MS = 86_400_000
BATCH = 20
"""Finished jobs to which one step applies each rule."""
ROWS = 5_000
"""Rows one transaction removes: some 10 ms, in which SQLite's other writers wait."""
FOLDERS = 8
"""How many of the store's 256 folders one step searches for orphans."""
UPLOAD_SECONDS = 86_400.0
"""Age from which an upload that gets no more bytes counts as abandoned."""
WORK_SECONDS = 3_600.0
"""Time since its last change from which a work folder without a running attempt counts as abandoned."""

Removed = Counter[str]
"""What was removed: rows by rule, `jobs`, `blobs`, `uploads`, `work_folders`."""
Cursor = tuple[int, str]
"""Where a rule stands in the finished jobs: `(finished_at, id)` of the last job that it was applied to."""
START: Cursor = (-1, "")

log = structlog.get_logger()


@dataclass(frozen=True)
class Rule:
    """Rows of a job that are removed some days after its end."""

    name: str
    """As in the setting `keep_NAME_days`."""
    table: Any
    key: Any
    """The column by which a job's rows are ordered."""
    names: Sequence[str] = ()
    """Of metrics: only these."""

    def of(self, job_id: Any) -> ColumnElement[bool]:
        """The rows of this job."""
        mine: ColumnElement[bool] = self.table.job_id == job_id
        return mine & self.table.name.in_(self.names) if self.names else mine


RULES = (
    Rule("checkpoints", Checkpoint, Checkpoint.step),
    Rule("logs", LogChunk, LogChunk.offset),
    Rule("artifacts", Artifact, Artifact.name),
    Rule("metrics", Metric, Metric.seq),
    Rule("system_metrics", Metric, Metric.seq, system_metrics.NAMES),
    Rule("events", Event, Event.seq),
)
JOBS = "jobs"


class GarbageCollector:
    """Removes garbage step by step in a thread of its own, as a step may wait for a slow store."""

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        settings: Settings,
        on_removed: Callable[[Removed], None] = lambda removed: None,
    ) -> None:
        """`on_removed` is called with what each step removed."""
        self._on_removed = on_removed
        self._database = database
        self._store = store
        self._settings = settings
        self.totals: Removed = Counter()
        """Since the start."""
        self._cursors: dict[str, Cursor] = {}
        self._folder = random.randrange(256)  # workers begin at different ones
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="garbage-collector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait for a step under way: another worker repeats what it leaves undone."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.sweep_seconds * random.uniform(0.5, 1.5)):
            try:
                self.step()
            except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
                log.warning("garbage_collection.deferred", error=str(error), kind=type(error).__name__)

    def step(self) -> Removed:
        """Applies each rule to a few jobs, then removes leftovers of this machine and of a few of the store's folders.

        At the end it stores the logs of jobs that no attempt ended, as that takes room.
        """
        removed: Removed = Counter()
        try:
            for rule in RULES:
                self._apply(rule, removed)
            self._remove_jobs(removed)
            self._remove_keys(removed)
            self._remove_sign_ins(removed)
            self._remove_deliveries(removed)
            removed["work_folders"] += self._remove_work()
            removed["uploads"] += self._store.clear_incoming(UPLOAD_SECONDS)
            self._remove_orphans(removed)
            keep_logs(self._database, self._store)
        finally:
            removed = +removed
            self.totals += removed
            if removed:
                self._on_removed(removed)
                log.info("swept", **removed)
        return removed

    def _apply(self, rule: Rule, removed: Removed) -> None:
        has_rows = exists().where(rule.of(Job.id))
        for place in self._due(rule.name, has_rows):
            digests: list[str] = []
            removed[rule.name] += self._empty(rule, place[1], digests)
            removed["blobs"] += self._store.discard(self._database, digests)
            self._cursors[rule.name] = place
            log.info("retention.removed", what=rule.name, job=place[1])

    def _remove_jobs(self, removed: Removed) -> None:
        for place in self._due(JOBS):
            for rule in RULES:
                if rule.table not in (Artifact, Checkpoint):  # whose blobs `delete_job` knows
                    removed[rule.name] += self._empty(rule, place[1], [])
            with suppress(NotFound):  # somebody deleted it
                with self._database.write(SERVICE) as session:
                    digests = lifecycle.delete_job(session, place[1])
                removed[JOBS] += 1
                removed["blobs"] += self._store.discard(self._database, digests)
                log.info("retention.removed", what=JOBS, job=place[1])
            self._cursors[JOBS] = place

    def _due(self, name: str, *conditions: Any) -> Sequence[Cursor]:
        """The next jobs that ended longer ago than the rule's days, oldest first.

        The cursor only moves forward: a finished job gets no more rows.
        """
        with self._database.read(SERVICE) as session:
            before = self._before(session, name)
            if before is None:
                return ()
            ended, id_ = self._cursors.get(name, START)
            after = (Job.finished_at > ended) | ((Job.finished_at == ended) & (Job.id > id_))
            query = select(Job.finished_at, Job.id).where(Job.finished_at < before, Job.finished_at >= ended, after)
            rows = session.execute(query.where(*conditions).order_by(Job.finished_at, Job.id).limit(BATCH)).all()
            found: list[Cursor] = [(row[0] or 0, row[1]) for row in rows]
        if not found:
            self._cursors[name] = max(self._cursors.get(name, START), (before - 1, ""))
        return found

    def _before(self, session: ServiceTransaction, name: str) -> int | None:
        """The time in ms before which a job must have ended for the rule to apply; None: the rule keeps for ever."""
        days = getattr(self._settings, f"keep_{name}_days")
        return None if days is None else core.now(session) - int(days * DAY_MS)

    def _empty(self, rule: Rule, job_id: str, digests: list[str]) -> int:
        """Removes a finished job's rows, some at a time, and adds the blobs that they named to `digests`.

        Returns:
            The number of rows.
        """
        removed = 0
        with suppress(NotFound):
            while True:
                with self._database.write(SERVICE) as session:
                    if core.lock_job(session, job_id).status not in FINAL:
                        return removed
                    mine = rule.of(job_id)
                    last = select(rule.key).where(mine).order_by(rule.key).offset(ROWS - 1).limit(1)
                    bound = session.execute(last).scalar_one_or_none()
                    part = mine if bound is None else mine & (rule.key <= bound)
                    if rule.table in (Artifact, Checkpoint):
                        digests += session.execute(select(rule.table.sha256).where(part)).scalars()
                    removed += _delete(session, rule.table, part)
                    if bound is None:
                        return removed
        return removed

    def _remove_keys(self, removed: Removed) -> None:
        with self._database.read(SERVICE) as session:
            before = self._before(session, "idempotency_keys")
            if before is None:
                return
            query = select(IdempotencyKey.project_id, IdempotencyKey.key).where(IdempotencyKey.created_at < before)
            keys = [tuple(row) for row in session.execute(query.limit(BATCH * 10))]
        if keys:
            with self._database.write(SERVICE) as session:
                removed["idempotency_keys"] += _delete(
                    session, IdempotencyKey, tuple_(IdempotencyKey.project_id, IdempotencyKey.key).in_(keys)
                )

    def _remove_sign_ins(self, removed: Removed) -> None:
        """Removes what browsers that are signed in no longer have left."""
        with self._database.read(SERVICE) as session:
            ended = SignIn.expires_at < core.now(session)
            if session.execute(select(SignIn.key_id).where(ended).limit(1)).first() is None:
                return
        with self._database.write(SERVICE) as session:
            removed["sign_ins"] += _delete(session, SignIn, SignIn.expires_at < core.now(session))

    def _remove_deliveries(self, removed: Removed) -> None:
        """Removes what has been sent to webhooks, or was given up. What waits has no end yet, and is kept."""
        with self._database.read(SERVICE) as session:
            before = self._before(session, "deliveries")
            if before is None:
                return
            query = select(Delivery.id).where(Delivery.finished_at < before).order_by(Delivery.finished_at)
            ids = session.execute(query.limit(BATCH * 10)).scalars().all()
        if ids:
            with self._database.write(SERVICE) as session:  # sent again meanwhile, one has no end any more
                old = Delivery.id.in_(ids) & (Delivery.finished_at < before)
                removed["deliveries"] += _delete(session, Delivery, old)

    def _remove_orphans(self, removed: Removed) -> None:
        with self._database.read(SERVICE) as session:
            if not models.names_any(session):
                return  # an empty database is more likely not the one that this store belongs to
        for _ in range(FOLDERS):
            age = self._settings.orphan_hours * 3600
            removed["blobs"] += self._store.collect_orphans(self._database, f"{self._folder:02x}", age)
            self._folder = (self._folder + 1) % 256

    def _remove_work(self) -> int:
        """Removes work folders `JOB/ATTEMPT-FENCE` whose attempt no longer owns its job, once nothing in them changes.

        Returns:
            The number of folders.
        """
        removed = 0
        for folder in self._settings.work_dir.glob("*/*-*"):
            with suppress(FileNotFoundError):  # its supervisor removes it at the same time
                if time.time() - _last_change(folder) < WORK_SECONDS or self._owned(folder):
                    continue
                remove_tree(folder)
                remove_if_empty(folder.parent)
                log.info("retention.removed", what="work_folders", job=folder.parent.name, attempt=folder.name)
                removed += 1
        return removed

    def _owned(self, folder: Path) -> bool:
        with self._database.read(SERVICE) as session:
            job = session.get(Job, folder.parent.name)
            return job is not None and job.status in OWNED and folder.name == f"{job.attempt}-{job.fence}"


def collect_garbage(database: Database, store: ArtifactStore, settings: Settings) -> Removed:
    """Removes all garbage that there is now. Returns what was removed."""
    collector = GarbageCollector(database, store, settings)
    while True:
        before = collector.totals.copy()
        for _ in range(256 // FOLDERS):
            collector.step()
        if collector.totals == before:
            return collector.totals


def _delete(session: ServiceTransaction, table: Any, which: Any) -> int:
    """Deletes rows. Returns their number."""
    return cast(CursorResult[Any], session.execute(delete(table).where(which))).rowcount


def _last_change(folder: Path) -> float:
    """When the folder or anything in it was last changed, in seconds since 1970."""
    latest: float = folder.stat().st_mtime
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            with suppress(FileNotFoundError):
                latest = max(latest, os.lstat(path).st_mtime)
    return latest
