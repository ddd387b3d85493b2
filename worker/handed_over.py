"""Files that a job's process names: the worker reads only what really lies in its work folder."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jobs.errors import JobsError


@contextmanager
def opened(path: Path, folder: Path) -> Iterator[BinaryIO]:
    """Opens a file that a job's process has named. The worker may read what the process may not, so a link to a
    password must not make it an artifact.

    Args:
        folder: the work folder, in which the file must lie.

    Raises:
        JobsError: the path leads out of the folder, or to no regular file.
        OSError: it cannot be opened.
    """
    # A pipe without a writer would keep this thread for ever, were it not for O_NONBLOCK.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO):  # no later try opens it
            raise JobsError(f"{path} cannot be taken: {error.strerror}.") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise JobsError(f"{path} is no regular file.")
        # Asked of the open file: a folder on the way may have become a link after any earlier look.
        real = os.readlink(f"/proc/self/fd/{handle}") if sys.platform == "linux" else os.path.realpath(path)
        if not Path(real).is_relative_to(folder.resolve()):
            raise JobsError(f"{path} leads out of the job's work folder.")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)
