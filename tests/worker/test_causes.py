"""Why an attempt ended: judged from what is known of its training, and kept in a row of its own."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from jobs.access.scope import DEFAULT, SERVICE
from jobs.environment import environment_key
from jobs.repository import attempts, lifecycle
from jobs.states import Cause, Drain, FailureCode, Status
from jobs.tables import Job
from tests.support.fleet import violations
from tests.worker.steps import attempts_of, causes, events_of, job_of, run_in_background, submit, wait_step
from worker import protocol, supervisor
from worker.app import run_available
from worker.context import WorkerContext
from worker.judgement import Conclusion, Ending, judge

ENDING = Ending(
    attempt=1,
    outcome=None,
    returncode=1,
    started=True,
    stop_sent=False,
    timed_out=False,
    starved=False,
    max_seconds=60,
    out_of_memory=False,
    memory_gb=None,
    tail="",
    protocol_error="",
)
LOADER_LOST = protocol.Failed(code=FailureCode.WORKER_LOST, message="A loader was killed.")


@pytest.mark.parametrize(
    ("ending", "kind", "words"),
    [
        (replace(ENDING, outcome=protocol.Done(result={"x": 1}), returncode=0), "result", ""),
        (replace(ENDING, outcome=protocol.Done(result={"x": 1}), timed_out=True), "result", ""),
        (replace(ENDING, outcome=LOADER_LOST), "fault", "A loader was killed."),
        (replace(ENDING, outcome=LOADER_LOST, out_of_memory=True), "out_of_memory", "batch_size"),
        (replace(ENDING, returncode=-9, out_of_memory=True, memory_gb=2), "out_of_memory", "may use 2 (resources"),
        (replace(ENDING, returncode=-9), "fault", "signal 9"),
        (replace(ENDING, returncode=-15), "fault", "signal 15"),
        (replace(ENDING, returncode=-15, stop_sent=True), "handed", ""),
        (replace(ENDING, returncode=-9, stop_sent=True), "handed", ""),
        (replace(ENDING, returncode=-9, stop_sent=True, timed_out=True), "timed_out", "60 s"),
        (replace(ENDING, outcome=protocol.Stopped(reason="disk_full", message="Full.")), "disk_full", "Full."),
        (replace(ENDING, returncode=-11), "code_error", "signal 11"),
        (replace(ENDING, returncode=-6, started=False, memory_gb=0.1), "out_of_memory", "memory_gb = 0.1"),
        (
            replace(ENDING, returncode=-9, started=False, starved=True, memory_gb=0.3),
            "out_of_memory",
            "memory_gb = 0.3",
        ),
        (replace(ENDING, returncode=-6, started=False), "code_error", "signal 6"),
        (replace(ENDING, memory_gb=2, tail="what(): std::bad_alloc"), "out_of_memory", "Raise it"),
        (replace(ENDING, memory_gb=2, tail="KeyError"), "code_error", "exit status 1"),
        (replace(ENDING, returncode=None), "code_error", "exit status None"),
    ],
)
def test_what_is_known_gives_one_cause_and_says_why(ending: Ending, kind: str, words: str) -> None:
    end = judge(ending)
    assert words in "".join(str(part) for part in (end.result, end.error, end.fault, end.suspension))
    found = (
        "result"
        if end.result
        else end.error[0]
        if end.error
        else "fault"
        if end.fault
        else end.suspension[0]
        if end.suspension
        else "handed"
    )
    assert found == kind
    assert end.hands_back is (kind in ("handed", "disk_full"))


@pytest.mark.parametrize(
    ("do", "cause"),
    [
        ("done", Cause.SUCCEEDED),
        ("fail", Cause.DIVERGED),
        ("crash", Cause.CODE_ERROR),
        ("suicide", Cause.WORKER_LOST),
    ],
)
def test_each_attempt_has_its_cause_in_a_row(lite_context: WorkerContext, do: str, cause: Cause) -> None:
    job_id = submit(lite_context, {"do": do}, limits={"max_attempts": 1})
    run_available(lite_context)
    (attempt,) = attempts_of(lite_context, job_id)
    assert (attempt.cause, attempt.worker_id, attempt.device) == (cause, lite_context.id, "cpu")
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.started_at
    assert attempt.message
    stats = lite_context.stats.report(running=0, spooled=0, gpus=[])
    assert stats["attempts_ended_total"] == {cause: 1}
    assert stats["lease_renewals_total"] >= 1


def test_only_lost_workers_count_against_the_attempts(context: WorkerContext) -> None:
    job_id = submit(context, {"do": "checkpoint", "seconds": "10", "points": "40"}, limits={"max_attempts": 1})
    for step, leave in ((2, "pause"), (4, "drain")):
        thread = run_in_background(context)
        wait_step(context, job_id, step)
        if leave == "pause":
            with context.database.write(DEFAULT) as session:
                lifecycle.pause(session, job_id)
            thread.join(timeout=300)
            with context.database.write(DEFAULT) as session:
                lifecycle.resume(session, job_id)
        else:
            context.drain = Drain.HAND_OVER
            thread.join(timeout=300)
            context.drain = None
        assert not thread.is_alive()
    run_available(context)
    job = job_of(context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.SUCCEEDED, 3, 0)
    assert causes(context, job_id) == [Cause.PAUSED, Cause.HANDED_BACK, Cause.SUCCEEDED]
    assert violations(context.database, job_id, 40) == []


def test_a_training_without_room_is_paused_and_says_so(context: WorkerContext) -> None:
    job_id = submit(context, {"do": "disk_full"})
    run_available(context)
    job = job_of(context, job_id)
    assert (job.status, job.faults, job.lease_expires_at) == (Status.PAUSED, 0, None)
    assert causes(context, job_id) == [Cause.DISK_FULL]
    moves = [(event.data or {})["to"] for event in events_of(context, job_id, "status")]
    assert moves == ["queued", "running", "pausing", "paused"], "along the edges of the state machine"
    assert "0.0 MiB left" in events_of(context, job_id, "status")[-1].message


def test_a_cancel_that_meets_a_full_disk_is_a_cancel(context: WorkerContext) -> None:
    from jobs.repository import attempts, queue
    from jobs.repository.queue import Offer

    job_id = submit(context)
    with context.database.write(SERVICE) as session:
        claim = queue.claim(session, Offer(context.id, idle=True), 60_000)
    assert claim is not None
    with context.database.write(DEFAULT) as session:
        lifecycle.cancel(session, job_id)
    with context.database.write(DEFAULT) as session:
        job = attempts.lock(session, claim, 60_000)
        end = Conclusion(suspension=(Cause.DISK_FULL, "Full."))
        assert end.apply(session, job, Status(job.status), "") is Cause.CANCELLED
    assert job_of(context, job_id).status == Status.CANCELLED


def test_the_first_start_freezes_what_bytes_depend_on(context: WorkerContext) -> None:
    from jobs.repository import attempts, queue
    from jobs.repository.queue import Offer

    said = {"device": "cpu", "backend": "c-avx2", "kernels": "gcc 12", "torch": "2.13", "cpu_capability": "AVX2"}
    job_id = submit(context)
    with context.database.write(SERVICE) as session:
        claim = queue.claim(session, Offer(context.id, idle=True), 60_000)
    assert claim is not None
    for threads, changed in ((3, {}), (5, {"backend": "portable"})):
        with context.database.write(DEFAULT) as session:
            job = attempts.lock(session, claim, 60_000)
            attempts.freeze(job, said | changed | {"threads": threads})
    job = job_of(context, job_id)
    assert (job.environment_key, job.threads) == ("cpu|c-avx2|gcc 12|2.13|AVX2", 3), "once, and not again"
    assert environment_key({"device": "cpu", "backend": "tiny"}) is None, "what says too little freezes nothing"
    assert len(environment_key(said | {"threads": 1, "torch": "x" * 300}) or "") <= 120


def test_a_job_goes_on_with_the_backend_and_threads_of_its_first_attempt(lite_context: WorkerContext) -> None:
    context, key = lite_context, "cpu|c-avx2|gcc 12|2.13|AVX2"
    context.settings = context.settings.model_copy(
        update={"child_command": ("sh", "-c", "echo $ADDER_BACKEND,$OMP_NUM_THREADS,${CUDA_VISIBLE_DEVICES-unset}")}
    )
    job_id = submit(context)
    with context.database.write(DEFAULT) as session:
        job = lifecycle.get(session, job_id)
        job.environment_key, job.threads = key, 7
    run_available(context)
    assert job_of(context, job_id).status == Status.QUEUED, "this worker does not offer it"
    context.offers = (key,)
    run_available(context)
    error = job_of(context, job_id).error
    assert error is not None
    assert error["log_tail"] == "c-avx2,7,\n"


def test_a_training_that_starves_in_silence_is_ended(
    lite_context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's import spins for ever under 0.3 GiB; here: whoever holds its memory and says nothing."""
    monkeypatch.setattr(supervisor, "STARVED_SECONDS", 0.3)
    script = "import time; hoard = bytearray(96 * 2**20); time.sleep(600)"
    lite_context.settings = lite_context.settings.model_copy(update={"child_command": (sys.executable, "-c", script)})
    starving = submit(lite_context, resources={"memory_gb": 0.1}, limits={"max_seconds": 30})
    patient = submit(lite_context, resources={"memory_gb": 2}, limits={"max_seconds": 2})
    run_available(lite_context)
    errors = [job_of(lite_context, job_id).error or {} for job_id in (starving, patient)]
    assert [error["code"] for error in errors] == [FailureCode.OUT_OF_MEMORY, FailureCode.TIMED_OUT]
    assert "resources.memory_gb = 0.1" in errors[0]["message"]


def test_a_kind_without_checkpoints_freezes_nothing() -> None:
    """Each attempt of an evaluation starts anew, so that any worker may take it."""
    said = {"device": "cpu", "backend": "c-avx2", "torch": "2.13", "cpu_capability": "AVX2", "threads": 3}
    job = Job(spec={"kind": "evaluate", "model_id": "model_1"})
    attempts.freeze(job, said)
    assert (job.environment_key, job.threads) == (None, None)
