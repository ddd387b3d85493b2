"""Other users of the machine on which the service runs: files, arguments, and the files of its deployment."""

from __future__ import annotations

import re
import stat
from typing import Any

import yaml

from tests.attack.line import Seen, line
from tests.attack.service import CANARY, Service
from tests.support.shared import ROOT


@line(11, "the mode of a data folder that was there")
def modes(service: Service) -> Seen:
    open_ = [
        f"{path.relative_to(service.data.parent)} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in (service.data, *service.data.glob("adder.db*"), service.data / "logs")
        if path.stat().st_mode & 0o077
    ]
    return Seen(not open_, ", ".join(open_) or "closed, with the database in it")


@line(17, "secrets among the arguments of processes")
def arguments(service: Service) -> Seen:
    told = [command for command in service.processes().values() if CANARY in command]
    return Seen(not told, f"{len(told)} of {len(service.processes())} processes")


@line(17, "credentials of the inference process")
def inference(service: Service) -> Seen:
    (pid,) = [pid for pid, command in service.processes().items() if "worker.inference" in command]
    with open(f"/proc/{pid}/environ", "rb") as file:
        names = {entry.partition(b"=")[0].decode() for entry in file.read().split(b"\0")}
    told = sorted(names & {"ADDER_DATABASE_URL", "ADDER_BROKER_URL"})
    return Seen(not told, ", ".join(told) or "neither database nor broker")


def _services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


@line(17, "passwords in `docker inspect` and in arguments")
def inspected(_: Service) -> Seen:
    told = []
    for name, entry in _services().items():
        shown = str([entry.get("environment"), entry.get("command"), entry.get("healthcheck"), entry.get("entrypoint")])
        if re.search(r"\$\{[A-Z_]*(PASSWORD|SECRET)", shown):
            told.append(name)
    return Seen(not told, f"of {told}" if told else "none (read from the compose file)")


@line(17, "the database role of API and worker")
def role(_: Service) -> Seen:
    users = {name: _services()[name]["environment"].get("ADDER_DATABASE_USER") for name in ("api", "worker")}
    return Seen(set(users.values()) == {"adder_app"}, str(users))


@line(17, "files of the image without a checksum")
def hashes(_: Service) -> Seen:
    lock = ROOT / "deploy" / "image.lock"
    held = "--require-hashes" in (ROOT / "Dockerfile").read_text() and lock.exists()
    return Seen(held, f"{lock.read_text().count('==') if held else 0} packages by SHA-256, torch apart")
