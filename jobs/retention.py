"""House-keeping by rule: what is kept for how long, and what nobody owns any more. `docs/backup.md` has the table.

Any number of workers may do it side by side. Each step is small: some jobs for each rule, a few of the store's 256
folders; each transaction locks one finished job, or only reads. Nothing that a row names is removed, nor what is young.
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
from sqlalchemy import CursorResult, delete, exists, select
from sqlalchemy.orm import Session

from jobs.database import Database
from jobs.errors import NotFound
from jobs.files import remove_if_empty, remove_tree
from jobs.lost_logs import keep_logs
from jobs.repository import catalog, core, lifecycle
from jobs.settings import Settings
from jobs.states import FINAL, OWNED
from jobs.store import ArtifactStore
from jobs.tables import Artifact, Checkpoint, Event, IdempotencyKey, Job, LogChunk, Metric

DAY_MS = 86_400_000
BATCH = 20
"""Finished jobs that one step treats by each rule."""
ROWS = 5_000
"""Rows one transaction removes: some 10 ms, in which SQLite's other writers wait."""
FOLDERS = 8
"""Of the store's 256 that one step looks through for orphans."""
UPLOAD_SECONDS = 86_400.0
"""Age from which an upload that gets no more bytes is left over."""
WORK_SECONDS = 3_600.0
"""Age, by its last change, from which a work folder without a running attempt is left over."""

Swept = Counter[str]
"""What was removed: rows by rule, `jobs`, `blobs`, `uploads`, `work_folders`."""
Place = tuple[int, str]
"""A finished job's place in the order in which the rules come by: `(finished_at, id)`."""
START: Place = (-1, "")

log = structlog.get_logger()


@dataclass(frozen=True)
class Rule:
    """Rows of a job that go some days after its end."""

    name: str
    """As in the setting `keep_NAME_days`."""
    table: Any
    key: Any
    """What orders a job's rows."""


RULES = (
    Rule("checkpoints", Checkpoint, Checkpoint.step),
    Rule("logs", LogChunk, LogChunk.offset),
    Rule("artifacts", Artifact, Artifact.name),
    Rule("metrics", Metric, Metric.seq),
    Rule("events", Event, Event.seq),
)
JOBS = "jobs"


class Sweeper:
    """One worker's share of the house-keeping, in a thread of its own: it may wait for a slow store."""

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        settings: Settings,
        on_swept: Callable[[Swept], None] = lambda swept: None,
    ) -> None:
        """`on_swept` gets what each step removed."""
        self._on_swept = on_swept
        self._database = database
        self._store = store
        self._settings = settings
        self.totals: Swept = Counter()
        """Since the start."""
        self._places: dict[str, Place] = {}
        self._folder = random.randrange(256)  # workers begin at different ones
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: what a step was about is begun again by whoever comes next."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.sweep_seconds * random.uniform(0.5, 1.5)):
            try:
                self.step()
            except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
                log.warning("sweep.deferred", error=str(error), kind=type(error).__name__)

    def step(self) -> Swept:
        """Every rule for a few jobs, leftovers of this machine, orphans in a few of the store's folders.

        At last, as it takes room, the logs of jobs that nobody saw end.
        """
        swept: Swept = Counter()
        try:
            for rule in RULES:
                self._apply(rule, swept)
            self._remove_jobs(swept)
            self._remove_keys(swept)
            swept["work_folders"] += self._remove_work()
            swept["uploads"] += self._store.clear_incoming(UPLOAD_SECONDS)
            self._remove_orphans(swept)
            keep_logs(self._database, self._store)
        finally:
            removed = +swept
            self.totals += removed
            if removed:
                self._on_swept(removed)
                log.info("swept", **removed)
        return removed

    def _apply(self, rule: Rule, swept: Swept) -> None:
        has_rows = exists().where(rule.table.job_id == Job.id)
        for place in self._due(rule.name, has_rows):
            digests: list[str] = []
            swept[rule.name] += self._empty(rule, place[1], digests)
            swept["blobs"] += self._store.discard(self._database, digests)
            self._places[rule.name] = place
            log.info("retention.removed", what=rule.name, job=place[1])

    def _remove_jobs(self, swept: Swept) -> None:
        for place in self._due(JOBS):
            for rule in RULES:
                if rule.table not in (Artifact, Checkpoint):  # whose blobs `delete_job` knows
                    swept[rule.name] += self._empty(rule, place[1], [])
            with suppress(NotFound):  # somebody deleted it
                with self._database.write() as session:
                    digests = lifecycle.delete_job(session, place[1])
                swept[JOBS] += 1
                swept["blobs"] += self._store.discard(self._database, digests)
                log.info("retention.removed", what=JOBS, job=place[1])
            self._places[JOBS] = place

    def _due(self, name: str, *conditions: Any) -> Sequence[Place]:
        """The next jobs whose end is longer ago than the rule's days, oldest first.

        A place is left behind for good: a finished job gets no more rows.
        """
        with self._database.read() as session:
            before = self._before(session, name)
            if before is None:
                return ()
            ended, id_ = self._places.get(name, START)
            after = (Job.finished_at > ended) | ((Job.finished_at == ended) & (Job.id > id_))
            query = select(Job.finished_at, Job.id).where(Job.finished_at < before, Job.finished_at >= ended, after)
            rows = session.execute(query.where(*conditions).order_by(Job.finished_at, Job.id).limit(BATCH)).all()
            found: list[Place] = [(row[0] or 0, row[1]) for row in rows]
        if not found:
            self._places[name] = max(self._places.get(name, START), (before - 1, ""))
        return found

    def _before(self, session: Session, name: str) -> int | None:
        """The time, in ms, before which a rule applies; None: it keeps for ever."""
        days = getattr(self._settings, f"keep_{name}_days")
        return None if days is None else core.now(session) - int(days * DAY_MS)

    def _empty(self, rule: Rule, job_id: str, digests: list[str]) -> int:
        """Removes a finished job's rows, some at a time. Returns their number; what they named goes to `digests`."""
        removed = 0
        with suppress(NotFound):
            while True:
                with self._database.write() as session:
                    if core.lock_job(session, job_id).status not in FINAL:
                        return removed
                    mine = rule.table.job_id == job_id
                    last = select(rule.key).where(mine).order_by(rule.key).offset(ROWS - 1).limit(1)
                    bound = session.execute(last).scalar_one_or_none()
                    part = mine if bound is None else mine & (rule.key <= bound)
                    if rule.table in (Artifact, Checkpoint):
                        digests += session.execute(select(rule.table.sha256).where(part)).scalars()
                    removed += _delete(session, rule.table, part)
                    if bound is None:
                        return removed
        return removed

    def _remove_keys(self, swept: Swept) -> None:
        with self._database.read() as session:
            before = self._before(session, "idempotency_keys")
            if before is None:
                return
            query = select(IdempotencyKey.key).where(IdempotencyKey.created_at < before).limit(BATCH * 10)
            keys = session.execute(query).scalars().all()
        if keys:
            with self._database.write() as session:
                swept["idempotency_keys"] += _delete(session, IdempotencyKey, IdempotencyKey.key.in_(keys))

    def _remove_orphans(self, swept: Swept) -> None:
        with self._database.read() as session:
            if not catalog.names_any(session):
                return  # more likely another database than this store's own
        for _ in range(FOLDERS):
            age = self._settings.orphan_hours * 3600
            swept["blobs"] += self._store.sweep(self._database, f"{self._folder:02x}", age)
            self._folder = (self._folder + 1) % 256

    def _remove_work(self) -> int:
        """Work folders `JOB/ATTEMPT-FENCE` of attempts that own their job no more, once nothing in them changes."""
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
        with self._database.read() as session:
            job = session.get(Job, folder.parent.name)
            return job is not None and job.status in OWNED and folder.name == f"{job.attempt}-{job.fence}"


def sweep(database: Database, store: ArtifactStore, settings: Settings) -> Swept:
    """All that there is to remove now. Returns what was."""
    sweeper = Sweeper(database, store, settings)
    while True:
        before = sweeper.totals.copy()
        for _ in range(256 // FOLDERS):
            sweeper.step()
        if sweeper.totals == before:
            return sweeper.totals


def _delete(session: Session, table: Any, which: Any) -> int:
    """Returns the number of rows."""
    return cast(CursorResult[Any], session.execute(delete(table).where(which))).rowcount


def _last_change(folder: Path) -> float:
    """Of the folder or anything in it, seconds since 1970."""
    latest: float = folder.stat().st_mtime
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            with suppress(FileNotFoundError):
                latest = max(latest, os.lstat(path).st_mtime)
    return latest
