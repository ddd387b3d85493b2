"""Pages of a list of many jobs: each order, each filter, the search, and what they cost together."""

from __future__ import annotations

import http.client
import math
import os
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqlalchemy import insert, text

from benchmarks.rows import Row, filesystem
from benchmarks.service.points import get_timed
from benchmarks.service.setup import Alone, Setup, api_alone
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.finding_tables import JobMetric, JobWord
from jobs.ids import new_id
from jobs.repository import finding
from jobs.repository.finding import Wanted
from jobs.spec import SPEC
from jobs.states import Status
from jobs.tables import Job, Label, Sweep, Trial
from jobs.words import words_of

FILL = 2_000  # jobs of one transaction, while they are written
READS, QUICK_READS = 40, 5
DEEP = 30_000  # rows before a page that lies deep in a list
TRIALS = 200  # jobs of the sweep
NETWORKS = ("lenet5_bn", "vgg_small", "resnet20", "resnet32")
STATUSES = ((Status.SUCCEEDED, 0.85), (Status.FAILED, 0.08), (Status.CANCELLED, 0.05), (Status.QUEUED, 0.02))
RARE = 1_000
"""One job in so many has a star, the label `rare:yes`, and a name of its own."""


def measure(setup: Setup) -> Iterator[Row]:
    for database in setup.databases:
        with api_alone(setup, database, max_queued_jobs="1000000") as service:
            yield from _pages(setup, database, service)


def _pages(setup: Setup, database: str, service: Alone) -> Iterator[Row]:
    store, count = Database(service.database_url), setup.amounts.listed
    sweep = fill(store, count)
    if not store.sqlite:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))  # what autovacuum does within a minute
    load = os.getloadavg()
    addresses = dict(_addresses(store, count, sweep))
    store.dispose()
    about = {"database": database, "quick": setup.quick, "jobs": count, "filesystem": filesystem(setup.scratch)}
    address = urlsplit(service.url)
    connection_ = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=600)
    reads, ends = QUICK_READS if setup.quick else READS, []
    for name, target in addresses.items():
        times = [get_timed(connection_, target)[0] for _ in range(reads + 1)][1:]
        ends.append(sorted(times)[math.ceil(0.95 * len(times)) - 1])
        yield Row(f"a page of {count} jobs", f"{database}, {name}", "ms", times, load, about)
    connection_.close()
    about |= {"pages": list(addresses)}
    yield Row(f"p95 of a page of {count} jobs", f"{database}, each of {len(ends)} kinds", "ms", ends, load, about)


def _addresses(store: Database, count: int, sweep: str) -> Iterator[tuple[str, str]]:
    """Each kind of page by what it shows."""
    accuracy, deep = "metric:val/accuracy", min(DEEP, count // 3)
    kinds: dict[str, dict[str, Any]] = {
        "newest": {},
        "oldest": {"order": "asc"},
        "last finished": {"sort": "finished"},
        "first finished": {"sort": "finished", "order": "asc"},
        "best accuracy": {"sort": accuracy},
        "worst accuracy": {"sort": accuracy, "order": "asc"},
        "best loss": {"sort": "metric:val/loss"},
        "a metric that one in 1000 has": {"sort": "metric:rare"},
        "a metric that none has": {"sort": "metric:none"},
        "a field of the spec": {"sort": "spec.optimizer.eta"},
        "a label": {"sort": "label.study"},
        "a nested number of the result": {"sort": "result.counts.add"},
        "duration": {"sort": "duration"},
        "status": {"status": "failed"},
        "two statuses": {"status": ["succeeded", "failed"]},
        "a status that none has": {"status": "paused"},
        "dataset": {"dataset": "mnist"},
        "a dataset that none has": {"dataset": "imagenet"},
        "starred": {"starred": "true"},
        "starred by accuracy": {"starred": "true", "sort": accuracy},
        "a sweep by accuracy": {"sweep": sweep, "sort": accuracy},
        "a common label": {"label": "user:user-1"},
        "a common label by accuracy": {"label": "user:user-1", "sort": accuracy},
        "a rare label": {"label": "rare:yes"},
        "a rare label by end": {"label": "rare:yes", "sort": "finished"},
        "search, all have it": {"q": "digits"},
        "search, one has it": {"q": "number777"},
        "search, one in 1000 has it": {"q": "baseline"},
        "search, two words": {"q": "resnet user"},
        "search, a rare and a common word": {"q": "baseline lenet"},
        "search by accuracy": {"q": "vgg", "sort": accuracy},
        "search by end": {"q": "vgg", "sort": "finished"},
        "failed by accuracy": {"status": "failed", "sort": accuracy},
        "failed by end": {"status": "failed", "sort": "finished"},
        "queued by end": {"status": "queued", "sort": "finished"},
        "dataset and status by accuracy": {"dataset": "mnist", "status": "succeeded", "sort": accuracy},
        "dataset, label and word by accuracy": {
            "dataset": "mnist", "label": "user:user-1", "q": "vgg", "sort": accuracy,
        },
        "an empty combination": {"dataset": "mnist", "status": "failed", "starred": "true", "q": "vgg"},
    }  # fmt: skip
    for name, query in kinds.items():
        yield name, f"/v1/jobs?{urlencode(query, doseq=True)}"
    for name, wanted in {
        "newest, deep": Wanted(),
        "last finished, deep": Wanted(sort="finished"),
        "best accuracy, deep": Wanted(sort=accuracy),
    }.items():
        with store.read(DEFAULT) as session:
            cursor = finding.list_jobs(session, wanted, limit=deep).next
        yield name, f"/v1/jobs?{urlencode({'sort': wanted.sort, 'after': cursor})}"
    with store.read(DEFAULT) as session:
        last = finding.list_jobs(session, limit=1).rows[0].id
    yield "by the end of an id", f"/v1/resolve?{urlencode({'id': last[-8:]})}"
    yield "by the beginning of an id", f"/v1/resolve?{urlencode({'id': last[:10]})}"
    yield "the page /", "/"
    yield "the page / by accuracy", f"/?{urlencode({'sort': accuracy})}"


def fill(store: Database, count: int) -> str:
    """Writes so many jobs, most of them finished, as the repository leaves them; returns the id of a sweep of some."""
    chance, sweep, first = random.Random(0), new_id("sweep"), list[str]()
    for begin in range(0, count, FILL):
        made = [_job(chance, number) for number in range(begin, min(begin + FILL, count))]
        with store.write(DEFAULT) as session:
            session.execute(insert(Job), [one["row"] for one in made])
            for table, name in ((Label, "labels"), (JobWord, "words"), (JobMetric, "metrics")):
                session.execute(insert(table), [row for one in made for row in one[name]])
        first += [one["row"]["id"] for one in made] if len(first) < TRIALS else []
    with store.write(DEFAULT) as session:
        row = {"id": sweep, "status": "succeeded", "spec": {}, "body_sha256": "", "created_at": 1, "finished_at": 2}
        session.execute(insert(Sweep), row)
        trials = [{"sweep_id": sweep, "number": n, "status": "succeeded", "parameters": {}, "job_id": job_id}
                  for n, job_id in enumerate(first[:TRIALS])]  # fmt: skip
        session.execute(insert(Trial), trials)
    return sweep


def _job(chance: random.Random, number: int) -> dict[str, Any]:
    """The rows of one job."""
    arch, dataset = chance.choice(NETWORKS), chance.choice(("mnist", "fashion_mnist"))
    labels = {"user": f"user-{number % 20}", "study": f"digits-{number % 300}"}
    if number % RARE == 7:
        labels |= {"rare": "yes"}
    document = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": dataset}, "labels": labels}
    status = chance.choices([one for one, _ in STATUSES], [share for _, share in STATUSES])[0]
    done, created = status is Status.SUCCEEDED, time.time_ns() // 10**6
    result = {"val/accuracy": round(chance.random(), 3), "val/loss": chance.random(), "train/loss": chance.random()}
    result |= {"rare": chance.random()} if number % RARE == 7 else {}
    id_ = new_id("job")
    name = f"baseline number{number}" if number % RARE == 777 % RARE else None
    row = {
        "id": id_, "kind": "train", "status": status, "spec": _spec(document), "priority": 0, "needs_device": "auto",
        "max_attempts": 3, "created_at": created, "queued_at": created, "attempt": 1 if status.final else 0,
        "faults": 0, "fence": 0, "last_seq": 0, "log_bytes": 0, "name": name, "starred": number % RARE == 7,
        "dataset": dataset, "finished_at": created + chance.randrange(10**7) if status.final else None,
        "result": {**result, "counts": {"add": 833_040, "mul": 0}} if done else None,
    }  # fmt: skip
    texts = (name, arch, dataset, *(part for label in labels.items() for part in label))
    return {
        "row": row,
        "labels": [{"job_id": id_, "key": key, "value": value} for key, value in labels.items()],
        "words": [{"job_id": id_, "word": word} for word in words_of(texts)],
        "metrics": [{"job_id": id_, "name": key, "value": value} for key, value in result.items()] if done else [],
    }


_specs: dict[str, dict[str, Any]] = {}


def _spec(document: dict[str, Any]) -> dict[str, Any]:
    """The whole spec; one of each dataset is validated."""
    name = document["dataset"]["name"]
    if name not in _specs:
        _specs[name] = SPEC.validate_python(document).model_dump(mode="json")
    return {**_specs[name], "labels": document["labels"]}
