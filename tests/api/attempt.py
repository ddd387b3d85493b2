"""What a worker would write of a job, by way of the repository, without training anything."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

from sqlalchemy.orm import Session

from addercore import arch
from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.ids import new_id
from jobs.repository import attempts, models, queue, recovery
from jobs.repository.attempts import Claim, NewArtifact
from jobs.repository.queue import Offer
from jobs.states import Status
from jobs.store import ArtifactStore
from jobs.system_metrics import Sample, points_of
from jobs.tables import Job

LEASE_MS = 60_000
TIME = 1_763_694_000_123


class Worker:
    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self.database = database
        self.store = store
        self.id = new_id("worker")

    def heartbeat(self, **stats: Any) -> None:
        with self.database.write(SERVICE) as session:
            info = {"torch": "2.13.0", "backends": ["c", "reference"]}
            row = {"id": self.id, "hostname": "here", "pid": 1, "slots": 2, "device": "cpu", "info": info}
            row |= {"devices": ["cpu"], "memory_mb": 4096, "offers": [], "stats": stats}
            recovery.heartbeat(session, row)

    def claim(self) -> Claim:
        with self.database.write(SERVICE) as session:
            claim = queue.claim(session, Offer(self.id), LEASE_MS)
        assert claim is not None, "nothing is queued"
        return claim

    @contextmanager
    def writing(self, claim: Claim) -> Iterator[tuple[Session, Job]]:
        with self.database.write(claim.project) as session:
            yield session, attempts.lock(session, claim, LEASE_MS)

    def metrics(self, claim: Claim, first: int, last: int, name: str = "train/loss") -> None:
        """Points at the steps `first` to `last`; every tenth is not a number."""
        points = [
            {"name": name, "step": s, "epoch": s // 100, "value": None if s % 10 == 0 else 1 / s, "time": TIME + s}
            for s in range(first, last + 1)
        ]
        with self.writing(claim) as (session, job):
            attempts.add_metrics(session, job, points)
            job.progress = {"epoch": 0, "epochs": 1, "step": last, "steps": 1000, "fraction": last / 1000}

    def sampled(self, claim: Claim, samples: Sequence[Sample]) -> None:
        """What the job used; the samples' times count from its beginning."""
        with self.writing(claim) as (session, job):
            began = job.started_at or 0
            at = [replace(one, time=began + one.time) for one in samples]
            attempts.add_metrics(session, job, [point for one in at for point in points_of(one, began)])

    def log(self, claim: Claim, text: str) -> None:
        with self.writing(claim) as (session, job):
            attempts.add_log(session, job, text)

    def artifact(self, claim: Claim, name: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        stored = self.store.put_stream([content])
        with self.writing(claim) as (session, job):
            attempts.add_artifacts(session, job, [NewArtifact(name, "file", media_type, stored)])

    def checkpoint(self, claim: Claim, step: int) -> None:
        stored = self.store.put_stream([f"checkpoint {step}".encode()])
        with self.writing(claim) as (session, job):
            attempts.add_checkpoint(session, job, step, stored, keep=2)

    def publish(self, claim: Claim) -> str:
        content = model_file()
        stored = self.store.put_stream([content])
        with self.writing(claim) as (session, job):
            model = models.new_model(MANIFEST, stored, source="trained", job_id=job.id, metrics={"val/accuracy": 0.9})
            attempts.publish_model(session, job, model)
            return model.id

    def finish(self, claim: Claim, to: Status = Status.SUCCEEDED, error: dict[str, Any] | None = None) -> None:
        with self.writing(claim) as (session, job):
            if to is Status.SUCCEEDED:
                job.result = {"val/accuracy": 0.97}
            attempts.finish(session, job, to, "It ended.", error)

    def pause(self, claim: Claim) -> None:
        with self.writing(claim) as (session, job):
            attempts.hand_back(session, job, Status.PAUSED, "Paused.")


NETWORK = arch.network("lenet5_bn", (1, 32, 32), 10)
MANIFEST: dict[str, Any] = {
    "format": 1,
    "network": {
        "arch": "lenet5_bn",
        "method": "adder",
        "first_last": "adder",
        "gradient": "full_precision",
        "input_shape": [1, 32, 32],
    },
    "preprocessing": {"resize": [32, 32], "channels": 1, "mean": [0.3], "std": [0.3]},
    "classes": list("0123456789"),
    "dataset": "digits",
    "config": {},
    "metrics": {"val/accuracy": 0.97},
}


def model_file(manifest: dict[str, Any] = MANIFEST, fill: bytes = b"\x00", network: arch.Network = NETWORK) -> bytes:
    """A `model.safetensors` whose weights are all the same byte, written without torch."""
    entries: dict[str, Any] = {"__metadata__": {"adderworks": json.dumps(manifest)}}
    at = 0
    for name, (dtype, shape) in arch.tensors(network).items():
        size = prod(shape) * (4 if dtype == "F32" else 8)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + fill * at
