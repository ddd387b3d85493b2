"""The real training process: failures that only it can meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.repository import lifecycle
from jobs.states import FailureCode, Status
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_spec
from worker.app import run_available
from worker.child import failure
from worker.context import WorkerContext


def test_a_training_beyond_its_memory_says_so(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    context = WorkerContext.create(quick_settings(tmp_path, sqlite_url, valkey.url))
    with context.database.write() as session:
        job_id = lifecycle.submit(session, train_spec(epochs=1, resources={"memory_gb": 0.3})).job.id
    run_available(context)
    with context.database.read() as session:
        job = lifecycle.get(session, job_id)
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == FailureCode.OUT_OF_MEMORY
    assert "memory_gb" in job.error["message"]
    context.app.close()
    context.database.dispose()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), FailureCode.OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), FailureCode.OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), FailureCode.OUT_OF_MEMORY),
        (OSError(28, "No space left on device"), FailureCode.CODE_ERROR),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FailureCode.CODE_ERROR),
    ],
)
def test_the_code_of_an_exception(error: Exception, code: FailureCode) -> None:
    assert failure(error).code == code
