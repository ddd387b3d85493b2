"""`make compose-test`: the compose file for real, from an empty machine to a service that has lost nothing.

Builds the image and starts the service under a project name, a port and passwords of its own, then: a training through
the published port, its model downloaded and verified, a prediction; a second training interrupted by `restart`, by
`up -d` with another image (an upgrade), and by `stop` and `down`, each of which hands it over with a checkpoint, with
the first one still there; two workers side by side, one of them with the second training again, in one piece, for the
same bytes; everything removed. Also two projects, each of which sees its own alone (`trial_projects.py`); HTTPS by the
profile `tls` (`trial_proxy.py`); volumes of an earlier version, taken over (`trial_old_volume.py`). Needs Docker with
compose and an environment with `adderclient`. Exit status 1, with the containers' logs, when anything is not as it
should be.

    python -m tests.deploy.compose_trial [--keep] [--only PART]

TORCH_INDEX_URL, ADDERWORKS_TAG and the like are passed on from the environment, as compose reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from adderclient import Client
from adderclient.errors import AdderClientError
from adderclient.records import Artifact, Event, Job
from tests.deploy import trial_old_volume, trial_projects, trial_proxy
from tests.deploy.composing import (
    DIGIT,
    JOB_SECONDS,
    ROOT,
    SERVICES,
    START_SECONDS,
    Compose,
    Trial,
    check,
    compose_command,
    output,
    say,
    show,
    spec,
    start,
    tear_down,
    until,
)  # fmt: skip

PARTS = ("projects", "tls", "interruptions", "old-volume")
IMAGE_USER = "10001:10001"
LONG_JOB_SECONDS = 60
"""About how long the training that is interrupted should take."""
TRAINING_IMAGES = 1437  # of the digits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the service running at the end")
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts alone (may be repeated)")
    arguments = parser.parse_args()
    keep, parts = arguments.keep, arguments.only or PARTS
    failed = 0
    if set(parts) & {*PARTS[:3]}:
        failed = new_volume(parts, keep)
    if "old-volume" in parts and not failed and not keep:
        with tempfile.TemporaryDirectory(prefix="compose-trial-") as folder:
            failed = trial_old_volume.old_volume_taken_over(Path(folder), f"adderworks-trial-{os.getpid()}")
    return failed


def new_volume(parts: Sequence[str], keep: bool) -> int:
    """The parts that begin on an empty machine. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="compose-trial-") as folder:
        compose: Compose | None = None
        try:
            compose = Compose(Path(folder), more=trial_proxy.settings(Path(folder)))
            run(compose, Path(folder), parts)
        except (Trial, AdderClientError, httpx2.HTTPError, KeyboardInterrupt) as error:
            say(f"FAILED: {error or type(error).__name__}")
            if compose is not None:
                show(compose)
                tear_down(compose, keep)
            return 1
        return tear_down(compose, keep)


def run(compose: Compose, folder: Path, parts: Sequence[str]) -> None:
    say(f"project {compose.project} at {compose.url}")
    refuses_without_secrets(folder)
    compose("config", "--quiet", files=("docker-compose.yml", "docker-compose.gpu.yml"))
    compose("build", quiet=False)
    size = int(output(["docker", "image", "inspect", "--format", "{{.Size}}", compose.image]))
    say(f"built {compose.image}: {size / 1e6:.0f} MB")
    start(compose)
    confined(compose)
    if "projects" in parts:
        trial_projects.two_projects(compose)
    if "tls" in parts:
        trial_proxy.proxied(compose, folder)
    if "interruptions" in parts:
        interruptions(compose, folder)


def interruptions(compose: Compose, folder: Path) -> None:
    """A training through restart, upgrade, stop and down, with an earlier one that must stay as it is."""
    with compose.client() as client:
        first = first_job(client, folder)
        predicted(client, first)
        before = contents(client, first, folder / "before")
        long = begin_long_job(client, first)
        restart(compose, client, long)
        upgrade(compose, client, long)
        stop_and_start(compose, client, long)
        after = contents(client, client.jobs.get(first.id), folder / "after")
        check(after == before, f"the first job is not what it was: {before} before, {after} after")
        say("after down and up: first job, its artifacts, its metrics and its model's bytes are as before")
        resumed(client, long)
        two_workers(compose, client, long)


def refuses_without_secrets(folder: Path) -> None:
    """Without secrets the compose file says what to do."""
    empty = folder / "empty.env"
    empty.touch()
    done = subprocess.run(
        [*compose_command(), "--env-file", str(empty), "-f", str(ROOT / "docker-compose.yml"), "config"],
        cwd=ROOT,
        env={n: v for n, v in os.environ.items() if n != "ADDERWORKS_SECRETS_GROUP"},
        capture_output=True,
        text=True,
    )
    check(done.returncode and "deploy/new-env" in done.stderr, f"started without secrets: {done.stderr}")


def confined(compose: Compose) -> None:
    """Users, root file systems, published ports: what the compose file promises."""
    for service in SERVICES:
        for container in compose.containers(service):
            host = container["HostConfig"]
            check(host["ReadonlyRootfs"], f"{service}: its root file system can be written")
            check(host["CapDrop"] == ["ALL"], f"{service}: capabilities are {host['CapDrop']}")
            given = {"worker": ["CAP_KILL", "CAP_SETGID", "CAP_SETUID"], "postgres": None}.get(service, [])
            added = sorted(f"CAP_{name.removeprefix('CAP_')}" for name in host["CapAdd"] or [])
            check(given is None or added == given, f"{service}: has the capabilities {added}")
            shown = json.dumps(container)
            check(not [name for name, text in compose.secrets.items() if text in shown], f"{service}: shows a secret")
            check("no-new-privileges:true" in host["SecurityOpt"], f"{service}: may gain privileges")
            ports = {bind["HostIp"] for binds in host["PortBindings"].values() for bind in binds or []}
            check(ports == ({"127.0.0.1"} if service == "api" else set()), f"{service}: published on {ports}")
    for service in ("api", "inference"):
        user = compose("exec", "-T", service, "sh", "-c", "id -u; id -g").split()
        check(":".join(user) == IMAGE_USER, f"{service} runs as {user}")
    look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; grep ^Uid: $p/status; done"
    lines = compose("exec", "-T", "worker", "sh", "-c", look).splitlines()
    theirs = [
        line for line in lines if ("-m worker " in line or "worker.template" in line) and "docker-init" not in line
    ]
    users = {line.split("Uid:")[1].split()[0] for line in theirs}
    check(users == {"10001", "10002"}, f"the worker and its template run as {users}")
    outcome = compose("exec", "-T", "worker", "sh", "-c", "touch /opt/x 2>&1 || true; command -v gcc cc || true")
    check("Read-only" in outcome and "cc" not in outcome, f"worker: {outcome}")
    say(f"confined: user {IMAGE_USER}, read-only roots, no capabilities, only the API published, on 127.0.0.1")


def first_job(client: Client, folder: Path) -> Job:
    job = client.jobs.wait(client.jobs.submit(spec(3)).id, JOB_SECONDS)
    check(job.attempt == 1 and job.model_id, f"the first job: {job}")
    seconds = client.jobs.run_seconds(job)
    say(f"trained {job.id} in {seconds:.1f} s on {job.environment}; result {dict(job.result)}")
    return job


def predicted(client: Client, job: Job) -> None:
    answer = client.models.predict(str(job.model_id), DIGIT)
    say(f"predicted through the API: {json.dumps(answer)[:160]}")


def contents(client: Client, job: Job, folder: Path) -> dict[str, Any]:
    """All that a finished job left, with the checksum of the bytes as they come through the port."""
    folder.mkdir()
    artifacts: dict[str, Artifact] = {artifact.name: artifact for artifact in client.jobs.artifacts(job.id)}
    downloaded = {}
    for name in artifacts:
        path = client.jobs.download(job.id, name, folder / name)
        downloaded[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        check(downloaded[name] == artifacts[name].sha256, f"{name}: {downloaded[name]} is not {artifacts[name].sha256}")
    model = client.models.get(str(job.model_id))
    check(model.sha256 == downloaded["model.safetensors"], "the model is not the job's artifact")
    say(f"downloaded and verified {len(downloaded)} artifacts; the model is {str(model.sha256)[:16]}…")
    metrics = [(point.seq, point.name, point.step, point.value) for point in client.jobs.metrics(job.id)]
    check(metrics, "the job has no metrics")
    events = [(event.seq, event.type, event.message) for event in client.jobs.events(job.id)]
    return {"status": job.status, "result": dict(job.result), "files": downloaded, "metrics": metrics, "events": events}


def begin_long_job(client: Client, first: Job) -> Job:
    """A training that is in its middle when this returns, with at least one checkpoint."""
    rates = [
        point.value for point in client.jobs.metrics(first.id) if point.name == "images_per_second" and point.value
    ]
    epochs = math.ceil(LONG_JOB_SECONDS * max(rates) / TRAINING_IMAGES)
    job = client.jobs.submit(spec(epochs, seed=1))

    def in_the_middle() -> Job | None:
        now = client.jobs.get(job.id)
        check(not now.finished, f"the long job ended too early: {now.status}, {now.error}")
        kinds = [event.type for event in client.jobs.events(job.id)]
        return now if kinds.count("checkpoint") >= 2 else None

    now = until(in_the_middle, "the long job has checkpoints", JOB_SECONDS)
    say(f"interrupting {job.id} at epoch {now.progress.epoch} of {epochs}")
    return now


def goes_on(client: Client, long: Job, attempt: int) -> None:
    """Waits until the long job is trained by that attempt, resumed and with a checkpoint of its own."""

    def again() -> Job | None:
        now = client.jobs.get(long.id)
        check(not now.finished, f"the long job ended too early: {now.status}, {now.error}")
        kinds = [event.type for event in client.jobs.events(long.id)]
        last = len(kinds) - kinds[::-1].index("resumed") if "resumed" in kinds else 0
        under_way = kinds.count("resumed") == attempt - 1 and "checkpoint" in kinds[last:]
        return now if now.attempt == attempt and under_way else None

    now = until(again, f"attempt {attempt} goes on", START_SECONDS)
    say(f"{long.id} goes on in attempt {attempt}, epoch {now.progress.epoch}")


def restart(compose: Compose, client: Client, long: Job) -> None:
    """`restart` of the worker, without a start of anything else."""
    began = time.monotonic()
    compose("restart", "worker")
    say(f"worker restarted in {time.monotonic() - began:.1f} s")
    goes_on(client, long, attempt=2)


def upgrade(compose: Compose, client: Client, long: Job) -> None:
    """`up -d` with another image under the same tag: every container of ours is made anew."""
    before = {container["Id"] for container in compose.containers("worker")}
    compose("build", "--build-arg", "ADDER_VERSION=0.1.0+upgrade")
    start(compose)
    after = {container["Id"] for container in compose.containers("worker")}
    check(not before & after, "the upgrade left the old worker")
    goes_on(client, long, attempt=3)


def stop_and_start(compose: Compose, client: Client, long: Job) -> None:
    """`stop` and `down`, without removing volumes, then `up`."""
    began = time.monotonic()
    compose("stop")
    say(f"stopped in {time.monotonic() - began:.1f} s: " + ", ".join(exits(compose)))
    compose("down")
    check(not any(compose.containers(service) for service in SERVICES), "containers are left after down")
    start(compose)
    now = client.jobs.get(long.id)
    say(f"{long.id} is {now.status}, attempt {now.attempt}")


def exits(compose: Compose) -> list[str]:
    """How the containers ended. 137: one was killed, since it did not stop within its grace."""
    found = []
    for service in SERVICES:
        for container in compose.containers(service):
            code = container["State"]["ExitCode"]
            check(code != 137, f"{service} had to be killed")
            check(not container["State"]["OOMKilled"], f"{service} ran out of memory")
            found.append(f"{service} {code}")
    return found


def resumed(client: Client, long: Job) -> None:
    """The interrupted job goes on from its checkpoint and ends with every point once."""
    job = client.jobs.wait(long.id, JOB_SECONDS)
    events: list[Event] = client.jobs.events(job.id)
    handed_back = [event for event in events if event.message.startswith("Handed back by a worker")]
    check(len(handed_back) == 3, f"handed back {len(handed_back)} times: {[(e.type, e.message) for e in events]}")
    resumes = [event for event in events if event.type == "resumed"]
    check(
        [int(event.data.get("step", 0)) > 0 for event in resumes] == [True] * 3, f"not resumed three times: {resumes}"
    )
    check(job.attempt == 4, f"attempt is {job.attempt}")
    points = [(point.name, point.step) for point in client.jobs.metrics(job.id)]
    check(len(points) == len(set(points)), "a metric has two points of one step")
    losses = [step for name, step in points if name == "val/loss"]
    check(len(losses) == job.spec["epochs"], f"{len(losses)} validation losses of {job.spec['epochs']} epochs")
    check(not any(event.type == "resume_inexact" for event in events), "the resume was not exact")
    said = ", ".join(f"“{event.message}”" for event in resumes)
    say(f"went on and succeeded in attempt {job.attempt} without a fault: {said}")


def two_workers(compose: Compose, client: Client, long: Job) -> None:
    """Two workers, two jobs side by side. One repeats the interrupted training in one piece: it must end the same."""
    start(compose, "--scale", "worker=2")
    until(lambda: len(client.system()["workers"]) == 2, "two workers are alive", START_SECONDS)
    jobs = [client.jobs.submit(each) for each in (long.spec, spec(6, seed=2))]

    def side_by_side() -> bool:
        now = [client.jobs.get(job.id) for job in jobs]
        check(not any(job.finished for job in now), "the two jobs did not run side by side")
        return all(job.status == "running" for job in now)

    until(side_by_side, "both jobs run at a time", 60, pause=0.1)
    whole, _ = [client.jobs.wait(job.id, JOB_SECONDS) for job in jobs]
    say("two workers ran two jobs side by side; both succeeded")
    ends = [
        (job.result, {item.name: item.sha256 for item in client.jobs.artifacts(job.id)}["model.safetensors"])
        for job in (client.jobs.get(long.id), whole)
    ]
    check(ends[0] == ends[1], f"interrupted and not interrupted differ: {ends}")
    say(f"the interrupted training's model is byte for byte that of one in one piece: {ends[0][1][:16]}…")


if __name__ == "__main__":
    sys.exit(main())
