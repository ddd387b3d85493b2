"""Moves sweeps on, by a step that any process may do at any time and any number of times.

A step locks the sweep's row (on PostgreSQL it skips a sweep that another process has locked; on SQLite writers take
turns). It reads the status of the sweep's jobs, records values, ends trials that do badly, submits the next ones and,
at the end, ends the sweep. A trial and its job are written in one transaction: a process that is killed in a step has
changed nothing, and the next process does the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import structlog
from pydantic import ValidationError

from jobs.access.scope import SERVICE, OwnTransaction, project_of
from jobs.database import Database, database_away
from jobs.documents import Unreadable
from jobs.errors import Conflict, QueueFull, QuotaExceeded
from jobs.repository import attempts, datasets, history, lifecycle
from jobs.repository.core import append_events, now
from jobs.scheduling import Rules
from jobs.states import FINAL, SWEEP_FINAL, Status, SweepStatus, TrialStatus
from jobs.sweeps import repository, search
from jobs.sweeps.objectives import paths, value_at
from jobs.sweeps.planning import bad_fields, child, dataset_of
from jobs.sweeps.search import Known
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Job, Sweep, Trial
from jobs.webhooks import events

BATCH = 25
"""Jobs that one step submits or cancels. It takes some 100 ms, for which other writers wait on SQLite."""
MOST_STEPS = 1000
"""Most steps of one sweep in a row, so that a round ends."""
NAMES_SHOWN = 10

log = structlog.get_logger()


class Driver:
    """Moves the unfinished sweeps on."""

    def __init__(self, database: Database, rules: Rules, *, searching: bool = True) -> None:
        """`searching`: whether this process may choose trials of a search, for which it has to load optuna."""
        self._database = database
        self._rules = rules
        self._searching = searching
        self._broke_off_at = ""

    def round(self) -> None:
        """Moves every sweep as far as possible now. An error of one sweep is logged and does not hold up the others.

        Raises:
            SQLAlchemyError: the database is away. The next round begins after the sweep at which that happened: if that
                sweep itself is the cause, it does not hold up the others for ever.
        """
        with self._database.read(SERVICE) as session:
            sweeps = repository.unfinished(session)
        first = next((at for at, sweep in enumerate(sweeps) if sweep.id > self._broke_off_at), 0)
        for sweep in [*sweeps[first:], *sweeps[:first]]:
            try:
                self.advance(sweep)
            except Exception as error:
                if database_away(error):
                    self._broke_off_at = sweep.id
                    raise
                log.error("sweep.deferred", sweep=sweep.id, error=str(error), kind=type(error).__name__)
        self._broke_off_at = ""

    def advance(self, sweep: Sweep, most_steps: int = MOST_STEPS) -> None:
        """Moves this sweep as far as possible now."""
        if self._searching and isinstance(sweep.spec, dict) and sweep.spec.get("search"):
            search.load()
        for _ in range(most_steps):
            with self._database.write(project_of(sweep)) as session:
                if not step(session, sweep.id, self._rules, searching=self._searching):
                    return


def step(session: OwnTransaction, sweep_id: str, rules: Rules, *, searching: bool = True) -> bool:
    """Does one step in the caller's transaction. Returns whether another step can do something at once."""
    sweep = repository.try_lock(session, sweep_id)
    if sweep is None or sweep.status in SWEEP_FINAL:
        return False
    try:
        spec = repository.spec_of(sweep)
    except Unreadable as error:
        repository.fail_unreadable(session, sweep, str(error))
        return False
    return _Step(session, sweep, spec, rules, searching).run()


def record(session: OwnTransaction, sweep: Sweep | None) -> None:
    """Records the results of a *locked* sweep's jobs, before one of them is deleted or replaced."""
    if sweep is None or sweep.status in SWEEP_FINAL:
        return
    with suppress(Unreadable):  # the next step ends such a sweep
        _Step(session, sweep, repository.spec_of(sweep), Rules(), searching=False).record()


class _Step:
    def __init__(self, session: OwnTransaction, sweep: Sweep, spec: SweepSpec, rules: Rules, searching: bool) -> None:
        self.session = session
        self.sweep = sweep
        self.rules = rules
        self.searching = searching
        self.spec = spec
        rows = repository.trials_of(session, sweep.id)
        self.trials = [row[0] for row in rows]
        self.states: dict[str, str] = {trial.job_id: status for trial, status in rows if trial.job_id and status}
        self.spent = False
        self.exhausted = False
        """Whether the space of a search has no point that was not tried."""

    def run(self) -> bool:
        self.record()
        if self.sweep.status == SweepStatus.CANCELLING:
            more = self._cancel_children()
        else:
            self._prune()
            more = self._submit()
        if not more:
            self._end()
        self.session.flush()
        return more

    def record(self) -> None:
        """Records the values of the jobs that have ended."""
        for trial in self._of(TrialStatus.RUNNING, TrialStatus.PRUNED):
            if trial.status == TrialStatus.RUNNING:
                self._read_curve(trial)
            if trial.job_id is None:
                if trial.status == TrialStatus.RUNNING:
                    self._end_trial(trial, TrialStatus.CANCELLED, "Its job was deleted.")
            elif self.states[trial.job_id] in FINAL and trial.seconds is None:
                self._record_job(trial, lifecycle.get(self.session, trial.job_id))

    def _record_job(self, trial: Trial, job: Job) -> None:
        trial.seconds = attempts.run_seconds(self.session, [job.id]).get(job.id, 0.0)
        if trial.status == TrialStatus.PRUNED:
            return
        if job.status == Status.CANCELLED:
            self._end_trial(trial, TrialStatus.CANCELLED, "Its job was cancelled.")
        elif job.status == Status.FAILED:
            error = job.error or {}
            self._end_trial(trial, TrialStatus.FAILED, f"{error.get('code', 'failed')}: {error.get('message', '')}")
        else:
            trial.value = self._value(job)
            if trial.value is not None:
                self._end_trial(trial, TrialStatus.SUCCEEDED, None)
            else:
                self._end_trial(trial, TrialStatus.FAILED, self._no_value(job))

    def _value(self, job: Job) -> float | None:
        """The objective from the job's final metrics, else from its last point."""
        found = value_at(job.result, self.spec.objective)
        if found is not None:
            return found
        return history.last_value(self.session, job.id, self.spec.objective)

    def _no_value(self, job: Job) -> str:
        names = ", ".join(paths(job.result, NAMES_SHOWN)) or "those of GET …/metrics"
        return f"The job has no metric or result {self.spec.objective!r}; name one of {names} as the objective."

    def _read_curve(self, trial: Trial) -> None:
        """Reads new points of the objective by epoch, which a search with pruning compares."""
        if self.spec.pruner != "median" or trial.job_id is None:
            return
        points = history.metrics(self.session, trial.job_id, names=[self.spec.objective], after_seq=trial.curve_seq)
        if points:
            fresh = {str(point.epoch): point.value for point in points if point.value is not None}
            trial.curve = {**(trial.curve or {}), **fresh}
            trial.curve_seq = points[-1].seq

    def _prune(self) -> None:
        running = self._of(TrialStatus.RUNNING)
        if not self.searching or self.spec.pruner != "median" or not running:
            return
        jobs = {trial.number: lifecycle.get(self.session, trial.job_id) for trial in running if trial.job_id}
        epochs = max((int(job.spec.get("epochs") or 1) for job in jobs.values()), default=1)
        for number in search.to_prune(self.spec, self._known(), sorted(jobs), epochs):
            self._prune_one(self.trials[number])

    def _prune_one(self, trial: Trial) -> None:
        if trial.job_id is None or not self._cancel(trial.job_id):
            return
        epoch = max(int(epoch) for epoch in trial.curve or {})
        trial.value = (trial.curve or {})[str(epoch)]
        message = (
            f"Pruned: its best {self.spec.objective} up to epoch {epoch} is worse than the median of the finished "
            f"trials of {self.sweep.id} there."
        )
        job = lifecycle.get(self.session, trial.job_id)  # locked by the cancel
        append_events(self.session, job, [{"type": "pruned", "message": message, "data": {"sweep": self.sweep.id}}])
        self._end_trial(trial, TrialStatus.PRUNED, message)

    def _cancel(self, job_id: str) -> bool:
        """Cancels a job. Returns False if it has just ended."""
        try:
            lifecycle.cancel(self.session, job_id)
        except Conflict:
            return False
        return True

    def _cancel_children(self) -> bool:
        stopping = (*FINAL, Status.CANCELLING)
        left = [t for t in self._of(TrialStatus.RUNNING) if t.job_id and self.states[t.job_id] not in stopping]
        for trial in left[:BATCH]:
            self._cancel(str(trial.job_id))
        return bool(left)

    def _submit(self) -> bool:
        """Submits trials for the free places. Returns whether more could be submitted at once."""
        self.spent = self._is_spent()
        if self.spent:
            for trial in self._of(TrialStatus.WAITING):
                self._end_trial(trial, TrialStatus.CANCELLED, "The sweep's budget was used up.")
            return False
        free = (self.spec.parallel or 1) - len(repository.open_jobs(self.session, self.sweep.id))
        try:
            for _ in range(BATCH):
                chosen = self._next() if free > 0 else None
                if chosen is None:
                    return False
                free -= self._submit_one(chosen)
        except (QueueFull, QuotaExceeded):
            return False  # a later round tries again
        return free > 0

    def _is_spent(self) -> bool:
        if self.spec.budget is None:
            return False
        running = [trial.job_id for trial in self.trials if trial.seconds is None and trial.job_id is not None]
        used = sum(trial.seconds or 0.0 for trial in self.trials)
        used += sum(attempts.run_seconds(self.session, running).values())
        return used >= self.spec.budget.max_seconds

    def _next(self) -> Trial | None:
        """The next trial to submit: the next combination of a grid, or what the sampler of a search chooses."""
        waiting = self._of(TrialStatus.WAITING)
        if waiting:
            return waiting[0]
        if self.spec.grid is not None or not self.searching or len(self.trials) >= self.spec.size:
            return None
        parameters = search.suggest(self.spec, self._known())
        if parameters is None:
            self.exhausted = True
            return None
        trial = Trial(
            sweep_id=self.sweep.id,
            number=len(self.trials),
            status=TrialStatus.WAITING,
            parameters=parameters,
            curve_seq=0,
        )
        self.session.add(trial)
        self.session.flush()
        self.trials.append(trial)
        return trial

    def _submit_one(self, trial: Trial) -> bool:
        """Writes trial and job in one transaction. Returns whether there is a job. Raises QueueFull; the trial then
        waits, as for QuotaExceeded where that passes."""
        labels = {"sweep": self.sweep.id, "trial": str(trial.number)}
        try:
            datasets.hold(self.session, dataset_of(self.spec, trial.parameters))
            spec = child(self.spec, trial.parameters, labels)
            job = lifecycle.submit(self.session, spec, rules=self.rules).job
        except (ValidationError, Conflict, QuotaExceeded) as error:
            if isinstance(error, QuotaExceeded) and error.passes:
                raise
            reasons = (
                [f"{where}: {why}" for where, why in bad_fields(error)] if isinstance(error, ValidationError) else []
            )
            message = f"No job could be made of it: {'; '.join(reasons) or error}"
            self._end_trial(trial, TrialStatus.FAILED, message)
            return False
        trial.job_id, trial.status = job.id, TrialStatus.RUNNING
        self.states[job.id] = job.status
        return True

    def _end(self) -> None:
        """Ends the sweep if nothing is left to do."""
        grid = self.spec.grid is not None
        chosen = self.spent or self.exhausted or grid or len(self.trials) >= self.spec.size
        cancelling = self.sweep.status == SweepStatus.CANCELLING
        if self._of(TrialStatus.WAITING, TrialStatus.RUNNING) or not (chosen or cancelling):
            return
        if repository.open_jobs(self.session, self.sweep.id):
            return
        done = len(self._of(TrialStatus.SUCCEEDED))
        status, message = SweepStatus.SUCCEEDED, None
        if cancelling:
            status = SweepStatus.CANCELLED
        elif not done:
            status = SweepStatus.FAILED
            first = next((trial.message for trial in self.trials if trial.message), None)
            message = f"No trial succeeded. {first or ''}".strip()
        elif self.spent and self.spec.budget is not None:
            used = f"The budget of {self.spec.budget.max_seconds:g} s was used up"
            message = f"{used} after {done} of {self.spec.size} trials."
        elif not grid and len(self.trials) < (self.spec.trials or 0):
            message = f"All {len(self.trials)} different jobs of the search's space were run; it has no more."
        elif failed := len(self._of(TrialStatus.FAILED, TrialStatus.CANCELLED)):
            message = f"{failed} of {len(self.trials)} trials failed or were cancelled."
        stamp = now(self.session)  # before any change: a query flushes, and half a change breaks the constraints
        self.sweep.status, self.sweep.message, self.sweep.finished_at = status, message, stamp
        events.sweep_finished(self.session, self.sweep)

    def _known(self) -> Sequence[Known]:
        return [
            Known(
                TrialStatus(trial.status),
                trial.parameters,
                trial.value,
                {int(epoch): float(value) for epoch, value in (trial.curve or {}).items()},
            )
            for trial in self.trials
        ]

    def _of(self, *statuses: TrialStatus) -> list[Trial]:
        return [trial for trial in self.trials if trial.status in statuses]

    def _end_trial(self, trial: Trial, status: TrialStatus, message: str | None) -> None:
        trial.status, trial.message = status, message
