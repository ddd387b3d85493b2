"""The template process: a fork of it is as good as a program that was spawned, and its death costs no job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.attempts import Attempts, kill_process
from tests.support.servers import wait_until
from tests.support.shared import ROOT
from tests.support.specs import train_spec
from tests.worker.conftest import ready, restarted
from worker import protocol
from worker.probe import may_have_gpu, probe
from worker.process import ChildProcess
from worker.template import client
from worker.template.client import Template, TemplateLost, code_stamp
from worker.variables import child_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks trainings")
LOOKING = "tests.support.looking_child"
SECRETS = ("ADDER_DATABASE_URL", "PGPASSWORD", "HF_TOKEN", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY")
PASSED = ("SET_AFTER_THE_TEMPLATE_STARTED", "LONG_*")


@pytest.fixture(scope="module")
def kept() -> Iterator[Template]:
    """A template of a child that says what it sees, of a worker that has secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, "canary")
        yield from ready(Template(LOOKING, variables=PASSED))


class Looking:
    """A child that has been started, what it says, and its log."""

    def __init__(self, folder: Path, template: Template | None, *, threads: int = 1, **orders: Any) -> None:
        self.notes: list[dict[str, Any]] = []
        self.log = ""
        self._ended = threading.Event()
        path = folder / f"orders-{time.monotonic_ns()}.json"
        path.write_text(json.dumps(orders))
        program = f"import sys; from {LOOKING} import main; sys.exit(main())"
        self.child = ChildProcess(
            (sys.executable, "-c", program),
            path,
            threads=threads,
            template=template,
            variables=PASSED,
            on_message=lambda line: self.notes.append(json.loads(line)["data"]),
            on_log=self._hear,
            on_end=self._ended.set,
        )

    def _hear(self, text: str) -> None:
        self.log += text

    def seen(self) -> dict[str, Any]:
        wait_until(lambda: bool(self.notes), "the child to look", 120)
        return self.notes[0]

    def end(self) -> int | None:
        assert self._ended.wait(120), self.log
        self.child.close()
        return self.child.returncode


def test_the_template_says_of_the_machine_what_the_probe_says(kept: Template) -> None:
    """Where there may be a GPU it looks at nothing."""
    assert dict(kept.machine) == ({} if may_have_gpu() else probe())


def test_a_forked_training_gives_the_same_bytes_as_a_spawned_one(tmp_path: Path, template: Template) -> None:
    spec = train_spec(epochs=2, metrics_every_steps=3, seed=3)
    found = []
    for way, source in (("forked", template), ("spawned", None)):
        attempts = Attempts(tmp_path / way, spec, template=source, threads=2)
        ways: set[str] = set()
        assert attempts.run(lambda child, _, ways=ways: ways.add(child.way)) == 0  # type: ignore[misc]
        assert ways == {way}
        files = {
            name: (attempts.workdir / name).read_bytes()
            for name in ("model.safetensors", "model.json", "summary.json", "curves.png")
        }
        environment = attempts.heard(protocol.Environment)[0].environment
        found.append((files, attempts.rows, environment, attempts.heard(protocol.Done)[0].result))
    assert found[0][2] == found[1][2], "the same environment, threads included"
    assert found[0][2]["threads"] == 2
    assert found[0] == found[1]


@pytest.mark.long("three trainings")
def test_a_forked_training_that_is_killed_resumes_spawned_to_the_same_bytes(tmp_path: Path, template: Template) -> None:
    spec = train_spec(epochs=3, seed=1, checkpoint={"every_epochs": 1})
    whole = Attempts(tmp_path / "whole", spec, template=template)
    assert whole.run() == 0
    broken = Attempts(tmp_path / "broken", spec, template=template)

    def kill(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved):
            kill_process(child)

    assert broken.run(kill) == -signal.SIGKILL
    broken.template = None
    assert broken.run() == 0
    assert "resume_inexact" not in broken.notes()
    assert "resumed" in broken.notes()
    model = (broken.workdir / "model.safetensors").read_bytes()
    assert model == (whole.workdir / "model.safetensors").read_bytes()


def test_a_forked_training_has_little_memory_of_its_own_before_its_data(tmp_path: Path, template: Template) -> None:
    private: list[float] = []

    def measure(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.Environment):
            lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()
            private.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024)

    assert Attempts(tmp_path / "job", train_spec(epochs=1), template=template).run(measure) == 0
    assert private[0] < 100, "MiB"


def test_a_forked_process_looks_like_a_spawned_one(
    tmp_path: Path, kept: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, folder, group, signals, descriptors: a second job runs, of which nothing is open in the first."""
    monkeypatch.setenv("SET_AFTER_THE_TEMPLATE_STARTED", "yes")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    other = Looking(tmp_path, kept, seconds=3600)
    other.seen()
    forked, spawned = Looking(tmp_path, kept, threads=2), Looking(tmp_path, None, threads=2)
    one, two = forked.seen(), spawned.seen()
    assert (forked.end(), spawned.end()) == (0, 0)
    assert (forked.log, spawned.log) == ("looked\n", "looked\n")
    for same in ("environment", "folder", "torch_threads", "cuda", "terminate", "interrupt", "data_limit"):
        assert one[same] == two[same], same
    assert one["environment"] == child_environment(os.environ, 2, also=PASSED)
    assert one["environment"]["SET_AFTER_THE_TEMPLATE_STARTED"] == "yes"
    assert "canary" in os.environ["PGPASSWORD"]
    assert "canary" not in one["environment"].values()
    for pid in (other.child.pid, kept.pid):
        assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert (one["folder"], one["torch_threads"], one["cuda"]) == (str(tmp_path), 2, False)
    assert other.seen()["threads"] == 1, "torch starts threads only where a job shall have several"
    assert one["group"] == one["pid"] == forked.child.pid
    assert two["group"] == two["pid"]
    assert sorted(one["files"]) == sorted(["0", "1", "2", *map(str, one["own"])]), one["files"]
    assert one["files"]["0"] == os.devnull
    assert not set(one["files"].values()) & (set(other.seen()["files"].values()) - {os.devnull})
    assert one["numpy"] != other.seen()["numpy"], "each has random numbers of its own"
    assert Path(f"/proc/{other.child.pid}/oom_score_adj").read_text().strip() == "500"
    other.child.kill()
    assert other.end() == -signal.SIGKILL


@pytest.mark.parametrize("way", ["forked", "spawned"])
@pytest.mark.parametrize(
    ("orders", "status", "said"),
    [
        ({"status": 3}, 3, ""),
        ({"signal": int(signal.SIGSEGV)}, -signal.SIGSEGV, ""),
        ({"error": "not today"}, 1, "RuntimeError: not today"),
    ],
)
def test_the_end_of_a_process_is_known_however_it_was_started(
    tmp_path: Path, kept: Template, way: str, orders: dict[str, Any], status: int, said: str
) -> None:
    child = Looking(tmp_path, kept if way == "forked" else None, **orders)
    assert child.child.way == way
    assert child.end() == status
    assert said in child.log


def test_limits_of_one_job_are_not_those_of_the_next(tmp_path: Path, kept: Template) -> None:
    assert Looking(tmp_path, kept, limit=2**33).end() == 0
    after = Looking(tmp_path, kept)
    assert after.seen()["data_limit"] != 2**33
    after.end()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    "blow", [kill, pytest.param(stop, marks=pytest.mark.long("a template that hangs is waited for"))]
)
def test_a_job_outlives_its_template_and_the_next_one_starts(
    tmp_path: Path, kept: Template, blow: Callable[[int], None]
) -> None:
    before = restarted(kept)
    running = [Looking(tmp_path, kept, seconds=1, status=7) for _ in range(2)]
    doomed = Looking(tmp_path, kept, seconds=3600)
    for child in (*running, doomed):
        child.seen()
    blow(before)
    if blow is kill:  # else the worker finds out when it asks
        wait_until(lambda: not Path(f"/proc/{before}/exe").exists() or state_of(before) == "Z", "it to die", 60)
    meanwhile = Looking(tmp_path, kept)
    assert meanwhile.child.way == "spawned"
    doomed.child.kill()
    assert [child.end() for child in running] == [7, 7]
    assert doomed.end() == -signal.SIGKILL
    assert meanwhile.end() == 0
    assert restarted(kept) != before
    assert not Path(f"/proc/{before}").exists(), "it was reaped"
    after = Looking(tmp_path, kept)
    assert (after.child.way, after.end()) == ("forked", 0)


def test_a_process_that_a_lost_template_forked_does_not_run_beside_the_spawned_one(
    tmp_path: Path, kept: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template forks, and is given up before its answer is read: two processes would have the same orders."""
    restarted(kept)
    program, forked = kept._program, []
    assert program is not None
    receive = program._receive

    def too_late(_seconds: float) -> dict[str, Any]:
        forked.append(receive(60.0)["pid"])
        program._kill()
        raise TemplateLost("too late")

    monkeypatch.setattr(program, "_receive", too_late)
    child = Looking(tmp_path, kept, seconds=3600)
    assert child.child.way == "spawned"
    wait_until(lambda: state_of(forked[0]) in ("gone", "Z"), "the forked process to die", 60)
    assert child.seen()["pid"] == child.child.pid != forked[0]
    child.child.kill()
    assert child.end() == -signal.SIGKILL
    with suppress(ChildProcessError):
        os.waitpid(forked[0], 0)


def test_an_exit_status_that_died_with_the_template_counts_as_a_kill(kept: Template) -> None:
    restarted(kept)
    program = kept._program
    assert program is not None
    program.kill()
    already_reaped = os.getppid()  # no child of this process
    assert os.waitstatus_to_exitcode(program.reap(already_reaped)) == -signal.SIGKILL


def test_an_environment_that_no_message_holds_is_given_to_a_spawned_process(
    tmp_path: Path, kept: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = restarted(kept)
    for number in range(4):
        monkeypatch.setenv(f"LONG_{number}", "x" * 100_000)
    child = Looking(tmp_path, kept)
    assert (child.child.way, child.end()) == ("spawned", 0)
    assert kept.pid == before, "it is none of the template's faults"


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def test_a_process_that_ended_keeps_its_number_until_its_end_is_known(tmp_path: Path, kept: Template) -> None:
    """The template reaps a child only when it is told to: no signal of the worker can meet a recycled number."""
    child = Looking(tmp_path, kept, seconds=3600)
    child.seen()
    with child.child._signals:  # so that it cannot be reaped
        os.kill(child.child.pid, signal.SIGKILL)
        wait_until(lambda: state_of(child.child.pid) == "Z", "the child to end", 60)
        assert child.child.returncode is None
    assert child.end() == -signal.SIGKILL
    wait_until(lambda: state_of(child.child.pid) == "gone", "the zombie to go", 60)


SUPERVISOR = """
import sys, threading, time
from pathlib import Path
from worker.probe import may_have_gpu, probe
from worker.process import ChildProcess
from worker.template import client
from worker.template.client import Template

template = Template("tests.support.looking_child")
template.keep()
while not template.settled:
    time.sleep(0.05)
heard = threading.Event()
child = ChildProcess(("false",), Path(sys.argv[1]), threads=1, template=template,
                     on_message=lambda line: heard.set(), on_log=lambda text: None, on_end=lambda: None)
heard.wait()
print("runs:", template.pid, child.pid, child.way, flush=True)
time.sleep(3600)
"""


def test_template_and_jobs_end_with_their_worker(tmp_path: Path) -> None:
    orders = tmp_path / "orders.json"
    orders.write_text(json.dumps({"seconds": 3600}))
    command = [sys.executable, "-c", SUPERVISOR, str(orders)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        said = next(line for line in supervisor.stdout if line.startswith("runs:"))  # its log lines stand before
        _, first, second, way = said.split()
        assert way == "forked"
        supervisor.kill()
    for pid in (int(first), int(second)):
        wait_until(lambda pid=pid: state_of(pid) in ("gone", "Z"), "it to end", 60)  # type: ignore[misc]


@pytest.mark.long("two templates start")
def test_a_template_is_replaced_when_the_code_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "changing"
    package.mkdir()
    source = package / "__init__.py"
    code = "def main(argv):\n    print({!r}, flush=True)\n    return 0\n"
    source.write_text(code.format("old"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    template = Template("changing", packages=("changing",))
    try:
        before = restarted(template)
        first = Looking(tmp_path, template)
        assert (first.end(), first.log) == (0, "old\n")
        source.write_text(code.format("newer"))
        template.keep()
        assert restarted(template) != before
        second = Looking(tmp_path, template)
        assert (second.child.way, second.end(), second.log) == ("forked", 0, "newer\n")
    finally:
        template.close()


def test_the_stamp_of_the_code_stays_while_nothing_changes() -> None:
    assert code_stamp() == code_stamp()


def test_a_template_that_cannot_start_says_why_and_jobs_are_spawned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = Template("tests.support.no_such_module")
    template.keep()
    wait_until(lambda: template.settled, "the template to fail", 120)
    child = Looking(tmp_path, template)
    assert (child.child.way, child.end()) == ("spawned", 0)
    assert "no_such_module" in capsys.readouterr().out
    template.close()


SLOW = """
import time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    {what}

def main(argv):
    return 0
"""


@pytest.mark.long("a template starts late, or never")
@pytest.mark.parametrize(
    ("limit", "seconds", "what", "starts"),
    [
        pytest.param(20, 25, "time.sleep(0.05)", True, id="later than the limit, but always at work"),
        pytest.param(15, 3600, "time.sleep(3600)", False, id="does nothing"),
        pytest.param(0.5, 0, "pass", False, id="uses too much"),  # PyTorch alone takes more
    ],
)
def test_a_template_is_given_up_by_processor_time_or_when_it_does_nothing(
    limit: float, seconds: float, what: str, starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW.format(seconds=seconds, what=what))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(client, "START_SECONDS", limit)
    template = Template("slow_to_import")
    try:
        template.keep()
        wait_until(lambda: template.settled, "the template to start or be given up", 300)
        assert (template.pid is not None) == starts
    finally:
        template.close()
