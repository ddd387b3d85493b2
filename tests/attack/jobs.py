"""A job's process that has been taken over: what it sees and reaches."""

from __future__ import annotations

from pathlib import Path

from tests.attack.line import NotTried, Seen, line
from tests.attack.service import CANARY, JOB_SECONDS, Service, spec
from tests.support.servers import wait_until
from worker import landlock


def _training(service: Service) -> int:
    """The pid of a training that runs."""
    job = service.api.post("/v1/jobs", json=spec(epochs=100_000)).raise_for_status().json()["id"]
    wait_until(lambda: _trains(service, job), f"{job} to train", JOB_SECONDS)
    named = f"job {job[-11:]}"
    return next(pid for pid in service.processes() if Path(f"/proc/{pid}/comm").read_text().strip() == named)


def _trains(service: Service, job: str) -> bool:
    progress = service.api.get(f"/v1/jobs/{job}").json()["progress"] or {}
    return progress.get("phase") == "training"


def _cancel(service: Service) -> None:
    for job in service.api.get("/v1/jobs", params={"status": "running"}).json()["data"]:
        service.api.post(f"/v1/jobs/{job['id']}/cancel")


@line(12, "the environment of a training", long=True)
def environment(service: Service) -> Seen:
    try:
        pid = _training(service)
        seen = Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        _cancel(service)
    commands = [one for one, command in service.processes().items() if "worker.template.program" in command]
    seen += b"".join(Path(f"/proc/{one}/environ").read_bytes() for one in commands)
    return Seen(CANARY.encode() not in seen, f"{seen.count(bytes(1))} variables, of it and of its template")


@line(12, "what holds a training back", long=True)
def isolation(service: Service) -> Seen:
    """The kernel's own word: a restricted process has no new privileges and no capability."""
    stated = {worker["info"]["isolation"] for worker in service.api.get("/v1/system").json()["workers"]}
    if not landlock.abi()[0]:
        raise NotTried(f"{landlock.abi()[1]}; /v1/system says {stated}")
    try:
        pid = _training(service)
        fields = dict(
            one.split(":\t", 1) for one in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in one
        )
    finally:
        _cancel(service)
    held = fields["NoNewPrivs"].strip() == "1" and int(fields["CapEff"], 16) == 0
    return Seen(held and stated == {"landlock"}, f"/v1/system says {stated}; the kernel the same: {held}")
