"""The queue: its order, claims, and how many jobs may wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import ColumnElement, Select, func, insert, or_, select, text, true, union_all, update

from jobs import scheduling
from jobs.access import limits
from jobs.access.scope import OwnTransaction, ServiceTransaction, Transaction, project_of
from jobs.clock import now_ms
from jobs.environment import device_of
from jobs.errors import QueueFull
from jobs.repository.attempts import Claim
from jobs.repository.core import append_events
from jobs.repository.outlook import live_hosts, waiting_of
from jobs.repository.ranks import RANKS, asked
from jobs.repository.recovery import live_workers
from jobs.states import Status
from jobs.tables import Attempt, Job

HEADS = 16
"""How many of the best jobs of each demand a claim considers: so many workers may claim at once without waiting."""
TRIES = 20
MOST_LEVELS = 100
"""Number of different memory demands up to which each is queried by itself; beyond it, jobs are filtered."""
PATIENCE_MS = 60_000
"""After so long in the queue, a job that must run alone makes a busy worker stop claiming until it is idle."""

MOST_MB = 2**62


@dataclass(frozen=True)
class Demand:
    """What queued jobs ask for: a device and an amount of memory."""

    device: str
    memory_mb: int
    upto: bool = False
    """Whether any smaller amount is meant too."""

    @property
    def of(self) -> ColumnElement[bool]:
        """The SQL condition that a job has this demand."""
        mine = Job.needs_memory_mb <= self.memory_mb if self.upto else Job.needs_memory_mb == self.memory_mb
        return (Job.needs_device == self.device) & mine


@dataclass(frozen=True)
class Offer:
    """What a worker has free for one more job."""

    worker_id: str
    devices: Sequence[str] = ("cpu",)
    """Devices of free slots, best first: `cuda:0`, `cpu`."""
    gpus: bool = False
    """Whether the worker has GPUs, free or not: `auto` then never takes its CPU."""
    memory_mb: int | None = None
    """Free memory in MiB; None: enough for any job."""
    keys: Sequence[str] = ()
    """Every `Job.environment_key` that the worker offers."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of devices in such keys, but for `cpu`: `{"cuda:0": "cuda (NVIDIA H200)"}`."""
    idle: bool = True
    """Whether the worker runs no job."""
    free_slots: Sequence[str] = ()
    """The device of each free slot, best first; empty: one slot of each of `devices`."""
    slots: Sequence[str] = ()
    """The device of each slot of the worker; empty: none is taken."""

    @cached_property
    def places(self) -> Mapping[str, str]:
        """The device that a job gets, by what it asks for."""
        return scheduling.placement(self.devices, self.gpus or scheduling.has_gpu(self.devices))

    @cached_property
    def free_keys(self) -> Sequence[str]:
        """Those of `keys` whose device is free."""
        free = {self._name(device) for device in self.devices}
        return [key for key in self.keys if device_of(key) in free]

    def room(self, job: Job) -> Sequence[str] | None:
        """The devices for a job of several processes; None if too few are free."""
        free = self.free_slots or self.devices
        if job.environment_key is not None and job.environment_key in self.free_keys:
            name = device_of(job.environment_key)
            free = [device for device in free if self._name(device) == name]
        ranks = scheduling.ranks_of(job.spec)
        return scheduling.room(free, self.slots or free, job.needs_device, ranks)

    def narrow(self) -> ColumnElement[bool]:
        """The SQL condition that a job is computed by no more processes than there are free slots."""
        free = self.free_slots or self.devices
        cpus, gpus = free.count("cpu"), len({device for device in free if device != "cpu"})
        enough = asked("gpus") <= max(gpus, 1)  # 1 says nothing: it is also what jobs of the processor have
        if cpus < (self.slots or free).count("cpu"):
            enough &= asked("processes") <= cpus
        return or_(RANKS == 1, enough)

    def place(self, job: Job) -> str:
        """The device for a job that fits."""
        if scheduling.ranks_of(job.spec) > 1:
            devices = self.room(job)
            assert devices is not None  # for types: it fits
            return scheduling.device_text(devices)
        if job.environment_key is not None and job.environment_key in self.free_keys:
            name = device_of(job.environment_key)
            return next(device for device in self.devices if self._name(device) == name)
        return self.places[job.needs_device]

    def _name(self, device: str) -> str:
        return self.names.get(device, device)


def claim(
    session: ServiceTransaction, offer: Offer, lease_ms: int, *, live_ms: int = scheduling.Rules.live_ms
) -> Claim | None:
    """Claims the best queued job that fits: that of the highest priority, and then of the smallest turn.

    On PostgreSQL it skips rows that another worker is claiming; on SQLite write transactions take turns.

    Returns:
        None if no job fits, the worker drains, or the best job must run alone and waits for the worker to be idle.
    """
    demands = _demands(session, sorted(offer.places), offer.memory_mb, offer.worker_id)
    if not demands:
        return None
    bounded = limits.bounded(session)
    resting = {id_ for id_, row in bounded.items() if limits.rests(session, row)}
    narrow: ColumnElement[bool] = true()
    heads = _heads(demands, _fits(offer, resting))
    for _ in range(TRIES):
        # Two statements: in one, PostgreSQL without statistics searches for the best jobs row by row.
        found = session.execute(heads).scalars().all()
        if not found:
            return None
        job = session.execute(_best(found)).scalar_one_or_none()
        if job is not None and job.project_id in bounded and not limits.take_place(session, bounded[job.project_id]):
            resting.add(job.project_id)  # another worker has just taken its last place
            heads = _heads(demands, _fits(offer, resting) & narrow)
            continue
        if job is not None and scheduling.ranks_of(job.spec) > 1 and offer.room(job) is None:
            # It keeps what falls free of one worker until there is enough, so that no stream of small jobs starves it.
            if _waits_here(session, job, offer, live_ms):
                demands = [one for one in demands if scheduling.kind_of(offer.places[one.device]) != job.needs_device]
                if not demands:
                    return None
            else:
                narrow = offer.narrow()
            heads = _heads(demands, _fits(offer, resting) & narrow)
            continue
        if job is not None and (offer.idle or not scheduling.last_chance(job.faults, job.max_attempts)):
            return _take(session, _first_by_label(session, job, _fits_offer(offer, patient=False)), offer, lease_ms)
        if job is not None and _holds_back(session, job, offer, live_ms):
            return None
        if job is not None:
            heads = _heads(demands, _fits(offer, resting, patient=True) & narrow)
        # Else other workers are claiming all of them; the next query shows the jobs behind them.
    return None


def _first_by_label(session: ServiceTransaction, job: Job, fits: ColumnElement[bool]) -> Job:
    """The job of the same project and demand whose label comes first; it changes turns with a *locked* one.

    A project's turns stay the same, so that its labels change nothing for others. A job that has run before keeps its
    turn.
    """
    if job.label_turn is None or job.attempt:
        return job
    rival = select(Job).where(
        Job.project_id == job.project_id, Job.priority == job.priority, Job.status == Status.QUEUED,
        Job.needs_device == job.needs_device, Job.needs_memory_mb == job.needs_memory_mb, Job.attempt == 0,
        Job.label_turn.is_not(None), Job.label_turn < job.label_turn, fits,
    )  # fmt: skip
    first = rival.order_by(Job.label_turn, Job.id).limit(1).with_for_update(skip_locked=True)
    other = session.execute(first.execution_options(populate_existing=True)).scalar_one_or_none()
    if other is None:
        return job
    job.turn, other.turn = other.turn, job.turn
    session.flush()
    return other


def _take(session: ServiceTransaction, job: Job, offer: Offer, lease_ms: int) -> Claim:
    """Gives a *locked* queued job to the worker."""
    device = offer.place(job)
    row = session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(
            status=Status.RUNNING,
            attempt=Job.attempt + 1,
            fence=Job.fence + 1,
            lease_expires_at=now_ms() + lease_ms,
            worker_id=offer.worker_id,
            device=device,
            started_at=func.coalesce(Job.started_at, now_ms()),
        )
        .returning(Job)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalar_one()
    session.execute(
        insert(Attempt).values(
            job_id=row.id,
            attempt=row.attempt,
            fence=row.fence,
            worker_id=offer.worker_id,
            device=device,
            started_at=now_ms(),
        )
    )
    event = {
        "type": "status",
        "message": f"Attempt {row.attempt} started.",
        "data": {"from": Status.QUEUED, "to": Status.RUNNING, "attempt": row.attempt, "worker": offer.worker_id},
    }
    append_events(session, row, [event])
    return Claim(
        project_of(row), row.id, row.fence, row.attempt, row.kind, row.spec, row.max_attempts, row.faults, device,
        row.threads, row.environment_key,
    )  # fmt: skip


def _waits_here(session: ServiceTransaction, job: Job, offer: Offer, live_ms: int) -> bool:
    """Whether this worker keeps its free slots for a job of several processes, which needs more of them.

    One worker does, the first that could take the job; another one that has enough takes it all the same.
    """
    needs = waiting_of(job).needs
    return offer.worker_id == min((host.id for host in live_hosts(session, live_ms) if host.may(needs)), default=None)


def _holds_back(session: ServiceTransaction, job: Job, offer: Offer, live_ms: int) -> bool:
    """Whether this worker must stop claiming until it is idle, for a job that has long waited to run alone.

    One worker does, the first that could take the job: so it does not wait for ever, and the other workers go on. The
    worker that is idle first takes it.
    """
    needs = waiting_of(job).needs
    able = [host.id for host in live_hosts(session, live_ms) if host.may(needs)]
    return not able or offer.worker_id == min(able)


def _fits(offer: Offer, resting: Collection[str], patient: bool = False) -> ColumnElement[bool]:
    """The SQL condition that a job fits the offer, its demand apart, and that its project may begin another one.

    `patient` excludes jobs that must run alone.
    """
    fits = _fits_offer(offer, patient)
    return fits & Job.project_id.not_in(sorted(resting)) if resting else fits


def _fits_offer(offer: Offer, patient: bool) -> ColumnElement[bool]:
    exact = or_(Job.environment_key.is_(None), Job.any_environment, Job.environment_key.in_(offer.free_keys))
    if offer.idle:
        return exact
    not_last = or_(Job.faults == 0, Job.faults < Job.max_attempts - 1)  # scheduling.last_chance
    return exact & (not_last if patient else or_(not_last, Job.queued_at < now_ms() - PATIENCE_MS))


def _heads(demands: Sequence[Demand], fits: ColumnElement[bool]) -> Select[str]:
    """Selects the ids of the best jobs of each demand: a short range of `ix_jobs_claim` for each."""
    arms = []
    for demand in demands:
        best = (
            select(Job.id)
            .where(Job.status == Status.QUEUED, demand.of, fits)
            .order_by(Job.priority.desc(), Job.turn, Job.id)
            .limit(HEADS)
            .subquery()
        )
        arms.append(select(best.c.id))
    found = union_all(*arms).subquery()
    return select(found.c.id)


def _best(ids: Sequence[str]) -> Select[Job]:
    """Selects and locks the next of these jobs that is still queued and that no other worker is claiming."""
    return (
        select(Job)
        .where(Job.id.in_(ids), Job.status == Status.QUEUED)
        .order_by(Job.priority.desc(), Job.turn, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )


def _demands(
    session: Transaction, devices: Sequence[str], memory_mb: int | None, worker_id: str | None = None
) -> list[Demand]:
    """The different demands of queued jobs for these kinds of device; each costs one probe of the index.

    Empty if `worker_id` is given and that worker drains.
    """
    if not devices:
        return []
    most = MOST_MB if memory_mb is None else memory_mb
    rows = session.execute(
        text(_LEVELS.format(devices=" UNION ALL ".join(f"SELECT '{device}' AS device" for device in devices))),
        {"most": most, "limit": MOST_LEVELS + len(devices) + 1, "worker": worker_id},
    ).all()
    if len(rows) > MOST_LEVELS + len(devices):
        return [Demand(device, most, upto=True) for device in devices]
    return [Demand(device, level) for device, level in rows if level is not None and 0 <= level <= most]


_LEVELS = """
WITH RECURSIVE levels(device, mb) AS (
    SELECT device, CAST(-1 AS BIGINT) FROM ({devices}) AS wanted
    WHERE NOT EXISTS (SELECT 1 FROM workers WHERE id = :worker AND draining IS NOT NULL)
    UNION ALL
    SELECT device, (
        SELECT min(needs_memory_mb) FROM jobs
        WHERE status = 'queued' AND needs_device = levels.device AND needs_memory_mb > levels.mb
    ) FROM levels WHERE mb < :most
)
SELECT device, mb FROM levels LIMIT :limit
"""
"""For each device, the different memory demands of queued jobs in ascending order; NULL after the last."""


def turn_for(session: Transaction, job: Job, rules: scheduling.Rules) -> int:
    """The turn of a job that is being submitted: `max(V, last) + work`.

    Only jobs of its priority count that may want the same slots. `last` is the turn of the newest job of its share. The
    virtual time V is the largest turn that was ever claimed, but at most the turn at which the queues stand that the
    job could join: a worker that alone has much memory may serve turns far ahead of all others, and a new job must not
    queue behind those.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Jobs that one share submits side by side must not get one turn.
        share = f"{job.priority} {job.share}"
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(share, 1))))
    return likely_turn(session, job, rules)


def likely_turn(session: Transaction, job: Job, rules: scheduling.Rules) -> int:
    """The turn that `turn_for` would give now, without its lock: for a job that nobody submits yet."""
    turns = [
        newest.where(Job.priority == job.priority, Job.needs_device == device).scalar_subquery()
        for newest in (
            select(func.max(Job.turn)).where(Job.share == job.share),
            select(func.max(Job.turn)).where(text("attempt > 0")),
        )
        for device in scheduling.COMPETES[job.needs_device]
    ]
    found = session.execute(select(*turns)).one()
    half = len(found) // 2
    last = max((turn for turn in found[:half] if turn is not None), default=0)
    served = max((turn for turn in found[half:] if turn is not None), default=None)
    if served is not None and served > last:
        standing = _standing(session, job, rules.live_ms, Job.turn.expression)
        virtual = served if standing is None else min(served, standing)
    elif served is None and last == 0:  # nothing was claimed yet: the first job in the queue stands at V
        virtual = _standing(session, job, rules.live_ms, Job.turn - Job.work) or 0
    else:
        virtual = last  # V is no more than that
    return int(max(virtual, last)) + job.work


def label_turn_for(session: OwnTransaction, job: Job) -> int | None:
    """The turn of a job among those of its project, by its label; None where labels have no part in a project.

    It is `max(V, last) + work` as in `turn_for`. The virtual time V is where the project's queue begins, or where its
    newest job began if none waits. Call it after `turn_for`, under whose lock it reads.
    """
    if job.label_share is None:
        return None
    begins = Job.label_turn - Job.work
    has_turn = Job.label_turn.is_not(None)
    first = select(begins).where(Job.status == Status.QUEUED, Job.priority == job.priority, has_turn)
    newest = select(begins).where(has_turn).order_by(Job.id.desc()).limit(1)
    last = select(func.max(Job.label_turn)).where(Job.label_share == job.label_share, has_turn)
    queries = (first.order_by(Job.label_turn).limit(1), newest, last)
    standing, began, mine = session.execute(select(*(query.scalar_subquery() for query in queries))).one()
    virtual = began if standing is None else standing
    return int(max(virtual or 0, mine or 0)) + job.work


def _standing(session: Transaction, job: Job, live_ms: int, place: ColumnElement[int]) -> int | None:
    """At which turn the queues stand that the job may join.

    For each live worker that could take the job, this is the smallest `place` of the jobs that wait for the same slots;
    the result is the largest of these. None if nothing waits for one of these workers. Jobs that have run before do not
    count, as they keep their old turn.
    """
    lines = {
        (_rivals(job.needs_device, worker.devices), worker.memory_mb)
        for worker in live_workers(session, live_ms)
        if worker.draining is None and worker.memory_mb >= job.needs_memory_mb
    }
    lines = {line for line in lines if line[0]} or {(frozenset(scheduling.COMPETES[job.needs_device]), MOST_MB)}
    devices = sorted(frozenset[str]().union(*(rivals for rivals, _ in lines)))
    demands = _demands(session, devices, max(memory for _, memory in lines))
    if not demands:
        return None
    first = [
        select(place)
        .where(Job.status == Status.QUEUED, demand.of, Job.priority == job.priority, text("attempt = 0"))
        .order_by(Job.turn)
        .limit(1)
        .scalar_subquery()
        for demand in demands
    ]
    turns = dict(zip(demands, session.execute(select(*first)).one(), strict=True))
    heads: list[int] = []
    for rivals, memory in lines:
        mine = [
            turn
            for demand, turn in turns.items()
            if turn is not None and demand.device in rivals and (demand.upto or demand.memory_mb <= memory)
        ]
        if not mine:
            return None
        heads.append(min(mine))
    return max(heads)


def _rivals(needs_device: str, devices: Sequence[str]) -> frozenset[str]:
    """The device demands that compete with such a job for a worker's slots; empty if the worker has no such slot."""
    places = scheduling.placement(devices, scheduling.has_gpu(devices))
    if needs_device not in places:
        return frozenset()
    kind = scheduling.kind_of(places[needs_device])
    return frozenset(needs for needs, device in places.items() if scheduling.kind_of(device) == kind)


def require_room(session: Transaction, most: int | None) -> None:
    """Raises QueueFull where `most` jobs wait already."""
    if most is None:
        return
    waiting = select(Job.id).where(Job.status == Status.QUEUED).limit(most).subquery()
    if session.execute(select(func.count()).select_from(waiting)).scalar_one() >= most:
        raise QueueFull(most)
