"""The service under attack: `adder up` as a user starts it, on a machine whose environment holds secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.programs import die_with_parent
from tests.api.attempt import MANIFEST, model_file
from tests.fuzz.watch import Watch
from tests.support.servers import wait_until

CANARY = "canary-5d1f0c"
"""Stands for every secret of the machine on which the service runs."""
SECRETS = ("PGPASSWORD", "HF_TOKEN", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "NO_KNOWN_NAME")
SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
JOB_SECONDS = 300.0


@dataclass
class Service:
    url: str
    data: Path
    process: int
    """Of `adder up`."""

    @cached_property
    def api(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=120)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @cached_property
    def model(self) -> str:
        """Id of an imported model."""
        answer = self.api.post("/v1/models", files={"weights": model_file(MANIFEST)})
        return str(answer.raise_for_status().json()["id"])

    def processes(self) -> dict[int, str]:
        """The command lines of `adder up` and of all that it has started, by pid."""
        parents: dict[int, int] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:  # it has just ended
                    continue
        found, new = {self.process}, {self.process}
        while new:
            new = {pid for pid, parent in parents.items() if parent in new} - found
            found |= new
        return {pid: _read(Path(f"/proc/{pid}/cmdline")) for pid in sorted(found)}

    def memory(self, module: str) -> int:
        """Resident bytes of the process that runs a module, such as `worker.inference`."""
        lines = _read(Path(f"/proc/{self.pid_of(module)}/status")).splitlines()
        return next((int(one.split()[1]) * 1024 for one in lines if one.startswith("VmRSS:")), 0)

    def pid_of(self, module: str) -> int:
        """The process that runs a module."""
        return next(pid for pid, command in self.processes().items() if f" -m {module} " in f"{command} ")

    def job(self, job_id: str, **wanted: Any) -> dict[str, Any]:
        """The job, once it has the values that are wanted, or has ended."""
        job: dict[str, Any] = {}

        def there() -> bool:
            job.update(self.api.get(f"/v1/jobs/{job_id}").raise_for_status().json())
            ended = job["status"] in ("succeeded", "failed", "cancelled")
            return ended or all(job[k] == v for k, v in wanted.items())

        wait_until(there, f"{job_id} to have {wanted}", JOB_SECONDS)
        return job

    @contextmanager
    def answering(self) -> Iterator[list[float]]:
        """Asks `/healthz` again and again meanwhile. At the end the list has the longest time in seconds that the API
        took, without what it waited for a core."""
        longest: list[float] = []
        watch = Watch(self.address, self.pid_of("api"), 60.0)
        try:
            yield longest
        finally:
            longest.append(watch.stop().slowest)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """A service on a data folder that is there already, and open to all, as a careless user leaves it."""
    data = folder / "data"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    secrets = dict.fromkeys(SECRETS, CANARY)
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("adder")),
            "up",
            "--port",
            "0",
            "--data",
            str(data),
            "--ready-timeout",
            "240",
        ],
        env={name: value for name, value in os.environ.items() if not name.startswith("ADDER_")} | secrets,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(signal.SIGTERM),
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        if not said.startswith("Adderworks is ready at "):
            raise RuntimeError(f"adder up said {said!r}")
        service = Service(said.split()[-1], data, process.pid)
        with service.api:
            yield service
    finally:
        process.terminate()
        process.wait(120)
        process.stdout.close()


def spec(**changes: Any) -> dict[str, Any]:
    """A training of a network that is small."""
    return json.loads(json.dumps(SPEC)) | changes
