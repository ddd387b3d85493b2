"""A worker that does what it is told: it claims jobs and writes what a training would, through the repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.ids import new_id
from jobs.repository import attempts, core, lifecycle, queue, recovery
from jobs.repository.attempts import Claim, NewArtifact
from jobs.repository.queue import Offer
from jobs.spec import SPEC
from jobs.states import Status
from jobs.store import ArtifactStore
from jobs.system_metrics import Sample, points_of
from jobs.tables import Job, Model
from tests.api.attempt import MANIFEST
from tests.support.specs import train_spec

LEASE_MS = 600_000
STEPS_PER_EPOCH = 10
ENVIRONMENT = {"device": "cpu", "backend": "portable", "torch": "2.13.0", "addercore": "0.1.0", "threads": 2}


class StandIn:
    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self.database = database
        self.store = store

    def heartbeat(self, **stats: Any) -> None:
        worker = {
            "id": "worker_a",
            "hostname": "atelier",
            "pid": 1,
            "slots": 1,
            "device": "cpu",
            "devices": ["cpu"],
            "memory_mb": 4096,
            "offers": [],
            "stats": stats,
            "info": {"threads": 2},
        }
        with self.database.write(SERVICE) as session:
            recovery.heartbeat(session, worker)

    def sampled(self, claim: Claim, samples: Sequence[Sample]) -> None:
        """What the job used; the samples' times count from its beginning."""

        def add(session: Any, job: Job) -> None:
            began = job.started_at or 0
            at = [replace(one, time=began + one.time) for one in samples]
            attempts.add_metrics(session, job, [point for one in at for point in points_of(one, began)])

        self.write(claim, add)

    def submit(self, **changes: Any) -> str:
        with self.database.write(DEFAULT) as session:
            return lifecycle.submit(session, train_spec(**changes)).job.id

    def claim(self) -> Claim:
        with self.database.write(SERVICE) as session:
            claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
        assert claim is not None
        return claim

    def submit_evaluation(self) -> str:
        """An evaluation of a model that was published before."""
        model_id = self.publish(self.start())
        body = {"kind": "evaluate", "model_id": model_id, "dataset": {"name": "digits"}}
        with self.database.write(DEFAULT) as session:
            return lifecycle.submit(session, SPEC.validate_python(body)).job.id

    def publish(self, claim: Claim) -> str:
        """A model whose only true part is what the pages show."""
        stored = self.store.put_stream([b"weights"])
        model = Model(
            id=new_id("model"),
            job_id=claim.job_id,
            source="trained",
            arch="lenet5_bn",
            method="adder",
            dataset="digits",
            parameters=44426,
            manifest={**MANIFEST, "classes": ["0", "1"]},
            metrics={"val/accuracy": 0.9861},
            sha256=stored.sha256,
            bytes=stored.bytes,
            created_at=_now(),
        )
        self.write(claim, lambda session, job: attempts.publish_model(session, job, model))
        return model.id

    def start(self, **changes: Any) -> Claim:
        self.submit(**changes)
        return self.claim()

    def write(self, claim: Claim, change: Callable[[Any, Job], object]) -> None:
        with self.database.write(DEFAULT) as session:
            change(session, attempts.lock(session, claim, LEASE_MS))

    def points(self, claim: Claim, name: str, values: Iterable[float | None], first_step: int = 1) -> None:
        rows = [
            {"name": name, "step": step, "epoch": 1 + (step - 1) // STEPS_PER_EPOCH, "value": value, "time": _now()}
            for step, value in enumerate(values, start=first_step)
        ]
        self.write(claim, lambda session, job: attempts.add_metrics(session, job, rows))

    def epoch(self, claim: Claim, epoch: int, epochs: int = 10) -> None:
        """One epoch: losses and accuracies that get better, a line of log, progress."""
        first = 1 + (epoch - 1) * STEPS_PER_EPOCH
        steps = range(first, first + STEPS_PER_EPOCH)
        self.points(claim, "train/loss", [2.0 / step for step in steps], first)
        self.points(claim, "lr", [0.1 / step for step in steps], first)
        self.points(claim, "grad_norm/conv1", [1.0 / step for step in steps], first)
        self.points(claim, "grad_norm/conv2", [2.0 / step for step in steps], first)
        self.points(claim, "val/accuracy", [1 - 0.5 / epoch], first + STEPS_PER_EPOCH - 1)

        def rest(session: Any, job: Job) -> None:
            job.environment = ENVIRONMENT
            job.progress = {
                "epoch": epoch,
                "epochs": epochs,
                "step": epoch * STEPS_PER_EPOCH,
                "steps": epochs * STEPS_PER_EPOCH,
                "fraction": epoch / epochs,
                "images_per_second": 1234.5,
                "eta_seconds": 10.0 * (epochs - epoch),
            }
            attempts.add_log(session, job, f"epoch {epoch} of {epochs} is done\n")

        self.write(claim, rest)

    def event(self, claim: Claim, message: str) -> None:
        self.write(claim, lambda s, job: core.append_events(s, job, [{"type": "note", "message": message}]))

    def log(self, claim: Claim, text: str) -> None:
        self.write(claim, lambda session, job: attempts.add_log(session, job, text))

    def succeed(self, claim: Claim, **result: Any) -> None:
        stored = self.store.put_stream([b"weights"])

        def end(session: Any, job: Job) -> None:
            job.result = {"val/accuracy": 0.9861, **result}
            artifact = NewArtifact("model.safetensors", "model", "application/octet-stream", stored)
            attempts.add_artifacts(session, job, [artifact])
            attempts.finish(session, job, Status.SUCCEEDED, "The training is done.")

        self.write(claim, end)

    def fail(self, claim: Claim, code: str, message: str, log_tail: str, *left: str) -> None:
        """`left` are the names of files that it published."""
        error = {"code": code, "message": message, "log_tail": log_tail}
        files = [NewArtifact(name, "file", "image/png", self.store.put_stream([name.encode()])) for name in left]

        def end(session: Any, job: Job) -> None:
            attempts.add_artifacts(session, job, files)
            attempts.finish(session, job, Status.FAILED, message, error)

        self.write(claim, end)

    def end_cancelled(self, claim: Claim) -> None:
        self.write(claim, lambda session, job: attempts.finish(session, job, Status.CANCELLED, "Cancelled."))

    def end_paused(self, claim: Claim) -> None:
        self.write(claim, lambda session, job: attempts.hand_back(session, job, Status.PAUSED, "Paused."))

    def status(self, job_id: str) -> str:
        with self.database.read(DEFAULT) as session:
            return lifecycle.get(session, job_id).status


def _now() -> int:
    return time.time_ns() // 1_000_000
