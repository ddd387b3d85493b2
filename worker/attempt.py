"""One attempt's writing: what the child said becomes rows, in transactions that check the fence first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from jobs.repository import attempts, catalog, core
from jobs.repository.attempts import Claim, NewArtifact, Stored
from jobs.states import Status
from jobs.tables import Job
from worker import protocol
from worker.context import WorkerContext

TAIL_BYTES = 8 * 1024


@dataclass
class Batch:
    """What one transaction will write."""

    points: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    checkpoint: protocol.CheckpointSaved | None = None
    """The newest one: those that were saved before it since the last write are superseded."""
    stored: Stored | None = None
    """Its copy in the artifact store, once it is made."""
    log: str = ""
    progress: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return any((self.points, self.events, self.checkpoint, self.log, self.progress, self.environment))


class AttemptWriter:
    """Turns messages into rows. `absorb` sorts them into the pending batch, `flush` commits it, whole or not at all.

    A flush that fails because the database is away leaves the batch as it was, to be tried again.
    """

    def __init__(self, context: WorkerContext, claim: Claim) -> None:
        self._context = context
        self._claim = claim
        self._pending = Batch()
        self._log_room = 0
        self._cursor: dict[str, int] = {}
        self.tail = ""
        self.outcome: protocol.Outcome | None = None
        self.artifacts: list[tuple[protocol.ArtifactReady, Stored]] = []
        self.model: tuple[protocol.ModelReady, Stored] | None = None

    def begin(self) -> None:
        """Reads where earlier attempts ended."""
        with self._context.database.read() as session:
            self._cursor = attempts.metric_cursor(session, self._claim.job_id)
            job = session.get_one(Job, self._claim.job_id)
            self._log_room = self._context.settings.max_log_bytes - job.log_bytes

    def absorb(self, items: Sequence[protocol.Message | str]) -> None:
        """Strings are log text. Results are copied to the store here, before the transaction that names them."""
        for item in items:
            if isinstance(item, str):
                self._absorb_log(item)
            elif isinstance(item, protocol.Metrics):
                self._absorb_points(item.points)
            elif isinstance(item, protocol.Progress):
                self._pending.progress = item.progress
            elif isinstance(item, protocol.Environment):
                self._pending.environment = item.environment
            elif isinstance(item, protocol.Note):
                self.event(item.event, item.message, item.data)
            elif isinstance(item, protocol.CheckpointSaved):
                self._pending.checkpoint, self._pending.stored = item, None
            elif isinstance(item, protocol.ArtifactReady):
                self.artifacts.append((item, self._context.store.put(Path(item.path))))
            elif isinstance(item, protocol.ModelReady):
                self.model = (item, self._context.store.put(Path(item.path)))
            else:
                self.outcome = item

    def event(self, type_: str, message: str, data: dict[str, Any] | None = None) -> None:
        self._pending.events.append({"type": type_, "message": message, "data": data})

    def _absorb_points(self, points: Sequence[protocol.Point]) -> None:
        """Drops what an earlier attempt has written already: a resumed training repeats steps since its checkpoint."""
        for point in points:
            if point.step > self._cursor.get(point.name, -1):
                self._cursor[point.name] = point.step
                self._pending.points.append(point.model_dump())

    def _absorb_log(self, text: str) -> None:
        self.tail = (self.tail + text)[-TAIL_BYTES:]
        if self._log_room <= 0:
            return
        self._log_room -= len(text.encode())
        if self._log_room <= 0:
            text += f"\n[log ends here: it is longer than {self._context.settings.max_log_bytes} bytes]\n"
        self._pending.log += text

    def _store_checkpoint(self) -> None:
        """Copies the pending checkpoint to the store, before the transaction that names it."""
        batch = self._pending
        if batch.checkpoint is None or batch.stored is not None:
            return
        try:
            batch.stored = self._context.store.put(Path(batch.checkpoint.path))
        except FileNotFoundError:
            batch.checkpoint = None  # pruned by the child meanwhile: a newer one follows
            return
        where = {"step": batch.checkpoint.step, "epoch": batch.checkpoint.epoch}
        self.event("checkpoint", f"Checkpoint at step {batch.checkpoint.step}.", where)

    def flush(self) -> Status:
        """Commits the pending batch and renews the lease. Returns what is asked of the attempt. Raises FenceLost."""
        if not self._pending:
            return self.renew()
        self._store_checkpoint()
        batch = self._pending
        dropped: list[str] = []
        # The row is locked: its changes can wait for the commit and go in one UPDATE.
        with self._context.database.write() as session, session.no_autoflush:
            job = attempts.lock(session, self._claim, self._context.lease_ms)
            dropped = self._write(session, job, batch)
            status = Status(job.status)
        self._pending = Batch()
        self._settle(batch, dropped)
        return status

    def renew(self) -> Status:
        with self._context.database.write() as session:
            return Status(attempts.lock(session, self._claim, self._context.lease_ms).status)

    def asked(self) -> Status:
        """What is asked of the attempt, without a write."""
        with self._context.database.read() as session:
            return attempts.status(session, self._claim)

    def drop(self) -> None:
        """Forgets what could not be written."""
        self._pending = Batch()

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    def _write(self, session: Session, job: Job, batch: Batch) -> list[str]:
        """Everything the batch holds. Returns the checkpoints that fell out."""
        attempts.add_metrics(session, job, batch.points)
        core.append_events(session, job, batch.events)
        if batch.log:
            attempts.add_log(session, job, batch.log)
        if batch.progress is not None:
            job.progress = batch.progress
        if batch.environment is not None:
            job.environment = batch.environment
        if batch.checkpoint is None or batch.stored is None:
            return []
        keep = int((self._claim.spec.get("checkpoint") or {}).get("keep", 1))
        return attempts.add_checkpoint(session, job, batch.checkpoint.step, batch.stored, keep)

    def _settle(self, batch: Batch, dropped: list[str]) -> None:
        if batch.checkpoint is not None and batch.stored is not None and Path(batch.checkpoint.path).exists():
            self._context.store.ensure(batch.stored, Path(batch.checkpoint.path))
        if dropped:
            self._context.store.discard(self._context.database, dropped)

    def conclude(self, end: Conclusion, log_text: Path | None) -> Status:
        """The attempt's last transaction: rest of the batch, artifacts, model, final state; all of it or nothing."""
        self._store_checkpoint()
        batch = self._pending
        log = self._context.store.put(log_text) if log_text else None
        with self._context.database.write() as session:
            job = attempts.lock(session, self._claim, self._context.lease_ms)
            dropped = self._write(session, job, batch)
            asked = Status(job.status)
            if end.result is not None:
                self._publish(session, job, end.result)
            if log is not None:
                attempts.add_artifacts(session, job, [NewArtifact("log.txt", "log", "text/plain; charset=utf-8", log)])
            end.apply(session, job, asked, self.tail)
            status = Status(job.status)
        self._pending = Batch()
        self._settle(batch, dropped)
        for message, stored in self.artifacts:
            self._context.store.ensure(stored, Path(message.path))
        return status

    def _publish(self, session: Session, job: Job, result: dict[str, Any]) -> None:
        job.result = result
        attempts.add_artifacts(
            session, job, [NewArtifact(m.name, m.kind, m.media_type, stored) for m, stored in self.artifacts]
        )
        if self.model is not None:
            message, stored = self.model
            model = catalog.new_model(
                message.manifest, stored, source="trained", job_id=job.id, metrics=message.metrics
            )
            attempts.publish_model(session, job, model)


@dataclass(frozen=True)
class Conclusion:
    """How an attempt ended, before what was asked of it meanwhile is weighed in (under the lock)."""

    result: dict[str, Any] | None = None
    """The job is done."""
    error: tuple[str, str] | None = None
    """`(code, sentence)`: a failure of the job's own making."""
    fault: str | None = None
    """A sentence: something outside the job ended the attempt; it is tried again."""
    unstorable: bool = False
    """The database refused the first conclusion; this one holds nothing but the failure."""

    def apply(self, session: Session, job: Job, asked: Status, tail: str) -> None:
        if self.result is not None:
            attempts.finish(session, job, Status.SUCCEEDED, "Succeeded.")
        elif asked is Status.CANCELLING:
            attempts.finish(session, job, Status.CANCELLED, "Cancelled; what was computed so far is kept.")
        elif self.error is not None:
            code, message = self.error
            attempts.finish(session, job, Status.FAILED, message, {"code": code, "message": message, "log_tail": tail})
        elif self.fault is not None:
            attempts.fault(session, job, self.fault, tail)
        elif asked is Status.PAUSING:
            attempts.hand_back(session, job, Status.PAUSED, "Paused.")
        else:
            attempts.hand_back(session, job, Status.QUEUED, "Handed back by a worker that stops; queued again.")
