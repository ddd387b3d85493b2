"""A compose project of its own for a trial: its name, port and secrets, its start, and its end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from adderclient import Client
from adderclient.errors import AdderClientError

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
JOB_SECONDS = 600
DIGIT = [[0.0, 0.0, 0.3, 0.8, 0.6, 0.1, 0.0, 0.0]] * 8  # any 8×8 image will do
SERVICES = ("postgres", "redis", "api", "worker", "inference")


class Trial(Exception):
    """Something is not as it should be."""


def check(condition: object, what: str) -> None:
    if not condition:
        raise Trial(what)


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", flush=True)


BEGAN = time.monotonic()


class Compose:
    """One compose project of its own: name, port, secrets.

    Args:
        folder: where its settings and its secrets (`secrets/`) lie; secrets that are there already are kept.
        project: the name, of a project whose volumes are there; None: a new one.
        more: further settings.
    """

    def __init__(self, folder: Path, project: str | None = None, more: Mapping[str, str] | None = None) -> None:
        self.project = project or f"adderworks-trial-{secrets.token_hex(3)}"
        self.port = free_port()
        self.folder = folder
        self._command = compose_command()
        self._env_file = folder / "trial.env"
        self._env_file.touch(mode=0o600)
        self.secrets = secrets_of(folder / "secrets")
        lines = {
            "ADDERWORKS_SECRETS": str(folder / "secrets"),
            "ADDERWORKS_SECRETS_GROUP": str((folder / "secrets" / "operator_key").stat().st_gid),
            "ADDERWORKS_BIND": "127.0.0.1",
            "ADDERWORKS_PORT": str(self.port),
            **(more or {}),
        }
        self._settings = lines
        self._write_settings()
        # What the shell exports would win over the file.
        self._environment = {name: value for name, value in os.environ.items() if name not in lines}
        self._environment |= {"ADDERWORKS_TAG": os.environ.get("ADDERWORKS_TAG", "trial")}
        if commit := output(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=False).strip():
            self._environment["GIT_COMMIT"] = commit

    def _write_settings(self) -> None:
        self._env_file.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))

    def setting(self, name: str) -> str:
        """A value of `.env`."""
        return self._settings[name]

    def set(self, name: str, value: str) -> None:
        """Changes `.env`; the next `up` applies it."""
        self._settings[name] = value
        self._write_settings()

    def client(self) -> Client:
        """A client with the operator's key."""
        return Client(self.url, api_key=self.secrets["operator_key"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def image(self) -> str:
        return f"adderworks:{self._environment['ADDERWORKS_TAG']}"

    def __call__(self, *arguments: str, files: Sequence[str] = ("docker-compose.yml",), quiet: bool = True) -> str:
        """Runs compose. Raises Trial with what it said when it fails."""
        command = [*self._command, "-p", self.project, "--env-file", str(self._env_file)]
        for file in files:
            command += ["-f", str(ROOT / file)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        )
        if done.returncode:
            raise Trial(f"compose {' '.join(arguments)} failed with {done.returncode}:\n{done.stdout or ''}")
        return done.stdout or ""

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of that service's containers."""
        labels = [f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}"]
        filters = [part for label in labels for part in ("--filter", label)]
        ids = output(["docker", "ps", "--all", "--quiet", *filters]).split()
        return json.loads(output(["docker", "inspect", *ids])) if ids else []

    def leftovers(self) -> list[str]:
        """Containers, volumes and networks of this project."""
        own = ["--filter", f"label=com.docker.compose.project={self.project}", "--quiet"]
        kinds = (["docker", "ps", "--all"], ["docker", "volume", "ls"], ["docker", "network", "ls"])
        return [name for kind in kinds for name in output([*kind, *own]).split()]


def secrets_of(folder: Path) -> dict[str, str]:
    """The secrets of a folder; where there is none, it gets the files of `deploy/new-env`."""
    if not folder.exists():
        make_secrets(folder)
    return {path.name: path.read_text() for path in folder.iterdir()}


def make_secrets(folder: Path) -> None:
    script = (
        ". deploy/secrets.sh; make_folder; operator_key | write_secret operator_key; "
        "for name in postgres_password database_password redis_password; do random_hex | write_secret $name; done"
    )
    variables = os.environ | {"ADDERWORKS_SECRETS": str(folder)}
    subprocess.run(["sh", "-euc", script], cwd=ROOT, env=variables, check=True)


def compose_command() -> list[str]:
    """`docker compose`, else the older `docker-compose`."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    raise Trial("neither `docker compose` nor `docker-compose` is here")


def output(command: Sequence[str], *, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        raise Trial(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout if not done.returncode else ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def until(look: Callable[[], T | None], what: str, seconds: float, pause: float = 0.5) -> T:
    """The first thing that `look` finds; an API that is away is looked for again."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except AdderClientError as error:
            last = f" (last: {error})"
        time.sleep(pause)
    raise Trial(f"not within {seconds:g} s: {what}{last}")


def start(compose: Compose, *options: str) -> None:
    """`up`, until the service is ready and every container is healthy."""
    began = time.monotonic()
    compose("up", "--detach", *options)
    with compose.client() as client:
        until(lambda: client.ready().ready, "/readyz is 200", START_SECONDS)
        say(f"ready after {time.monotonic() - began:.1f} s")
        until(lambda: not unhealthy(compose), "all containers are healthy", START_SECONDS)
        parts = client.ready().raw["checks"]
    check(all(part["ok"] for part in parts.values()), f"/readyz says {parts}")
    migrations = [container["State"]["ExitCode"] for container in compose.containers("migrate")]
    check(migrations == [0], f"migrate ended with {migrations}")
    said = ", ".join(f"{name}: {part['detail']}" for name, part in parts.items())
    say(f"all healthy after {time.monotonic() - began:.1f} s ({said}); migrate ended with 0")


def unhealthy(compose: Compose) -> list[str]:
    found = []
    for service in SERVICES:
        states = [container["State"]["Health"]["Status"] for container in compose.containers(service)]
        if not states or set(states) != {"healthy"}:
            found.append(f"{service}: {states}")
    return found


def spec(epochs: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "model": {"arch": "lenet5_bn"},
        "dataset": {"name": "digits"},
        "epochs": epochs,
        "checkpoint": {"every_epochs": 1, "keep": 2},
        "labels": {"trial": "compose"},
        **more,
    }


def show(compose: Compose) -> None:
    for arguments in (["ps", "--all"], ["ps"], ["logs", "--no-color", "--tail", "60"]):
        try:
            print(compose(*arguments), flush=True)
        except Trial as error:
            print(error, flush=True)


def tear_down(compose: Compose, keep: bool) -> int:
    if keep:
        say(f"left running: project {compose.project} at {compose.url}")
        return 0
    try:
        compose("down", "--volumes", "--remove-orphans")
        check(not compose.leftovers(), f"still there after down -v: {compose.leftovers()}")
    except Trial as error:
        say(f"FAILED to tear down: {error}")
        return 1
    say("removed everything")
    return 0
