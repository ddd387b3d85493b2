"""What a job's process may still do once it has restricted itself, tried by such a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import JobsError
from jobs.settings import Settings
from tests.support.attempts import Attempts
from tests.support.shared import ROOT
from tests.support.specs import train_spec
from worker import landlock
from worker.isolation import Isolation
from worker.template.client import Template

REASON = landlock.abi()[1]
needs_landlock = pytest.mark.skipif(bool(REASON), reason=REASON)
"""The reason is the kernel's own, so that a skipped test says what is missing here."""

TRIES = """
import json, os, socket, subprocess, sys
from pathlib import Path
from worker.confine import confine
work, data, secret, port, parent, abstract = json.loads(sys.argv[1])
work, data, secret = Path(work), Path(data), Path(secret)
program = work / "program"
program.write_text("#!/bin/sh")
program.chmod(0o700)
(data / "datasets" / "linked").symlink_to(secret.parent / "images")
confine(work, data / "datasets", data, [], network=False)
import importlib
import addercore, tempfile
def connect(kind, address):
    with socket.socket(kind) as one:
        one.connect(address)
tries = {
    "write the work folder": lambda: (work / "checkpoint").write_text("x"),
    "rename within it": lambda: ((work / "sub").mkdir(), os.replace(work / "checkpoint", work / "sub" / "one")),
    "make a temporary file": lambda: tempfile.NamedTemporaryFile().close(),
    "read datasets": lambda: (data / "datasets" / "mnist").read_bytes(),
    "read a dataset that is a link": lambda: (data / "datasets" / "linked" / "image").read_bytes(),
    "import from a package that is a link": lambda: importlib.import_module("linked_package.late"),
    "import from a package of links": lambda: importlib.import_module("package_of_links.late"),
    "run Python": lambda: subprocess.run([sys.executable, "-c", "import json, ctypes"], check=True),
    "write to /dev/null": lambda: Path("/dev/null").write_text("x"),
    "use shared memory": lambda: Path(f"/dev/shm/adder-{os.getpid()}").write_text("x")
    and Path(f"/dev/shm/adder-{os.getpid()}").unlink(),
    "read the own environment": lambda: Path("/proc/self/environ").read_bytes(),
    "write a dataset": lambda: (data / "datasets" / "mnist").write_text("x"),
    "read the database": lambda: (data / "adder.db").read_bytes(),
    "list the data folder": lambda: os.listdir(data),
    "read another job": lambda: (data / "work" / "job_2" / "1-1" / "model").read_bytes(),
    "read a file of the user": lambda: secret.read_bytes(),
    "write outside": lambda: secret.with_name("new").write_text("x"),
    "remove outside": lambda: secret.unlink(),
    "link to a file outside": lambda: os.link(secret, work / "secret"),
    "read passwords of the system": lambda: Path("/etc/shadow").read_bytes(),
    "read its worker's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "read its worker's memory": lambda: open(f"/proc/{parent}/mem", "rb").close(),
    "signal its worker": lambda: os.kill(parent, 0),
    "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, abstract),
    "run a program that it wrote": lambda: subprocess.run([program], check=True),
    "become another user": lambda: os.setuid(1),
}
found = {}
for name, one in tries.items():
    try:
        one()
        found[name] = True
    except OSError as error:
        found[name] = False
print(json.dumps(found))
"""
ALLOWED = 11
"""So many of the tries, the first ones, must succeed."""
BY_VERSION = {"connect by TCP": 4, "signal its worker": 6, "connect to an abstract socket": 6}
"""The version of Landlock from which on it stops this."""


@needs_landlock
def test_a_confined_process_reaches_its_work_folder_and_nothing_else_of_the_machine(tmp_path: Path) -> None:
    data, home = tmp_path / "data", tmp_path / "home"
    work = data / "work" / "job_1" / "1-1"
    for folder in (work, data / "datasets", data / "work" / "job_2" / "1-1", home / "images"):
        folder.mkdir(parents=True)
    secret = home / "id_ed25519"
    files = (secret, data / "adder.db", data / "datasets" / "mnist", home / "images" / "image")
    for file in (*files, data / "work" / "job_2" / "1-1" / "model"):
        file.write_text("canary")
    packages = installed_as_links(tmp_path)
    abstract = f"\0adder-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as other:
        other.bind(abstract)
        other.listen()
        orders = [str(work), str(data), str(secret), server.getsockname()[1], os.getpid(), abstract]
        done = subprocess.run(
            [sys.executable, "-c", TRIES, json.dumps(orders)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{packages}", "PGPASSWORD": "canary"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = list(found)
    assert [name for name in names[:ALLOWED] if not found[name]] == []
    version = landlock.abi()[0]
    held = [name for name in names[ALLOWED:] if BY_VERSION.get(name, 1) <= version]
    if os.getuid():
        held.remove("become another user")  # nobody but root could, confined or not
    assert [name for name in held if found[name]] == []
    assert secret.exists()


def installed_as_links(folder: Path) -> Path:
    """An entry for sys.path: a package that is a link, and one whose files are."""
    site, stored = folder / "site", folder / "stored"
    (site / "package_of_links").mkdir(parents=True)
    for package in ("linked_package", "package_of_links"):
        (stored / package).mkdir(parents=True)
        for name in ("__init__.py", "late.py"):
            (stored / package / name).write_text("")
    for file in (stored / "package_of_links").iterdir():
        (site / "package_of_links" / file.name).symlink_to(file)
    (site / "linked_package").symlink_to(stored / "linked_package")
    return site


def test_a_folder_that_holds_the_data_folder_is_allowed_but_for_that(tmp_path: Path) -> None:
    for name in ("lib", "share/data/work", "share/other"):
        (tmp_path / name).mkdir(parents=True)
    data = tmp_path / "share" / "data"
    assert landlock.outside([tmp_path], data) == [tmp_path / "lib", tmp_path / "share" / "other"]
    assert landlock.outside([data / "work", tmp_path / "lib"], data) == [tmp_path / "lib"]


def test_a_worker_says_what_holds_its_jobs_back_and_why_nothing_does() -> None:
    own = Isolation.of(Settings())
    assert (own.kind, own.note) == (("none", REASON) if REASON else ("landlock", f"Landlock {landlock.abi()[0]}"))
    assert Isolation.of(Settings(child_isolation="none")).note == "ADDER_CHILD_ISOLATION is none"
    other = Isolation.of(Settings(child_command=("true",)))
    assert (other.kind, "ADDER_CHILD_COMMAND" in other.note) == ("none", True)
    with pytest.raises(JobsError, match="required"):
        Isolation.of(Settings(child_isolation="required", child_command=("true",)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has prctl")
def test_a_worker_closes_its_memory_and_its_environment_to_others() -> None:
    """PR_GET_DUMPABLE (3) says whether other processes of the same user may look into it."""
    code = (
        "import ctypes; from worker.privileges import settle; from jobs.settings import Settings; settle(Settings()); "
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@needs_landlock
def test_a_confined_training_with_figures_and_loaders_gives_the_same_bytes(tmp_path: Path, template: Template) -> None:
    """Forked and spawned, against one that is not confined."""
    changes: dict[str, Any] = {"epochs": 2, "seed": 3, "metrics_every_steps": 3, "resources": {"loader_workers": 1}}
    spec = train_spec(**changes)
    free = Attempts(tmp_path / "free", spec, template=template)
    assert free.run() == 0, free.log
    for name, source in (("forked", template), ("spawned", None)):
        own = Attempts(tmp_path / name, spec, template=source, confined=True)
        assert own.run() == 0, own.log
        for file in ("model.safetensors", "curves.png", "model.json", "summary.json"):
            assert (own.workdir / file).read_bytes() == (free.workdir / file).read_bytes(), (name, file)
        assert "Traceback" not in own.log
        assert "atplotlib" not in own.log
