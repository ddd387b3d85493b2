"""Writes the messages of one attempt to the database, in transactions that check the fence first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs.access.scope import OwnTransaction
from jobs.errors import FenceLost, StoreError
from jobs.repository import attempts, core, datasets, models
from jobs.repository.attempts import Claim, Mark, NewArtifact, Stored
from jobs.states import Status
from jobs.system_metrics import Sample, points_of
from jobs.tables import Job
from worker import protocol
from worker.context import WorkerContext
from worker.handed_over import opened
from worker.handle import Way
from worker.judgement import Conclusion
from worker.transfers import Transfer, Transfers

TAIL_CHARACTERS = 8 * 1024
"""End of the log that is kept with an error."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Copy:
    """A file of the attempt and its copy in the artifact store."""

    path: Path
    transfer: Transfer[Stored]


@dataclass
class Batch:
    """What the next transaction writes."""

    points: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    checkpoint: tuple[protocol.CheckpointSaved, Copy] | None = None
    """The newest checkpoint that is in the store."""
    log: str = ""
    progress: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return any((self.points, self.events, self.checkpoint, self.log, self.progress, self.environment))


class AttemptWriter:
    """Turns messages into rows. `absorb` adds them to the pending batch, and `flush` commits the whole batch.

    If the database is away, the batch stays as it was for the next flush. If the connection broke at the commit, the
    next flush first finds out whether the commit took place.
    """

    def __init__(self, context: WorkerContext, claim: Claim, transfers: Transfers, workdir: Path) -> None:
        self._context = context
        self._claim = claim
        self._transfers = transfers
        self._workdir = workdir
        self._pending = Batch()
        self._sent: Batch | None = None
        """The batch of a transaction that is not known to be committed."""
        self._doubt: Mark | None = None
        """What that transaction leaves on the job's row, if it got as far as its commit."""
        self._concluding = False
        self._copies: dict[str, Copy] = {}
        self._checkpoints: list[tuple[protocol.CheckpointSaved, Copy]] = []
        self._log_room = 0
        self._cursor: dict[str, int] = {}
        self._progress: dict[str, Any] = {}
        self._began = 0
        """When the job first began, in milliseconds since 1970."""
        self._samples: list[dict[str, Any]] = []
        self.way: Way = "spawned"
        """How the process was started, once it is."""
        self.tail = ""
        self.started = False
        """Whether the training has sent a message (log text does not count)."""
        self.outcome: protocol.Outcome | None = None
        self.artifacts: list[tuple[protocol.ArtifactReady, Copy]] = []
        self.model: tuple[protocol.ModelReady, Copy] | None = None
        self.dataset: tuple[protocol.DatasetReady, Copy] | None = None

    def begin(self) -> None:
        """Reads how far earlier attempts got."""
        with self._context.database.read(self._claim.project) as session:
            self._cursor = attempts.metric_cursor(session, self._claim.job_id)
            job = session.get_one(Job, self._claim.job_id)
            self._log_room = self._context.settings.max_log_bytes - job.log_bytes
            self._progress = dict(job.progress or {})
            self._began = job.started_at or 0
        if self._progress:  # of an earlier attempt; the first is known to be starting while it has none
            self._advance({"phase": "starting"})

    def absorb(self, items: Sequence[protocol.Message | str]) -> None:
        """Adds messages and log text (strings) to the batch, and has the files that they name copied to the store."""
        for item in items:
            self.started = self.started or not isinstance(item, str)
            if isinstance(item, str):
                self._absorb_log(item)
            elif isinstance(item, protocol.Metrics):
                self._absorb_points(item.points)
            elif isinstance(item, protocol.Progress):
                self._advance(item.progress)
            elif isinstance(item, protocol.Environment):
                self._pending.environment = item.environment | {
                    "process": self.way,
                    "isolation": self._context.isolation.kind,
                }
            elif isinstance(item, protocol.Note):
                self.event(item.event, item.message, item.data)
            elif isinstance(item, protocol.CheckpointSaved):
                self._save(item)
            elif isinstance(item, protocol.ArtifactReady):
                self.artifacts.append((item, self._copy(item.path)))
            elif isinstance(item, protocol.ModelReady):
                self.model = (item, self._copy(item.path))
            elif isinstance(item, protocol.DatasetReady):
                self.dataset = (item, self._copy(item.path))
            else:
                self.outcome = self._without_folders(item)

    def sampled(self, samples: Sequence[Sample]) -> None:
        """Adds what the job used. It goes with the next transaction and makes none due by itself."""
        for sample in samples:
            self._samples += points_of(sample, self._began)

    def _advance(self, changed: dict[str, Any]) -> None:
        self._progress = self._progress | changed
        self._pending.progress = self._progress

    def event(self, type_: str, message: str, data: dict[str, Any] | None = None) -> None:
        self._pending.events.append({"type": type_, "message": message, "data": data})

    def _copy(self, path: str) -> Copy:
        """Has a file copied to the store. A file that is named twice is copied once."""
        if path not in self._copies:
            transfer = self._transfers.add(partial(self._put, Path(path)))
            self._copies[path] = Copy(Path(path), transfer)
        return self._copies[path]

    def _without_folders(self, outcome: protocol.Outcome) -> protocol.Outcome:
        """Where the data folder lies on this machine is not a user's business."""
        if isinstance(outcome, protocol.Done):
            return outcome
        said = outcome.message.replace(f"{self._context.settings.data_dir.resolve()}/", "")
        return outcome.model_copy(update={"message": said})

    def _put(self, path: Path) -> Stored:
        """Stores a copy of a file that the child has named."""
        with opened(path, self._workdir) as file:
            return self._context.store.put_file(file)

    def _save(self, saved: protocol.CheckpointSaved) -> None:
        """Has a checkpoint copied to the store, in place of older ones that still wait or fail."""
        for _, older in self._checkpoints:
            older.transfer.cancel()
        copy = Copy(Path(saved.path), self._transfers.add(partial(self._put, Path(saved.path))))
        self._checkpoints.append((saved, copy))

    def _collect(self) -> None:
        """Adds the checkpoints that are in the store by now to the pending batch."""
        waiting = []
        for saved, copy in self._checkpoints:
            if not copy.transfer.done:
                if not copy.transfer.cancelled or not self._transfers.idle:
                    waiting.append((saved, copy))
            elif copy.transfer.error is None:
                self._pending.checkpoint = (saved, copy)
                self.event(
                    "checkpoint", f"Checkpoint at step {saved.step}.", {"step": saved.step, "epoch": saved.epoch}
                )
            elif not isinstance(
                copy.transfer.error, FileNotFoundError
            ):  # the training has removed it: a newer one follows
                log.warning("checkpoint.not_stored", job=self._claim.job_id, error=str(copy.transfer.error))
        self._checkpoints = waiting

    def _absorb_points(self, points: Sequence[protocol.Point]) -> None:
        """Adds points, without those that an earlier attempt wrote: a resumed training repeats the steps since its
        checkpoint."""
        for point in points:
            if point.step > self._cursor.get(point.name, -1):
                self._cursor[point.name] = point.step
                self._pending.points.append(point.model_dump())

    def _absorb_log(self, text: str) -> None:
        self.tail = (self.tail + text)[-TAIL_CHARACTERS:]
        if self._log_room <= 0:
            return
        self._log_room -= len(text.encode())
        if self._log_room <= 0:
            text += f"\n[log ends here: it is longer than {self._context.settings.max_log_bytes} bytes]\n"
        self._pending.log += text

    def flush(self) -> Status:
        """Commits what is pending and renews the lease. Returns the job's status, by which users ask it to stop.

        Raises:
            FenceLost: the job has another owner.
        """
        self._collect()
        self._pending.points += self._samples
        self._samples = []
        if self._sent is not None:
            status = self._commit()
            if not self._pending:
                return status
        elif not self._pending:
            return self.renew()
        self._sent, self._pending = self._pending, Batch()
        return self._commit()

    def _commit(self) -> Status:
        batch = self._sent
        if batch is None:
            raise RuntimeError("there is nothing to commit")
        self._refresh(batch)
        dropped: list[str] = []
        doubt, self._doubt = self._doubt, None
        mark: Mark | None = None
        try:
            # The row is locked, so that its changes can wait for the commit and take one UPDATE.
            with self._context.database.write(self._claim.project) as session, session.no_autoflush:
                if doubt is not None and attempts.landed(session, self._claim, doubt):
                    self._sent = batch = Batch()  # it was committed
                job = attempts.lock(session, self._claim, self._context.lease_ms)
                dropped = self._write(session, job, batch)
                status = Status(job.status)
                mark = attempts.mark_of(job)
        except SQLAlchemyError:
            # Without a mark the transaction failed before its commit, and the one before it is still in doubt.
            self._doubt = mark or doubt
            raise
        self._context.stats.count("lease_renewals")
        self._sent = None
        self._settle(batch, dropped)
        return status

    def renew(self) -> Status:
        with self._context.database.write(self._claim.project) as session:
            status = Status(attempts.lock(session, self._claim, self._context.lease_ms).status)
        self._context.stats.count("lease_renewals")
        return status

    def asked(self) -> Status:
        """The job's status, read without a write."""
        with self._context.database.read(self._claim.project) as session:
            return attempts.status(session, self._claim)

    def drop(self) -> None:
        """Drops what could not be written."""
        self._pending, self._sent, self._doubt, self._samples = Batch(), None, None, []

    @property
    def stuck(self) -> bool:
        """Whether the last transaction failed. Nothing more is absorbed until it has been repeated."""
        return self._sent is not None

    @property
    def pending(self) -> bool:
        self._collect()
        return bool(self._pending) or self._sent is not None

    def _write(self, session: OwnTransaction, job: Job, batch: Batch) -> list[str]:
        """Writes the whole batch. Returns the sha256 of checkpoints that are no longer kept."""
        attempts.add_metrics(session, job, batch.points)
        core.append_events(session, job, batch.events)
        if batch.log:
            attempts.add_log(session, job, batch.log)
        if batch.progress is not None:
            job.progress = batch.progress
        if batch.environment is not None:
            job.environment = batch.environment
            attempts.freeze(job, batch.environment)
        if batch.checkpoint is None:
            return []
        saved, copy = batch.checkpoint
        keep = int((self._claim.spec.get("checkpoint") or {}).get("keep", 1))
        dropped = attempts.add_checkpoint(session, job, saved.step, copy.transfer.result, keep)
        attempts.hold_to_storage(session, job)
        return dropped

    def _refresh(self, batch: Batch) -> None:
        """Before a transaction: makes a copy again that waited so long that it may have been removed as garbage."""
        if batch.checkpoint is not None:
            self._ensure(batch.checkpoint[1])

    def _ensure(self, copy: Copy) -> None:
        if time.monotonic() - copy.transfer.done_at < self._context.store.grace / 4:
            return
        self._context.store.ensure(copy.transfer.result, partial(self._put, copy.path))
        copy.transfer.done_at = time.monotonic()

    def _settle(self, batch: Batch, dropped: Sequence[str]) -> None:
        """After the commit: stores the blob again if this process was stopped so long that it was removed; discards old
        ones."""
        copies = [batch.checkpoint[1]] if batch.checkpoint else []
        try:
            for copy in copies:
                self._ensure(copy)
            if dropped:
                self._context.store.discard(self._context.database, dropped)
        except (StoreError, OSError, SQLAlchemyError) as error:
            log.warning("store.not_tidied", job=self._claim.job_id, error=str(error))  # the garbage collection will

    def unpublished(self) -> str | None:
        """Why the result cannot be published; None if it can."""
        copies = [copy for _, copy in self.artifacts]
        copies += [found[1] for found in (self.model, self.dataset) if found is not None]
        for copy in copies:
            if copy.transfer.error is not None:
                return f"The result {copy.path.name} cannot be stored: {copy.transfer.error}"
        return None

    def _published(self, end: Conclusion) -> list[tuple[protocol.ArtifactReady, Copy]]:
        """The files to publish: all of a result, or the stored ones of a training that reported its own failure."""
        if end.result is not None:
            return self.artifacts
        if end.error is None or end.unstorable or not isinstance(self.outcome, protocol.Failed):
            return []
        return [(m, copy) for m, copy in self.artifacts if copy.transfer.done and copy.transfer.error is None]

    def conclude(self, end: Conclusion, log_file: Copy | None) -> Status:
        """The attempt's last transaction: artifacts, model and final state, all or nothing. Call `flush` before."""
        files = self._published(end)
        published = [copy for _, copy in files]
        if end.result is not None and self.dataset is not None:
            published.append(self.dataset[1])
        spent: list[str] = []
        kept_log = log_file if log_file and log_file.transfer.done and not log_file.transfer.error else None
        for copy in [*published, *([kept_log] if kept_log else [])]:
            self._ensure(copy)
        try:
            with self._context.database.write(self._claim.project) as session:
                job = attempts.lock(session, self._claim, self._context.lease_ms)
                asked = Status(job.status)
                new = [NewArtifact(m.name, m.kind, m.media_type, copy.transfer.result) for m, copy in files]
                attempts.add_artifacts(session, job, new)
                if end.result is not None:
                    self._publish(session, job, end.result)
                if kept_log is not None:
                    stored = kept_log.transfer.result
                    attempts.add_artifacts(session, job, [attempts.log_artifact(stored)])
                cause = end.apply(session, job, asked, self.tail)
                spent = self._close_ingest(session, job)
                status = Status(job.status)
                self._concluding = True
        except FenceLost:
            status = self._concluded()
        else:
            self._context.stats.attempt_ended(cause)
        try:
            for copy in published:
                self._ensure(copy)
            if spent:
                self._context.store.discard(self._context.database, spent)
        except (StoreError, OSError, SQLAlchemyError) as error:
            log.warning("store.not_tidied", job=self._claim.job_id, error=str(error))
        return status

    def _close_ingest(self, session: OwnTransaction, job: Job) -> list[str]:
        """Records why a dataset has failed. Returns the sha256 of the upload once it is no longer needed."""
        if job.kind != "ingest" or not Status(job.status).final:
            return []
        id_ = self._claim.spec["dataset_id"]
        if isinstance(self.outcome, protocol.Failed):
            datasets.explain(session, id_, self.outcome.problems)
        return [datasets.get(session, id_).source_sha256]

    def _concluded(self) -> Status:
        """The job's status if an earlier `conclude` was committed although its connection broke. Raises FenceLost if
        not."""
        with self._context.database.read(self._claim.project) as session:
            cause = attempts.cause_of(session, self._claim) if self._concluding else None
            if cause is None:
                raise FenceLost(f"Attempt {self._claim.attempt} of {self._claim.job_id} no longer owns the job.")
            self._context.stats.attempt_ended(cause)
            return Status(session.get_one(Job, self._claim.job_id).status)

    def _publish(self, session: OwnTransaction, job: Job, result: dict[str, Any]) -> None:
        job.result = result
        if self.dataset is not None:
            ready, copy = self.dataset
            id_, stored = self._claim.spec["dataset_id"], copy.transfer.result
            datasets.ready(session, id_, stored, ready.info, ready.notes, ready.format)
        if self.model is not None:
            message, copy = self.model
            model = models.new_model(
                message.manifest,
                copy.transfer.result,
                source="trained",
                job_id=job.id,
                metrics=message.metrics,
                format="adder" if job.kind == "quantize" else "safetensors",
                derived_from=job.spec["model_id"] if job.kind == "quantize" else None,
            )
            attempts.publish_model(session, job, model)
