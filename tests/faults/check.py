"""What must hold of every accepted job once the faults are over, read from the database, the store and the journal."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from jobs.repository import history
from jobs.states import Status
from jobs.store import ArtifactStore
from jobs.tables import Artifact, Event, Job
from tests.faults import chain
from tests.faults.chain import Task
from tests.faults.stage import Accepted, Stage, alive

WROTE = re.compile(r"^attempt (\d+) step \d+$", re.MULTILINE)
TIMINGS = ("images_per_second",)
"""Metrics that depend on the clock."""


@dataclass
class Verdict:
    """What is wrong with a job, as sentences."""

    job: str
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    compared: bool = False
    """Whether it came to a result that can be compared."""


@dataclass(frozen=True)
class Expected:
    """The result of an untouched run."""

    metrics: Mapping[tuple[str, int], tuple[int, float | None]]
    """`(epoch, value)` by name and step."""
    artifacts: Mapping[str, str]
    """sha256 by name, of those artifacts that depend on nothing but the spec."""


@dataclass(frozen=True)
class Record:
    """All that is stored of a job."""

    job: Job
    events: list[Event]
    metrics: list[Any]
    artifacts: dict[str, Artifact]
    log: str


def expected_of(task: Task) -> Expected:
    points, state = {}, chain.start(task)
    for step, state in chain.states(task):
        points[chain.METRIC, step] = (1, chain.value(state))
    result = hashlib.sha256(chain.result_bytes(state, task)).hexdigest()
    return Expected(points, {"chain.bin": result})


def observed(record: Record, names: tuple[str, ...]) -> Expected:
    """What a job came to, to compare others with."""
    return Expected(values(record), {name: record.artifacts[name].sha256 for name in names})


def values(record: Record) -> dict[tuple[str, int], tuple[int, float | None]]:
    return {(m.name, m.step): (m.epoch, m.value) for m in record.metrics if m.name not in TIMINGS}


def read(session: Session, job_id: str) -> Record:
    chunks, at = [], 0
    while more := history.log_chunks(session, job_id, from_byte=at):
        chunks += [chunk.text for chunk in more]
        at = more[-1].offset + 1
    return Record(
        session.get_one(Job, job_id),
        list(history.events(session, job_id)),
        list(history.metrics(session, job_id)),
        {artifact.name: artifact for artifact in history.artifacts(session, job_id)},
        "".join(chunks),
    )


def verdicts(stage: Stage, real: Expected | None) -> list[Verdict]:
    """Of all accepted jobs; `real` is what an untouched training came to."""
    found = []
    for accepted in stage.accepted:
        record = stage.ask(lambda session, job_id=accepted.id: read(session, job_id))
        expected = real if accepted.task is None else expected_of(accepted.task)
        found.append(_judge(stage, accepted, record, expected))
    return found


def _judge(stage: Stage, accepted: Accepted, record: Record, expected: Expected | None) -> Verdict:
    verdict = Verdict(accepted.id)
    status = Status(record.job.status)
    if status not in accepted.ends:
        why = (record.job.error or {}).get("message", "")
        verdict.lost.append(f"{accepted.id} is {status}, not {' or '.join(accepted.ends)}. {why}".strip())
    verdict.duplicated += _twice(stage, record)
    if status.final:
        verdict.lost += _missing(record, stage.store)
    if status is Status.SUCCEEDED and expected is not None:
        verdict.compared = True
        verdict.different += _differences(record, expected)
    return verdict


def _missing(record: Record, store: ArtifactStore) -> list[str]:
    """Rows and bytes that a final job must have."""
    job = record.job
    # Who is cancelled while its worker is lost has its log in the database only.
    kept = "log.txt" in record.artifacts or (job.status != Status.SUCCEEDED and record.log)
    wrong = [] if kept or not job.attempt else [f"{job.id} lacks its log"]
    for name, artifact in record.artifacts.items():
        try:
            with store.open(artifact.sha256) as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
        except Exception as error:  # noqa: BLE001  (whatever it is: the artifact cannot be read)
            wrong.append(f"{job.id}: {name}: {error}")
        else:
            wrong += [] if sound else [f"{job.id}: the bytes of {name} have another checksum"]
    return wrong


def _twice(stage: Stage, record: Record) -> list[str]:
    """Whatever shows that two owners had the job at a time, or that something was written again."""
    job, wrong = record.job, []
    steps = [(e.data or {}).get("to") for e in record.events if e.type == "status"]
    finals = [to for to in steps if to and Status(to).final]
    if len(finals) > 1:
        wrong.append(f"{job.id} ended {len(finals)} times: {', '.join(finals)}")
    begun = [(e.data or {}).get("attempt") for e in record.events if (e.data or {}).get("to") == Status.RUNNING]
    if begun != list(range(1, job.attempt + 1)):
        wrong.append(f"{job.id} began the attempts {begun}, its row says {job.attempt}")
    rows: dict[str, Callable[[], list[Any]]] = {
        "seq": lambda: [e.seq for e in record.events] + [m.seq for m in record.metrics],
        "metric": lambda: [(m.name, m.step) for m in record.metrics],
        "child of attempt": lambda: [
            (line.split()[0], line.split()[1])
            for line in stage.journal.read_text().splitlines()
            if line.startswith(job.id)
        ],
    }
    for what, of in rows.items():
        wrong += [f"{job.id} has the {what} {key} {n} times" for key, n in Counter(of()).items() if n > 1]
    wrong += _two_writers(record)
    if Status(job.status).final:
        last = max((e.seq for e in record.events if e.type == "status"), default=0)
        if any(m.seq > last for m in record.metrics) or any(e.seq > last for e in record.events):
            wrong.append(f"{job.id} was written to after its end")
        wrong += [
            f"{job.id}: the child {pid} of attempt {n} outlived the job"
            for (id, n), pid in stage.children().items()
            if id == job.id and alive(pid)
        ]
    return wrong


def _two_writers(record: Record) -> list[str]:
    """An attempt that wrote after a later one had begun to write."""
    job, wrong = record.job, []
    writers = [int(number) for number in WROTE.findall(record.log)]
    if writers != sorted(writers):
        wrong.append(f"{job.id} has the log of two attempts mixed: {' '.join(map(str, dict.fromkeys(writers)))}")
    author = (job.result or {}).get("attempt", job.attempt)
    if author != job.attempt:
        wrong.append(f"{job.id} holds the result of attempt {author}, but attempt {job.attempt} owned it")
    return wrong


def _differences(record: Record, expected: Expected) -> list[str]:
    job, found, wrong = record.job, values(record), []
    if found != dict(expected.metrics):
        wrong_keys = [key for key in {*found, *expected.metrics} if found.get(key) != expected.metrics.get(key)]
        wrong.append(f"{job.id}: {len(wrong_keys)} metric rows differ, such as {sorted(wrong_keys)[:3]}")
    order = [(m.name, m.step) for m in record.metrics]
    for name in {name for name, _ in order}:
        of_name = [step for other, step in order if other == name]
        if of_name != sorted(of_name):
            wrong.append(f"{job.id}: the rows of {name} are not in order")
    for name, sha256 in expected.artifacts.items():
        if name not in record.artifacts:
            wrong.append(f"{job.id} lacks {name}")
        elif record.artifacts[name].sha256 != sha256:
            wrong.append(f"{job.id}: {name} has other bytes")
    return wrong
