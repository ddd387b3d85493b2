"""Runs one claimed job: spawns its training process, writes what it says under the fence, and sees that it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from addercore.errors import AdderError
from jobs.errors import FenceLost, JobsError, StoreError
from jobs.repository import attempts, catalog, history
from jobs.repository.attempts import Claim
from jobs.states import FailureCode, Status
from jobs.store import remove_if_empty, remove_tree
from worker import protocol
from worker.attempt import AttemptWriter, Conclusion
from worker.context import WorkerContext
from worker.process import ChildProcess
from worker.spool import Spool

SPOOL_ITEMS = 10_000
"""Messages and pieces of log kept while the database is away; then the training waits."""
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
LONGEST_RETRY_SECONDS = 10

log = structlog.get_logger()


class Supervisor:
    def __init__(self, context: WorkerContext, claim: Claim) -> None:
        self._context = context
        self._settings = context.settings
        self._claim = claim
        self._writer = AttemptWriter(context, claim)
        self._spool: Spool[protocol.Message | str] = Spool(SPOOL_ITEMS)
        self._ended = threading.Event()
        self._workdir = self._settings.work_dir.resolve() / claim.job_id / f"{claim.attempt}-{claim.fence}"
        self._protocol_error = ""
        self._stop_sent: float | None = None
        self._timed_out = False
        self._final = False
        self._log = log.bind(job=claim.job_id, attempt=claim.attempt, fence=claim.fence)

    def run(self) -> None:
        """Returns when the job has ended, was handed back, or belongs to somebody else."""
        self._log.info("attempt.started", kind=self._claim.kind)
        child: ChildProcess | None = None
        try:
            try:
                self._writer.begin()
                child = self._spawn(self._prepare())
            except (JobsError, AdderError) as error:
                end = Conclusion(error=(FailureCode.BAD_DATA, str(error)))
            except OSError as error:
                end = Conclusion(fault=f"The attempt could not be started: {error}.")
            else:
                self._watch(child)
                end = self._judge(child)
            self._conclude(end)
        except FenceLost:
            self._log.warning("attempt.fenced")
        finally:
            self._spool.close()
            if child is not None:
                child.close()
            # Once the job has ended, what attempts left whose workers were killed goes too.
            remove_tree(self._workdir.parent if self._final else self._workdir)
            remove_if_empty(self._workdir.parent)

    def _prepare(self) -> Path:
        """The work folder with the child's orders. Raises JobsError where the spec names something that is gone."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        spec = self._claim.spec
        with self._context.database.read() as session:
            saved = attempts.checkpoints(session, self._claim.job_id)
            model_id = spec.get("model_id") or spec.get("init_from")
            model = catalog.get_model(session, model_id).sha256 if model_id else None
        order = protocol.JobOrder(
            job_id=self._claim.job_id,
            attempt=self._claim.attempt,
            kind=self._claim.kind,
            spec=dict(spec),
            workdir=str(self._workdir),
            datasets_dir=str(self._settings.datasets_dir.resolve()),
            threads=self._context.threads(spec["resources"]["threads"]),
            checkpoints=tuple(str(path) for step, stored in saved if (path := self._fetch(step, stored.sha256))),
            model=str(self._fetch_model(model)) if model else None,
        )
        path = self._workdir / "job.json"
        path.write_text(order.model_dump_json())
        return path

    def _fetch(self, step: int, sha256: str) -> Path | None:
        """A checkpoint's file, or None where the store's copy is missing or corrupt: the one before it serves then."""
        path = self._workdir / f"resume-{step:09d}.ckpt"
        try:
            self._context.store.fetch(sha256, path)
        except StoreError as error:
            self._writer.event("checkpoint_lost", f"The checkpoint of step {step} cannot be used: {error}")
            return None
        return path

    def _fetch_model(self, sha256: str) -> Path:
        path = self._workdir / "source.safetensors"
        self._context.store.fetch(sha256, path)
        return path

    def _spawn(self, order: Path) -> ChildProcess:
        threads = self._context.threads(self._claim.spec["resources"]["threads"])
        return ChildProcess(
            self._settings.child_command,
            order,
            threads=threads,
            on_message=self._receive,
            on_log=self._spool.put,
            on_end=self._ended.set,
        )

    def _receive(self, line: bytes) -> None:
        try:
            self._spool.put(protocol.MESSAGE.validate_json(line))
        except ValidationError as error:
            self._protocol_error = f"{error.errors()[0]['msg']}: {line[:200]!r}"

    def _watch(self, child: ChildProcess) -> None:
        """Until the child has ended and all it said is absorbed: write, renew, stop it when that is asked."""
        started = renewed = written = time.monotonic()
        away = 0.0
        while True:
            ended = self._ended.wait(timeout=away or self._settings.poll_seconds)
            now = time.monotonic()
            try:
                if not away:  # else it stays in the spool, which is bounded
                    self._writer.absorb(self._spool.take())
                due = self._writer.pending and (away or now - written >= self._settings.write_seconds)
                if due or now - renewed >= self._settings.renew_seconds:
                    asked, renewed, written = self._writer.flush(), now, now
                else:
                    asked = self._writer.asked()
                away = 0.0
            except DATABASE_AWAY as error:
                away = min(max(2 * away, self._settings.poll_seconds), LONGEST_RETRY_SECONDS)
                self._log.warning("database.away", error=str(error.__cause__ or error), retry_seconds=away)
                asked = None
                if ended:
                    return  # _conclude waits for the database
            except SQLAlchemyError:
                child.kill()  # what it says cannot be stored; _conclude meets the same error and says so
                self._ended.wait()
                return
            if ended:
                return
            self._steer(child, asked, now, now - started)

    def _steer(self, child: ChildProcess, asked: Status | None, now: float, seconds: float) -> None:
        limit = self._claim.spec["limits"]["max_seconds"]
        if limit is not None and seconds > limit and not self._timed_out:
            self._timed_out = True
        wanted = self._timed_out or self._context.draining.is_set() or asked not in (Status.RUNNING, None)
        if not wanted:
            return
        if self._stop_sent is None:
            self._log.info("attempt.stopping", asked=asked, timed_out=self._timed_out)
            self._stop_sent = now
            child.terminate()
        elif now - self._stop_sent > self._settings.cancel_grace_seconds:
            child.kill()

    def _judge(self, child: ChildProcess) -> Conclusion:
        """Why the child ended."""
        self._writer.absorb(self._spool.take())
        outcome, code = self._writer.outcome, child.returncode
        limit = self._claim.spec["limits"]["max_seconds"]
        if isinstance(outcome, protocol.Done):
            return Conclusion(result=outcome.result)
        if isinstance(outcome, protocol.Failed) and outcome.code is FailureCode.WORKER_LOST:
            return Conclusion(fault=f"Attempt {self._claim.attempt} was lost: {outcome.message}")
        if isinstance(outcome, protocol.Failed):
            return Conclusion(error=(outcome.code, outcome.message))
        if self._timed_out:
            return Conclusion(
                error=(FailureCode.TIMED_OUT, f"The job ran longer than limits.max_seconds = {limit:g} s.")
            )
        if isinstance(outcome, protocol.Stopped) or self._stop_sent is not None:
            return Conclusion()
        if child.out_of_memory():
            advice = "The machine ran out of memory. Use a smaller batch_size, or a worker with more memory."
            return Conclusion(error=(FailureCode.OUT_OF_MEMORY, advice))
        if code is not None and -code in KILLED_FROM_OUTSIDE:
            return Conclusion(
                fault=f"Attempt {self._claim.attempt} was lost: signal {-code} ended the training process."
            )
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        said = f" It said something unintelligible: {self._protocol_error}." if self._protocol_error else ""
        return Conclusion(error=(FailureCode.CODE_ERROR, f"The training process crashed with {how}.{said}"))

    def _conclude(self, end: Conclusion) -> None:
        """Writes the end. While the database is away it keeps trying: the result exists only here."""
        delay = self._settings.poll_seconds
        patience = time.monotonic() + self._settings.cancel_grace_seconds
        while True:
            try:
                self._writer.flush()
                self._final = self._writer.conclude(end, self._log_file()).final
                self._log.info("attempt.ended", succeeded=end.result is not None, error=end.error, fault=end.fault)
                return
            except DATABASE_AWAY as error:
                if self._context.draining.is_set() and time.monotonic() > patience:
                    self._log.error("attempt.abandoned", reason="the worker stops and the database is away")
                    return  # the lease runs out; the next owner goes on from the last checkpoint
                self._log.warning("database.away", error=str(error.__cause__ or error), retry_seconds=delay)
                time.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)
            except SQLAlchemyError as error:
                if end.unstorable:
                    raise  # the lease runs out and the reconciler takes over
                self._log.error("attempt.unstorable", exc_info=error)
                self._writer.drop()
                end = Conclusion(
                    error=(FailureCode.CODE_ERROR, "The database refuses what the job produced; see the worker's log."),
                    unstorable=True,
                )

    def _log_file(self) -> Path | None:
        """The whole log of all attempts, as the artifact that stays."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        path = self._workdir / "log.txt"
        with self._context.database.read() as session, path.open("w", encoding="utf-8", newline="") as sink:
            at = 0
            while chunks := history.log_chunks(session, self._claim.job_id, from_byte=at):
                for chunk in chunks:
                    sink.write(chunk.text)
                at = chunks[-1].offset + 1
        return path


KILLED_FROM_OUTSIDE = (1, 2, 9, 15)
"""HUP, INT, KILL, TERM that we did not send: an operator or the system, not the training's own doing."""
