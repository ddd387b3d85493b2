"""The queue: whose turn it is, taking a job, and how many may wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import ColumnElement, Select, func, insert, or_, select, text, union_all, update
from sqlalchemy.orm import Session

from jobs import scheduling
from jobs.clock import now_ms
from jobs.environment import device_of
from jobs.errors import QueueFull
from jobs.repository.attempts import Claim
from jobs.repository.core import append_events
from jobs.repository.outlook import live_hosts, waiting_of
from jobs.repository.recovery import live_workers
from jobs.states import Status
from jobs.tables import Attempt, Job

HEADS = 16
"""Best jobs of each demand that a claim looks at: as many workers may claim at once without waiting for each other."""
TRIES = 20
MOST_LEVELS = 100
"""Different demands for memory up to which each is looked at by itself; with more of them, jobs are filtered."""
PATIENCE_MS = 60_000
"""A job that must run alone and has waited so long makes a busy worker wait until it is idle."""

MOST_MB = 2**62


@dataclass(frozen=True)
class Demand:
    """What queued jobs may ask for: a device, and an amount of memory."""

    device: str
    memory_mb: int
    upto: bool = False
    """Any amount up to that."""

    @property
    def of(self) -> ColumnElement[bool]:
        """That a job has this demand."""
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
    """MiB that its jobs have not asked for; None: as much as any job wants."""
    keys: Sequence[str] = ()
    """Each `Job.exact_key` with which it can go on."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What a device is called in such a key, where that is not `cpu`: `{"cuda:0": "NVIDIA H200"}`."""
    idle: bool = True
    """It runs nothing else."""

    @cached_property
    def places(self) -> Mapping[str, str]:
        """Device that a job gets, by what it asks for."""
        return scheduling.placement(self.devices, self.gpus or scheduling.has_gpu(self.devices))

    @cached_property
    def free_keys(self) -> Sequence[str]:
        """Those of `keys` whose device is free."""
        free = {self._name(device) for device in self.devices}
        return [key for key in self.keys if device_of(key) in free]

    def place(self, job: Job) -> str:
        """The device for a job that fits."""
        if job.exact_key is not None and job.exact_key in self.free_keys:
            name = device_of(job.exact_key)
            return next(device for device in self.devices if self._name(device) == name)
        return self.places[job.needs_device]

    def _name(self, device: str) -> str:
        return self.names.get(device, device)


def claim(session: Session, offer: Offer, lease_ms: int, *, live_ms: int = scheduling.Rules.live_ms) -> Claim | None:
    """Takes the best queued job that fits, if any: highest priority, then whose turn it is.

    None also where the worker drains, or where the best job must run alone and waits for the worker to be idle.
    On PostgreSQL rows that another worker is claiming are skipped; on SQLite the write transaction serialises claims.
    """
    demands = _demands(session, sorted(offer.places), offer.memory_mb, offer.worker_id)
    if not demands:
        return None
    heads = _heads(demands, _fits(offer))
    for _ in range(TRIES):
        # Two statements: with both in one, PostgreSQL without statistics was seen to look for the heads row by row.
        found = session.execute(heads).scalars().all()
        if not found:
            return None
        job = session.execute(_best(found)).scalar_one_or_none()
        if job is not None and (offer.idle or not scheduling.last_chance(job.faults, job.max_attempts)):
            return _take(session, job, offer, lease_ms)
        if job is not None and _holds_back(session, job, offer, live_ms):
            return None
        if job is not None:
            heads = _heads(demands, _fits(offer, patient=True))
        # Else all of them were just being taken; what stands behind them shows now.
    return None


def _take(session: Session, job: Job, offer: Offer, lease_ms: int) -> Claim:
    """Makes a *locked* queued job the worker's."""
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
        row.id, row.fence, row.attempt, row.kind, row.spec, row.max_attempts, row.faults, device, row.threads,
        row.exact_key,
    )  # fmt: skip


def _holds_back(session: Session, job: Job, offer: Offer, live_ms: int) -> bool:
    """Whether it is this worker that takes no more jobs until it is idle, for one that has long waited to run alone.

    One worker does, the first that could take it, so that a job for which none gets idle does not wait for ever, and
    the others go on. Whichever is idle first takes it.
    """
    needs = waiting_of(job).needs
    able = [host.id for host in live_hosts(session, live_ms) if host.may(needs)]
    return not able or offer.worker_id == min(able)


def _fits(offer: Offer, patient: bool = False) -> ColumnElement[bool]:
    """What the offer asks of a job besides its demand. `patient`: none that must run alone, however long it waits."""
    exact = or_(Job.exact_key.is_(None), Job.any_environment, Job.exact_key.in_(offer.free_keys))
    if offer.idle:
        return exact
    not_last = or_(Job.faults == 0, Job.faults < Job.max_attempts - 1)  # scheduling.last_chance
    return exact & (not_last if patient else or_(not_last, Job.queued_at < now_ms() - PATIENCE_MS))


def _heads(demands: Sequence[Demand], fits: ColumnElement[bool]) -> Select[str]:
    """Ids of the best jobs of each demand: a short range of `ix_jobs_claim` for each of them."""
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
    """Of these jobs the next one that is still queued and that nobody else is taking, locked."""
    return (
        select(Job)
        .where(Job.id.in_(ids), Job.status == Status.QUEUED)
        .order_by(Job.priority.desc(), Job.turn, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )


def _demands(
    session: Session, devices: Sequence[str], memory_mb: int | None, worker_id: str | None = None
) -> list[Demand]:
    """Which different demands stand in the queue for these kinds of device: one probe of the index for each.

    Empty where the worker (when one is given) drains.
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
"""Of each device, the different demands for memory that queued jobs have, ascending; NULL after the last."""


def turn_for(session: Session, job: Job, rules: scheduling.Rules) -> int:
    """The turn of a job that is being submitted: `max(V, last) + work`.

    Only jobs of its priority count that may want the same slots. `last` is the turn of the newest one of its share. V
    is the largest turn ever claimed, but no more than where the queues stand that the job could join: a worker that
    alone has much memory may serve turns far ahead of all others, and whoever comes new must not line up behind those.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Jobs that one share submits side by side must not get one turn.
        share = f"{job.priority} {job.share}"
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(share, 1))))
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
    elif served is None and last == 0:  # nothing was claimed yet: the first in the queue begins at V
        virtual = _standing(session, job, rules.live_ms, Job.turn - Job.work) or 0
    else:
        virtual = last  # V is no more than that
    return int(max(virtual, last)) + job.work


def _standing(session: Session, job: Job, live_ms: int, place: ColumnElement[int]) -> int | None:
    """Where the queues stand that the job may join: at each live worker that could take it the smallest `place` that
    waits for the same slots, and the largest of those. None where such a worker has nothing in its queue.

    Jobs that have run before are left out: they keep their old turn, however long ago that was.
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
    """Which demands for a device take the slots that such a job would take of a worker; none where it has no such."""
    places = scheduling.placement(devices, scheduling.has_gpu(devices))
    if needs_device not in places:
        return frozenset()
    kind = scheduling.kind_of(places[needs_device])
    return frozenset(needs for needs, device in places.items() if scheduling.kind_of(device) == kind)


def require_room(session: Session, most: int | None) -> None:
    """Raises QueueFull where `most` jobs wait already."""
    if most is None:
        return
    waiting = select(Job.id).where(Job.status == Status.QUEUED).limit(most).subquery()
    if session.execute(select(func.count()).select_from(waiting)).scalar_one() >= most:
        raise QueueFull(most)
