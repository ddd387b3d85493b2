"""What a worker does besides training, at the moment in which it is stopped."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from jobs.access.scope import DEFAULT
from jobs.repository.attempts import Claim
from tests.support.servers import wait_until
from worker import housekeeping, supervisor
from worker.context import WorkerContext
from worker.housekeeping import Housekeeping


def claim_of(number: int) -> Claim:
    return Claim(DEFAULT, f"job_{number}", 1, 1, "train", {}, 3, 0, "cpu", None)


def test_stopping_waits_for_attempts_that_begin_while_it_waits(
    lite_context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that is under way when the worker is stopped may still claim a job; its attempt is waited for, too."""
    claiming, go_on = threading.Event(), threading.Event()
    claims = [claim_of(1), claim_of(2)]
    ended: list[str] = []

    def claim_next(_: WorkerContext) -> Claim | None:
        claiming.set()
        go_on.wait(30)
        return claims.pop(0) if claims else None

    def run_claimed(_: WorkerContext, claim: Claim) -> None:
        go_on.wait(30)
        ended.append(claim.job_id)

    monkeypatch.setattr(housekeeping, "claim_next", claim_next)
    monkeypatch.setattr(housekeeping, "run_claimed", run_claimed)
    monkeypatch.setattr(housekeeping, "run_available", lambda _: None)
    keeping = Housekeeping(lite_context)
    lite_context.info = {"torch": "2.13"}  # it is not asked for
    keeping.start()
    assert claiming.wait(30)
    stopping = threading.Thread(target=keeping.stop)
    stopping.start()
    wait_until(lambda: not stopping.is_alive() or keeping._looking.locked(), "stop to have begun")
    go_on.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert sorted(ended) == ["job_1", "job_2"], "stop has waited for both"


def test_the_spool_counts_the_bytes_of_a_log_and_not_its_characters(
    lite_context: WorkerContext, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """Text that is not ASCII takes two to four times as many bytes: the bound of the memory is one of bytes."""
    given: dict[str, object] = {}

    def child(*_: object, **options: object) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(way="spawned", pid=1)

    monkeypatch.setattr(supervisor, "ChildProcess", child)
    spec = {"resources": {"threads": 1, "memory_gb": None}, "limits": {"max_seconds": None}}
    one = supervisor.Supervisor(lite_context, Claim(DEFAULT, "job_1", 1, 1, "train", spec, 3, 0, "cpu", 1))
    one._start(lite_context.settings.data_dir / "job.json")
    on_log = given["on_log"]
    assert callable(on_log)
    on_log("× 猫" * 100)
    assert one._spool._bytes == len(("× 猫" * 100).encode()) == 600
