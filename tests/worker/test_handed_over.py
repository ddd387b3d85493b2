"""Files that a job's process names: the worker, which may read more than the process, takes none from elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import JobsError
from jobs.states import Status
from tests.worker.steps import job_of, submit
from worker.app import run_available
from worker.context import WorkerContext
from worker.handed_over import opened


def link(work: Path, secret: Path) -> Path:
    (work / "link").symlink_to(secret)
    return work / "link"


def link_on_the_way(work: Path, secret: Path) -> Path:
    (work / "folder").symlink_to(secret.parent)
    return work / "folder" / secret.name


def pipe(work: Path, secret: Path) -> Path:
    os.mkfifo(work / "pipe")
    return work / "pipe"


TRICKS: list[Callable[[Path, Path], Path]] = [
    lambda _, secret: secret,
    lambda work, secret: work / ".." / secret.name,
    link,
    link_on_the_way,
    pipe,
    lambda work, _: work,
    lambda *_: Path("/proc/self/environ"),
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_that_leads_out_of_the_work_folder_is_refused(
    trick: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    work, secret = tmp_path / "work", tmp_path / "secret"
    work.mkdir()
    secret.write_text("canary")
    with pytest.raises(JobsError), opened(trick(work, secret), work):
        pass


def test_a_file_of_the_work_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model").write_bytes(b"weights")
    with opened(tmp_path / "sub" / "model", tmp_path) as file:
        assert file.read() == b"weights"
    with pytest.raises(FileNotFoundError), opened(tmp_path / "gone", tmp_path):
        pass


CHILD = """
import json, os, sys
order = json.load(open(sys.argv[sys.argv.index("--job") + 1]))
pipe = os.fdopen(int(sys.argv[sys.argv.index("--messages-fd") + 1]), "w")
path = os.path.join(order["workdir"], "notes.txt")
os.symlink({secret!r}, path)
said = {{"type": "artifact", "path": path, "name": "notes.txt", "kind": "log", "media_type": "text/plain"}}
print(json.dumps(said), file=pipe)
print(json.dumps({{"type": "done", "result": {{}}}}), file=pipe)
"""


def test_a_job_that_names_a_foreign_file_fails_and_publishes_nothing(
    lite_context: WorkerContext, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("canary")
    command = (sys.executable, "-c", CHILD.format(secret=str(secret)))
    lite_context.settings = lite_context.settings.model_copy(update={"child_command": command})
    job = submit(lite_context)
    run_available(lite_context)
    after = job_of(lite_context, job)
    assert after.status == Status.FAILED
    assert after.error is not None
    assert "notes.txt" in after.error["message"]
    stored = [path for path in lite_context.store.root.rglob("*") if path.is_file()]  # type: ignore[attr-defined]
    assert [path for path in stored if b"canary" in path.read_bytes()] == []


BROKEN = """
import json, os, sys
order = json.load(open(sys.argv[sys.argv.index("--job") + 1]))
pipe = os.fdopen(int(sys.argv[sys.argv.index("--messages-fd") + 1]), "w")
said = order["workdir"] + "/images cannot be read"
print(json.dumps({"type": "failed", "code": "bad_data", "message": said}), file=pipe)
"""


def test_the_error_of_a_job_does_not_tell_where_the_data_folder_lies(lite_context: WorkerContext) -> None:
    command = (sys.executable, "-c", BROKEN)
    lite_context.settings = lite_context.settings.model_copy(update={"child_command": command})
    job = submit(lite_context)
    run_available(lite_context)
    error = job_of(lite_context, job).error
    assert error is not None
    assert error["message"] == f"work/{job}/1-1/images cannot be read"
