"""Runs one attempt: starts the training process, writes its messages to the database and makes sure that it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from addercore.errors import AdderError
from jobs.environment import backend_of
from jobs.errors import FenceLost, JobsError, StoreError
from jobs.files import remove_if_empty
from jobs.repository import attempts, history
from jobs.repository.attempts import Claim
from jobs.scheduling import devices_of, kind_of, ranks_of
from jobs.states import Cause, FailureCode, Status
from worker import protocol
from worker.attempt import AttemptWriter, Copy
from worker.context import WorkerContext
from worker.inputs import Inputs, inputs_of
from worker.judgement import GIB, Conclusion, Ending, judge
from worker.outage import Abandoned, Outage
from worker.process import ChildProcess
from worker.sampling import Watched
from worker.spool import Spool
from worker.transfers import NO_ROOM, Transfer, Transfers

SPOOL_ITEMS = 10_000
"""Messages and pieces of log that are buffered while the database is away. When the buffer is full, the training
waits."""
SPOOL_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 0.05
"""Pause between two reads of the last messages of a child that has been killed."""
HOLD_SECONDS = 0.2
"""Longest pause between two looks whether a copy or the template is ready."""
STARVED_SECONDS = 60.0
"""How long a training that has used up `resources.memory_gb` may take until its first message."""

log = structlog.get_logger()


class Interrupted(Exception):
    """The attempt ends before its training process has started."""

    def __init__(self, end: Conclusion) -> None:
        super().__init__()
        self.end = end


class Supervisor:
    def __init__(self, context: WorkerContext, claim: Claim) -> None:
        self._context = context
        self._settings = context.settings
        self._claim = claim
        self._wake = threading.Event()
        """Set when the child or a copy has ended."""
        self._transfers = Transfers(self._wake.set)
        self._spool: Spool[protocol.Message | str] = Spool(SPOOL_ITEMS, SPOOL_BYTES)
        self._ended = threading.Event()
        self._workdir = self._settings.work_dir.resolve() / claim.job_id / f"{claim.attempt}-{claim.fence}"
        self._writer = AttemptWriter(context, claim, self._transfers, self._workdir)
        self._protocol_error = ""
        self._heard: set[type[protocol.Message]] = set()
        """Kinds of messages that the child has sent."""
        self._urgent = False
        """Whether what it said is written at once."""
        self._renewed = self._written = time.monotonic()
        self._stop_sent: float | None = None
        self._timed_out = False
        self._starved = False
        self._trouble_told = False
        self._suspension: tuple[Cause, str] | None = None
        self._final = False
        self._samples: Watched | None = None
        """What the process uses, once it runs."""
        self._log = log.bind(job=claim.job_id, attempt=claim.attempt, fence=claim.fence)
        self._outage = Outage(context, self._log)

    def run(self) -> None:
        """Returns once the job has ended, was handed back or belongs to another worker."""
        self._log.info("attempt.started", kind=self._claim.kind, device=self._claim.device)
        with self._context.running.entered(self._claim, self._spool.__len__):
            try:
                self._run()
            except FenceLost:
                self._context.stats.count("lease_lost")
                self._log.warning("attempt.fenced")
            except Abandoned:
                self._log.error("attempt.abandoned", reason="the worker stops and the database is away")
            except Exception:  # noqa: BLE001  (said in the log)
                self._log.exception("attempt.abandoned")  # the lease runs out and the reconciler takes over
            finally:
                self._spool.close()
                self._transfers.close()
                # Once the job has ended, also remove what earlier attempts left whose workers were killed.
                self._context.isolation.remove(self._workdir.parent if self._final else self._workdir)
                remove_if_empty(self._workdir.parent)

    def _run(self) -> None:
        try:
            self._outage.bear(self._writer.begin)
            order = self._prepare()
            self._await_template()
            end = self._run_child(self._start(order))
        except Interrupted as interruption:
            end = interruption.end
        except (FenceLost, Abandoned):
            raise
        except Exception as error:  # noqa: BLE001  (becomes the attempt's end)
            end = self._trouble(error)
        self._conclude(end)

    def _run_child(self, child: ChildProcess) -> Conclusion:
        """Supervises the child until it ends. If it reports its result or failure, that counts even where an error
        occurs here."""
        trouble: Exception | None = None
        try:
            with self._context.sampler.watching(child.pid, self._claim.device) as self._samples:
                self._watch(child)
        except (FenceLost, Abandoned):
            raise
        except Exception as error:  # noqa: BLE001  (becomes the attempt's end, unless the child was done)
            trouble = error
        finally:
            child.close()
        while not self._ended.wait(timeout=DRAIN_SECONDS):
            self._writer.absorb(self._spool.take())  # its pipes are read only while the spool has room
        end = self._judge(child)
        said = isinstance(self._writer.outcome, protocol.Done | protocol.Failed)
        return end if trouble is None or said else self._trouble(trouble)

    def _trouble(self, error: Exception) -> Conclusion:
        """How an attempt ends that failed by an error in this process."""
        if isinstance(error, OSError):
            return self._local_trouble(error)
        if isinstance(error, JobsError | AdderError):
            return Conclusion(error=(FailureCode.BAD_DATA, str(error)))
        self._log.error("attempt.unsupervised", exc_info=error)  # the worker failed, not the job
        return Conclusion(fault=f"The worker failed at supervising attempt {self._claim.attempt}: {error!r}.")

    def _local_trouble(self, error: OSError) -> Conclusion:
        if error.errno in NO_ROOM:
            return Conclusion(suspension=(Cause.DISK_FULL, f"The worker's disk is full ({error}). {RESUME}"))
        return Conclusion(fault=f"Attempt {self._claim.attempt} could not be run: {error}.")

    # Before the training

    def _prepare(self) -> Path:
        """Fills the work folder and writes the child's orders there. Raises JobsError if an input of the job is
        gone."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        named = self._outage.bear(self._inputs)
        own = self._fetched(named.images, f"{named.dataset}.safetensors")
        order = protocol.JobOrder(
            job_id=self._claim.job_id,
            attempt=self._claim.attempt,
            kind=self._claim.kind,
            spec=dict(self._claim.spec),
            workdir=str(self._workdir),
            datasets_dir=str(self._workdir if own else self._settings.datasets_dir.resolve()),
            threads=self._threads,
            checkpoints=tuple(
                str(path) for step, sha256 in named.checkpoints if (path := self._fetch_checkpoint(step, sha256))
            ),
            continue_from=self._fetched(named.continue_from, "continue.ckpt"),
            model=self._fetched(named.model, "source.safetensors"),
            teacher=self._fetched(named.teacher, "teacher.safetensors"),
            dataset=named.info,
            upload=self._fetched(named.upload, "upload"),
            confinement=self._confinement,
        )
        path = self._workdir / "job.json"
        path.write_text(order.model_dump_json())
        self._context.isolation.hand_over(self._workdir)
        return path

    @property
    def _confinement(self) -> protocol.Confinement | None:
        if not self._context.isolation.landlock:
            return None
        return protocol.Confinement(
            data_dir=str(self._settings.data_dir.resolve()),
            readable=tuple(str(folder.resolve()) for folder in self._settings.child_readable),
            network=ranks_of(self._claim.spec) > 1,
        )

    def _inputs(self) -> Inputs:
        with self._context.database.read(self._claim.project) as session:
            return inputs_of(session, self._claim)

    def _fetched(self, sha256: str | None, name: str) -> str | None:
        return str(self._fetch(sha256, name)) if sha256 else None

    def _fetch_checkpoint(self, step: int, sha256: str) -> Path | None:
        """The file of a checkpoint; None if the stored copy is missing or corrupt, and the job resumes from an earlier
        one."""
        try:
            return self._fetch(sha256, f"resume-{step:09d}.ckpt")
        except StoreError as error:
            self._writer.event("checkpoint_lost", f"The checkpoint of step {step} cannot be used: {error}")
            return None

    def _fetch(self, sha256: str, name: str) -> Path:
        """Copies a blob into the work folder. Waits while the store is away. Raises StoreError if the blob is missing
        or corrupt."""
        path = self._workdir / name

        def copy() -> bool:
            self._context.store.fetch(sha256, path)
            return True

        transfer = self._transfers.add(copy)
        self._await_copies(transfer)
        if not transfer.done:
            raise Interrupted(Conclusion(suspension=self._suspension))
        if transfer.error is not None:
            raise transfer.error
        return path

    @property
    def _threads(self) -> int:
        slots, ranks = len(devices_of(self._claim.device)), ranks_of(self._claim.spec)
        return self._claim.threads or self._context.threads(self._claim.spec["resources"]["threads"], slots, ranks)

    def _await_template(self) -> None:
        """Waits while the template starts, as it is ready sooner than a spawned process would be.

        However long that takes: where it is long the machine is busy, and one more process that loads torch would only
        make it longer. A template that hangs is given up (`template.client.START_SECONDS`)."""
        template = self._context.template
        if template is not None and kind_of(self._claim.device) == "cpu":
            template.keep()
            self._hold_until(lambda: template.settled)

    def _start(self, order: Path) -> ChildProcess:
        key = self._claim.environment_key
        child = ChildProcess(
            self._settings.child_command,
            order,
            threads=self._threads,
            device=self._claim.device,
            backend=backend_of(key) if key in self._context.offers and key is not None else None,
            template=self._context.template,
            variables=self._settings.child_variables,
            credentials=self._context.isolation.credentials(),
            on_message=self._receive,
            on_log=lambda text: self._spool.put(text, len(text.encode())),
            on_end=self._child_ended,
        )
        self._writer.way = child.way
        self._log.debug("attempt.process", way=child.way, pid=child.pid)
        return child

    # While it runs

    def _child_ended(self) -> None:
        self._log.debug("attempt.process_ended")
        self._ended.set()
        self._wake.set()

    def _receive(self, line: bytes) -> None:
        try:
            message = protocol.MESSAGE.validate_json(line)
        except ValidationError as error:
            self._protocol_error = f"{error.errors()[0]['msg']}: {line[:200]!r}"
            return
        self._spool.put(message, len(line))
        if isinstance(message, protocol.Progress) and "phase" in message.progress:
            self._log.debug("attempt.phase", phase=message.progress["phase"])
        if type(message) not in self._heard:
            # The first of its kind is what people wait for: that it runs, its first metrics, its result.
            self._heard.add(type(message))
            self._log.debug("attempt.heard", kind=message.type)
            self._urgent = True
            self._wake.set()

    def _watch(self, child: ChildProcess) -> None:
        """Writes messages, renews the lease and stops the child on request, until it has ended and its messages are
        absorbed."""
        started = time.monotonic()
        while True:
            self._wake.wait(timeout=self._settings.poll_seconds)
            self._wake.clear()
            ended = self._ended.is_set()
            child.sample_oom_kills()
            try:
                asked = self._tick(absorb=True)
            except SQLAlchemyError:
                # The database refuses the messages. `_conclude` gets the same error and reports it.
                self._spool.close()
                child.kill()
                self._ended.wait()
                return
            if ended:
                return
            self._steer(child, asked, time.monotonic() - started)

    def _tick(self, *, absorb: bool = False) -> Status | None:
        """Writes what is due and renews the lease. Returns the status that users ask for; None while the database is
        away."""
        now = time.monotonic()
        if self._outage.pausing:
            return None  # messages wait in the spool, which is bounded
        try:
            stuck = self._writer.stuck
            urgent, self._urgent = self._urgent, False  # before the messages are taken: one that comes now counts next
            if absorb and not stuck:
                self._writer.absorb(self._spool.take())
                self._writer.sampled(self._samples.take() if self._samples else ())
            since = now - self._written
            due = stuck or (self._writer.pending and (urgent or since >= self._settings.write_seconds))
            if due or now - self._renewed >= self._settings.renew_seconds:
                asked = self._writer.flush()
                self._renewed = self._written = now
            else:
                asked = self._writer.asked()
        except (SQLAlchemyError, StoreError) as error:
            self._outage.note(error)
            return None
        self._outage.over()
        return asked

    def _steer(self, child: ChildProcess, asked: Status | None, seconds: float) -> None:
        limit = self._claim.spec["limits"]["max_seconds"]
        if limit is not None and seconds > limit:
            self._timed_out = True
        if self._is_starved(child, seconds):
            self._starved = True
            child.kill()
            return
        self._heed_trouble()
        stops = self._timed_out or self._suspension or self._context.leaving or asked not in (Status.RUNNING, None)
        if not stops:
            return
        now = time.monotonic()
        if self._stop_sent is None:
            self._log.info("attempt.stopping", asked=asked, timed_out=self._timed_out, leaving=self._context.leaving)
            self._stop_sent = now
            child.terminate()
        elif now - self._stop_sent > self._settings.cancel_grace_seconds:
            child.kill()

    def _is_starved(self, child: ChildProcess, seconds: float) -> bool:
        """Whether the training has used up its memory limit and has sent no message yet.

        Under too small a limit, loading a library may retry its allocations for ever.
        """
        limit: float | None = self._claim.spec["resources"]["memory_gb"]
        if limit is None or self._writer.started or seconds < STARVED_SECONDS:
            return False
        return child.data_bytes() > 0.9 * limit * GIB

    def _heed_trouble(self) -> None:
        """Reports that copies fail, and has the job paused once they have failed for too long."""
        trouble = self._transfers.trouble
        if trouble is None:
            self._trouble_told = False
            return
        if not self._trouble_told:
            self._trouble_told = True
            self._log.warning("store.away", error=str(trouble.error))
            self._writer.event("store_away", f"{trouble.error} It is tried again; the training goes on meanwhile.")
        patience = self._settings.store_patience_seconds
        if self._suspension is None and time.monotonic() - trouble.since > patience:
            self._suspension = (trouble.cause, f"{trouble.error} It was tried for {patience:g} s. {RESUME}")

    # Afterwards

    def _judge(self, child: ChildProcess) -> Conclusion:
        self._writer.absorb(self._spool.take())
        self._writer.sampled(self._samples.take() if self._samples else ())
        outcome, limits = self._writer.outcome, self._claim.spec["limits"]
        lost = isinstance(outcome, protocol.Failed) and outcome.code is FailureCode.WORKER_LOST
        ending = Ending(
            attempt=self._claim.attempt,
            outcome=outcome,
            returncode=child.returncode,
            started=self._writer.started,
            stop_sent=self._stop_sent is not None,
            timed_out=self._timed_out,
            starved=self._starved,
            max_seconds=limits["max_seconds"],
            out_of_memory=(child.returncode == -9 or lost) and child.out_of_memory(),
            memory_gb=self._claim.spec["resources"]["memory_gb"],
            tail=self._writer.tail,
            protocol_error=self._protocol_error,
        )
        return judge(ending)

    def _conclude(self, end: Conclusion) -> None:
        """Writes how the attempt ended. Retries while the database is away, as the result exists only in this
        process."""
        try:
            asked = self._outage.bear(self._writer.flush)
            keeps_log = not end.hands_back or asked is Status.CANCELLING
            log_file = self._store_log() if keeps_log else None
            self._await_copies(end=end)
            self._log.debug("attempt.stored")
            end = self._after_copies(end)
            if self._writer.pending:
                self._outage.bear(self._writer.flush)
            status = self._outage.bear(partial(self._writer.conclude, end, log_file))
        except SQLAlchemyError as error:
            if end.unstorable:
                raise
            self._log.error("attempt.unstorable", exc_info=error)
            self._writer.drop()
            said = "The database refuses what the job produced; see the worker's log."
            self._conclude(Conclusion(error=(FailureCode.CODE_ERROR, said), unstorable=True))
            return
        self._final = status.final
        self._log.info("attempt.ended", status=status, error=end.error, fault=end.fault, suspension=end.suspension)

    def _after_copies(self, end: Conclusion) -> Conclusion:
        """Changes the conclusion if results or checkpoints could not be stored."""
        stored = self._transfers.idle
        if stored and end.result is not None:
            why = self._writer.unpublished()
            return end if why is None else Conclusion(error=(FailureCode.CODE_ERROR, why))
        if end.error is not None or end.fault is not None or end.suspension is not None:
            return end
        if self._suspension is not None:
            return Conclusion(suspension=self._suspension)
        return end if stored else Conclusion()  # the worker stops or the job is cancelled: give up what is not stored

    def _await_copies(self, transfer: Transfer[bool] | None = None, *, end: Conclusion | None = None) -> None:
        """Waits until all copies, or this one, are made. Renews the lease meanwhile.

        Gives up if the store is away for too long, the job has failed or is cancelled, or the worker stops. Before the
        training (no `end`) it raises Interrupted when the attempt is to stop.
        """
        self._hold_until(lambda: transfer.done if transfer else self._transfers.idle, end=end)

    def _hold_until(self, done: Callable[[], bool], *, end: Conclusion | None = None) -> None:
        """Renews the lease until `done`, with the exceptions of `_await_copies`."""
        leaving_since: float | None = None
        while not done():
            self._wake.wait(timeout=min(self._settings.poll_seconds, HOLD_SECONDS))
            self._wake.clear()
            asked = self._tick()
            self._heed_trouble()
            if self._suspension is not None:
                return
            if end is None and (self._context.leaving or asked not in (Status.RUNNING, None)):
                raise Interrupted(Conclusion())
            if asked is Status.CANCELLING or (end and end.error and self._transfers.trouble):
                return
            if self._context.draining.is_set():
                leaving_since = leaving_since or time.monotonic()
                if time.monotonic() - leaving_since > self._settings.cancel_grace_seconds:
                    return

    def _store_log(self) -> Copy | None:
        """Stores the log of all attempts as an artifact. Returns None if the disk has no room for it."""
        path = self._workdir / attempts.LOG
        try:
            self._workdir.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._outage.bear(partial(self._write_log, path))
        except OSError as error:
            self._log.warning("log.not_stored", error=str(error))
            return None
        return Copy(path, self._transfers.add(partial(self._context.store.put, path)))

    def _write_log(self, path: Path) -> None:
        with (
            self._context.database.read(self._claim.project) as session,
            path.open("w", encoding="utf-8", newline="") as sink,
        ):
            at = 0
            while chunks := history.log_chunks(session, self._claim.job_id, from_byte=at):
                for chunk in chunks:
                    sink.write(chunk.text)
                at = chunks[-1].offset + 1


RESUME = (
    "Once that is mended, `adder resume` lets the job go on from its last stored checkpoint; what it computed "
    "since then is computed again."
)
