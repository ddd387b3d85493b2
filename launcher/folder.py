"""The data folder: it serves one service at a time, and bounds its logs; sockets lie in a temporary folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from adderclient.command.errors import CommandError

MAX_LOG_BYTES = 8 << 20
"""A log that is longer when the service starts is moved to ``NAME.log.1``."""
LONGEST_LINE = 800
"""Characters of a log's line that an error message repeats."""


class UpError(CommandError):
    """The service cannot start; the message says what to do about it."""


class DataFolder:
    """A data folder that is locked for the time of a ``with`` block, and a temporary folder for its sockets.

    The kernel holds the lock, and releases it however this process ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"

    def __enter__(self) -> DataFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            close_to_others(self.path)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UpError(
                f"cannot use {self.path} as data folder: {error.strerror}; choose another with --data"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise UpError(
                f"another Adderworks (pid {holder}) already serves {self.path}; "
                "stop it or choose another folder with --data"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self.logs.mkdir(exist_ok=True, mode=0o700)
        # The path of a Unix socket may have some 100 characters only, so sockets do not lie in the data folder.
        self.run = Path(tempfile.mkdtemp(prefix="adder-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        with suppress(OSError):
            os.ftruncate(self._lock, 0)
        os.close(self._lock)

    def log(self, name: str) -> Path:
        """The log file of a child; one that is too long is moved aside."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        return path


def close_to_others(folder: Path) -> None:
    """Takes a data folder that is there already, and the database in it, from all other users of this machine.

    Raises:
        UpError: the folder is another user's, or one that users share.
    """
    status = folder.stat()
    if status.st_mode & stat.S_ISVTX or folder == folder.parent:
        raise UpError(f"{folder} is a folder that all users share; choose one of your own with --data")
    if status.st_uid != os.geteuid():
        raise UpError(
            f"{folder} belongs to another user (uid {status.st_uid}), who could read and change all that it keeps; "
            f"run `chown -R {os.geteuid()} {folder}` as root, or choose another folder with --data"
        )
    folder.chmod(0o700)
    for file in folder.glob("adder.db*"):  # with -wal and -shm
        file.chmod(0o600)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log; a very long line is cut."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))
            found = file.read().decode(errors="replace").splitlines()[-lines:]
            return "\n".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in found)
    except FileNotFoundError:
        return ""
