"""The processes of the service: which there are, and how they are started, supervised and stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx2

from adderclient.transport import is_loopback
from launcher.folder import DataFolder, UpError, tail
from launcher.processes import Child, describe

READY_SECONDS = 60.0
DRAIN_SECONDS = 45.0
"""Seconds in which workers save checkpoints and hand their jobs back."""
API_SECONDS = 10.0
BROKER_SECONDS = 10.0
TICK = 0.1  # seconds between two looks at the children
LOOK_EVERY = 3  # ticks between two looks at /readyz


@dataclass(frozen=True)
class Options:
    """The options of ``adder up``."""

    host: str = "127.0.0.1"
    port: int = 8000
    data: Path = Path("data")
    workers: int = 1
    ready_seconds: float = READY_SECONDS


class _Stopped(Exception):
    """A signal asked the service to stop."""


def run(options: Options) -> int:
    """Runs the service until SIGINT, SIGTERM or SIGHUP.

    Args:
        options: where it listens, where its data lie, how many workers it has.

    Returns:
        The exit code.

    Raises:
        UpError: the service cannot start; the message says what to do.
    """
    with DataFolder(options.data) as folder, _listen(options.host, options.port) as listener:
        service = _Service(options, folder, listener)
        previous = {number: signal.signal(number, service.on_signal) for number in _SIGNALS}
        try:
            service.start()
            service.supervise()
        except _Stopped:
            _say("stopping; running jobs save a checkpoint (Ctrl-C again kills at once)")
        finally:
            service.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
    return 0


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cores() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Service:
    def __init__(self, options: Options, folder: DataFolder, listener: socket.socket) -> None:
        self.options = options
        self.folder = folder
        self.listener = listener
        self.signals = 0
        port = listener.getsockname()[1]
        self.url = f"http://{_bracketed(options.host)}:{port}"
        self.probe_url = f"http://{_bracketed(_reachable(options.host))}:{port}/readyz"
        external_broker = os.environ.get("ADDER_BROKER_URL")
        broker_socket = folder.run / "valkey.sock"
        inference_socket = folder.run / "inference.sock"
        self.environment = {
            **os.environ,
            "ADDER_HOST": options.host,
            "ADDER_DATA_DIR": str(folder.path),
            "ADDER_DATABASE_URL": os.environ.get("ADDER_DATABASE_URL") or f"sqlite:///{folder.path / 'adder.db'}",
            "ADDER_BROKER_URL": external_broker or f"redis+socket://{broker_socket}?virtual_host=0",
            "ADDER_INFERENCE_URL": f"unix:{inference_socket}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
        }
        # Jobs of one machine share its cores. A job's own `resources.threads` takes precedence.
        slots = os.environ.get("ADDER_WORKER_SLOTS", "")
        jobs = options.workers * max(1, int(slots) if slots.isdecimal() else 1)
        self.environment.setdefault("ADDER_WORKER_THREADS", str(max(1, cores() // jobs)))
        broker_arguments = ("-m", "jobs.valkey", "--dir", str(folder.path / "valkey"), "--socket", str(broker_socket))
        self.broker = [] if external_broker else [self._child("broker", broker_arguments, signal.SIGTERM)]
        self.api = self._child(
            "api", ("-m", "api", "--fd", str(listener.fileno())), signal.SIGKILL, fds=(listener.fileno(),)
        )
        self.workers = [
            self._child(f"worker-{number}" if options.workers > 1 else "worker", ("-m", "worker"), signal.SIGTERM)
            for number in range(1, options.workers + 1)
        ]
        # It reads models, and needs neither database nor broker.
        stores = {"ADDER_DATABASE_URL", "ADDER_BROKER_URL"}
        reading = {name: value for name, value in self.environment.items() if name not in stores}
        self.inference = Child(
            "inference", ("-m", "worker.inference"), reading, self.folder.log("inference"), (), signal.SIGKILL
        )

    def _child(
        self, name: str, arguments: Sequence[str], orphan_signal: signal.Signals, fds: tuple[int, ...] = ()
    ) -> Child:
        return Child(name, arguments, self.environment, self.folder.log(name), fds, orphan_signal)

    @property
    def children(self) -> list[Child]:
        return [*self.broker, self.api, *self.workers, self.inference]

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal asks the service to stop; the second one kills all processes at once."""
        self.signals += 1
        if self.signals > 1:
            self._kill()

    def start(self) -> None:
        """Starts all processes and prints the address once the service is ready; raises :class:`UpError` otherwise."""
        if not is_loopback(self.options.host) and os.environ.get("ADDER_AUTH") == "off":
            reached = f"{self.options.host} can be reached from other machines"
            _say(f"WARNING: {reached}, and nobody needs a key (ADDER_AUTH=off)")
        for child in (*self.broker, self.inference):  # they do without the database, so they load meanwhile
            child.start()
        self._migrate()
        for child in (self.api, *self.workers):
            child.start()
        self._await_ready()
        print(f"Adderworks is ready at {self.url}", flush=True)

    def _migrate(self) -> None:
        """Brings the database to this version, after a copy where it is older, and says what was done."""
        key = self.folder.run / "operator-key"
        key.unlink(missing_ok=True)
        arguments = ("-m", "jobs.migrate", "--only-with-backup", "--make-operator-key", str(key))
        migration = self._child("migrate", arguments, signal.SIGKILL)
        offset = migration.log.stat().st_size if migration.log.exists() else 0
        migration.start()
        try:
            while migration.running:
                self._pause()
        finally:
            migration.kill()
        with migration.log.open("rb") as log:
            log.seek(offset)
            lines = log.read().decode(errors="replace").splitlines()
        said = "\n".join(line for line in lines if not line.startswith("--- "))[-4000:].strip()
        if migration.exit_code:
            raise UpError(
                f"the database of {self.folder.path} cannot be used:\n{said or describe(migration.exit_code)}"
            )
        if said:
            _say(said)
        if key.exists():
            # Not through the log of the migration: the key stands nowhere but here.
            _say(f"the operator's key, which is shown this once: {key.read_text().strip()}")
            key.unlink()

    def _await_ready(self) -> None:
        """Waits until ``/readyz`` answers 200 and all its checks pass, those too that are not required."""
        deadline = time.monotonic() + self.options.ready_seconds
        ready, unwell = False, {"api": "it does not answer"}
        with httpx2.Client(trust_env=False, timeout=2.0) as http:
            while True:
                for child in self.children:
                    if not child.running:
                        raise UpError(f"{child.name} did not start ({describe(child.exit_code)}).{_log_end(child)}", 4)
                try:
                    response = http.get(self.probe_url)
                    ready, unwell = response.status_code == 200, _unwell(response)
                except httpx2.TransportError:
                    pass
                if ready and not unwell:
                    return
                if time.monotonic() > deadline:
                    self._give_up(ready, unwell)
                    return
                for _ in range(LOOK_EVERY):
                    self._pause()

    def _give_up(self, ready: bool, unwell: dict[str, str]) -> None:
        said = "; ".join(f"{name}: {detail}" for name, detail in unwell.items())
        message = f"not all is ready after {self.options.ready_seconds:g} s ({said})."
        message += "".join(_log_end(child) for child in self.children if child.name.split("-")[0] in unwell)
        if not ready:
            raise UpError(message, 4)
        _say(message)

    def supervise(self) -> None:
        """Restarts children that end, until a signal comes."""
        while True:
            for child in self.children:
                child.tend(_say)
            self._pause()

    def stop(self) -> None:
        """Stops the workers and inference first, then the API, then the broker that they use; kills what is left."""
        self._end([*self.workers, self.inference], DRAIN_SECONDS)
        self._end([self.api], API_SECONDS)
        self._end(self.broker, BROKER_SECONDS)
        self._kill()

    def _end(self, children: Iterable[Child], seconds: float) -> None:
        waiting = list(children)
        for child in waiting:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.running for child in waiting) and time.monotonic() < deadline:
            time.sleep(TICK / 2)
        for child in waiting:
            if child.running:
                _say(f"{child.name} did not stop within {seconds:g} s and is killed")
            child.kill()

    def _kill(self) -> None:
        for child in self.children:
            child.kill()

    def _pause(self) -> None:
        if not self.signals:
            time.sleep(TICK)
        if self.signals:
            raise _Stopped


def _listen(host: str, port: int) -> socket.socket:
    """The API's listening socket. It is bound before anything starts, so that a taken port is refused at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise UpError(f"cannot listen on {host}:{port}: {error}; choose another with --host and --port") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UpError(
            f"cannot listen on {host}:{port}: {reason}; choose another port with --port (0 picks a free one)"
        ) from error
    return listener


def _unwell(response: httpx2.Response) -> dict[str, str]:
    """The details of the checks that failed, from an answer of ``/readyz``."""
    try:
        checks = response.json()["checks"].items()
        failed = {str(name): str(check.get("detail", "")) for name, check in checks if not check.get("ok")}
    except (ValueError, KeyError, TypeError, AttributeError):
        failed = {}
    return failed if failed or response.is_success else {"api": f"{response.status_code} {response.text[:500]}"}


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _log_end(child: Child) -> str:
    return f"\nThe end of {child.log}:\n{tail(child.log)}"


def _say(message: str) -> None:
    print(f"adder up: {message}", file=sys.stderr, flush=True)
