"""Jobs under another user than the worker's, tried for real: the test's process is root and gives that up.

A worker begins as root, becomes one user with three capabilities, and runs jobs as a second one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jobs.database import Database
from jobs.migrate import migrate
from jobs.repository import lifecycle
from jobs.settings import Settings
from jobs.states import Status
from tests.conftest import quick_settings
from tests.support.fleet import environment
from tests.support.servers import Valkey, wait_until
from tests.support.shared import ROOT
from tests.support.specs import train_spec
from worker import landlock
from worker.isolation import Isolation

WORKER, CHILD = 10001, 10002


def lacking() -> str:
    """Why this machine cannot try it."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "only root becomes another user"
    try:
        subprocess.run([sys.executable, "-c", "import jobs, torch"], user=CHILD, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"another user cannot run {sys.executable}: {error}"
    return ""


REASON = lacking()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

TRIES = """
import json, os, sys
from pathlib import Path
order = json.load(open(sys.argv[sys.argv.index("--job") + 1]))
pipe = os.fdopen(int(sys.argv[sys.argv.index("--messages-fd") + 1]), "w")
work = Path(order["workdir"])
data = work.parents[2]
worker = os.getppid()
(work / "closed").mkdir(mode=0o700)
(work / "closed" / "file").write_text("x")
tries = {
    "write": lambda: (work / "own").write_text("x"),
    "read the orders": lambda: (work / "job.json").read_text(),
    "read datasets": lambda: (data / "datasets" / "mnist").read_bytes(),
    "list the data folder": lambda: os.listdir(data),
    "read the database": lambda: (data / "adder.db").read_bytes(),
    "read an artifact": lambda: (data / "artifacts" / "blob").read_bytes(),
    "write a dataset": lambda: (data / "datasets" / "mnist").write_text("x"),
    "make a file beside the work folder": lambda: (work.parent / "new").write_text("x"),
    "read the worker's environment": lambda: Path(f"/proc/{worker}/environ").read_bytes(),
    "read the worker's memory": lambda: open(f"/proc/{worker}/mem", "rb").close(),
    "signal the worker": lambda: os.kill(worker, 0),
    "become root": lambda: os.setuid(0),
    "become the worker's user": lambda: os.setuid(10001),
}
found = {"uid": os.getuid(), "groups": sorted({os.getgid(), *os.getgroups()}), "umask": os.umask(0)}
status = Path("/proc/self/status").read_text().splitlines()
found["capabilities"] = [line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
for name, one in tries.items():
    try:
        one()
        found[name] = True
    except OSError:
        found[name] = False
os.umask(0o007)
(work / "found.json").write_text(json.dumps(found))
said = {"type": "artifact", "path": str(work / "found.json"), "name": "found.json", "kind": "x", "media_type": "a/b"}
print(json.dumps(said), file=pipe)
print(json.dumps({"type": "done", "result": {}}), file=pipe)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can get to; those of pytest are closed."""
    with tempfile.TemporaryDirectory(prefix="other-user-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def settings(reachable: Path, valkey: Valkey) -> Settings:
    """A data folder that belongs to the worker's user."""
    valkey.socket.parent.chmod(0o755)
    valkey.socket.chmod(0o666)
    data = reachable / "data"
    (data / "datasets").mkdir(parents=True)
    (data / "artifacts").mkdir(mode=0o700)
    (data / "datasets" / "mnist").write_text("images")
    (data / "artifacts" / "blob").write_text("canary")
    url = f"sqlite:///{data / 'adder.db'}"
    migrate(Database(url))
    for path in (data, *data.rglob("*")):
        os.chown(path, WORKER, WORKER)
    (data / "adder.db").chmod(0o600)
    changes = {"worker_uid": WORKER, "child_uid": CHILD, "lease_seconds": 30.0, "cancel_grace_seconds": 1.0}
    return quick_settings(data, url, valkey.url, **changes)


class Worker:
    """A worker that root starts, and the jobs that it runs."""

    def __init__(self, settings: Settings, **more: str) -> None:
        self.database = Database(settings.resolved_database_url)
        variables = environment(settings, PYTHONPATH=str(ROOT), PGPASSWORD="canary", **more)
        self.log = (settings.data_dir.parent / "worker.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker"], env=variables, stdout=self.log, stderr=self.log, cwd="/"
        )

    def submit(self, **spec: Any) -> str:
        with self.database.write() as session:
            return lifecycle.submit(session, train_spec(**spec)).job.id

    def job(self, job_id: str) -> Any:
        with self.database.read() as session:
            return lifecycle.get(session, job_id)

    def ended(self, job_id: str) -> Any:
        wait_until(lambda: Status(self.job(job_id).status).final or self.process.poll() is not None, "the job to end")
        return self.job(job_id)

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0, self.said()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.database.dispose()


Starting = Callable[..., Worker]


@pytest.fixture
def start(settings: Settings) -> Iterator[Starting]:
    with ExitStack() as stack:

        def begin(**more: str) -> Worker:
            worker = Worker(settings, **more)
            stack.callback(worker.close)
            return worker

        yield begin


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


def test_a_job_is_another_user_than_its_worker_and_reaches_its_work_folder_alone(
    settings: Settings, start: Starting
) -> None:
    program = settings.data_dir.parent / "program.py"
    program.write_text(TRIES)
    worker = start(ADDER_CHILD_COMMAND=f"{sys.executable} {program}")
    job = worker.ended(worker.submit())
    assert job.status == Status.SUCCEEDED, (job.error, worker.said())
    own = status_of(worker.process.pid)
    assert set(own["Uid"]) == {str(WORKER)}
    assert int(own["CapPrm"][0], 16) == int(own["CapEff"][0], 16) == 0b1110_0000, "KILL, SETGID, SETUID"
    blobs = [path for path in (settings.data_dir / "artifacts").rglob("*") if path.is_file()]
    found = next(json.loads(text) for path in blobs if (text := path.read_text()).startswith('{"uid"'))
    assert (found.pop("uid"), found.pop("groups"), found.pop("umask")) == (CHILD, [CHILD], 0o007)
    assert {int(text, 16) for text in found.pop("capabilities")} == {0}
    assert [name for name, worked in found.items() if worked] == ["write", "read the orders", "read datasets"]
    wait_until(lambda: not (settings.work_dir / job.id).exists(), "what the job has closed to its worker to be removed")
    worker.stop()


@pytest.mark.parametrize("forked", [pytest.param("true", marks=pytest.mark.long("a template starts")), "false"])
def test_a_training_under_another_user_is_killed_at_its_limit_and_the_next_one_succeeds(
    settings: Settings, start: Starting, forked: str
) -> None:
    worker = start(ADDER_TEMPLATE=forked)
    if forked == "true":  # else the first jobs are spawned
        wait_until(lambda: "template.ready" in worker.said(), "the template to be ready")
    endless = worker.submit(epochs=100_000, limits={"max_seconds": 20})
    job = worker.ended(endless)
    assert job.error["code"] == "timed_out", worker.said()
    wait_until(lambda: not (settings.work_dir / endless).exists(), "its work folder to be removed")
    job = worker.ended(worker.submit(epochs=1))
    assert job.status == Status.SUCCEEDED, (job.error, worker.said())
    assert job.environment["isolation"] == ("user+landlock" if landlock.abi()[0] else "user")
    assert job.environment["process"] == ("forked" if forked == "true" else "spawned")
    worker.stop()


def test_jobs_end_with_a_worker_of_another_user_that_is_killed(start: Starting) -> None:
    """The lifeline: the kernel kills the job's group, whose user the worker is not."""
    worker = start()
    job_id = worker.submit(epochs=100_000)
    wait_until(lambda: (worker.job(job_id).progress or {}).get("phase") == "training", "the training to run")
    running = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and runs(path, job_id)]
    assert running
    worker.process.kill()
    worker.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in running), "the training to end")


def runs(process: Path, job_id: str) -> bool:
    try:
        return (process / "comm").read_text().strip() == f"job {job_id[-11:]}"
    except OSError:
        return False


def alive(pid: int) -> bool:
    try:
        return status_of(pid)["State"][0] != "Z"
    except OSError:
        return False


def test_a_worker_that_may_not_become_the_user_says_what_it_needs() -> None:
    code = "from worker.isolation import Isolation; from jobs.settings import Settings; "
    code += f"Isolation.of(Settings(child_uid={CHILD}))"
    done = subprocess.run([sys.executable, "-c", code], user=WORKER, cwd=ROOT, capture_output=True, text=True)
    assert "JobsError" in done.stderr
    assert "SETUID, SETGID and KILL" in done.stderr


def test_the_user_and_the_landlock_of_a_worker_have_names() -> None:
    version = landlock.abi()[0]
    own = Isolation.of(Settings(child_uid=CHILD))
    assert own.kind == ("user+landlock" if version else "user")
    assert own.note.startswith(f"user {CHILD}")
    assert Isolation.of(Settings(child_uid=CHILD, child_isolation="none")).kind == "user"
