"""A worker that root started gives up root, and keeps what starting and stopping jobs under another user needs.

In a container the worker begins as root without any capability but three. It becomes the service's user in this very
process: a program that it starts afterwards gets none of the capabilities (capabilities(7): they do not pass execve).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

from jobs.errors import JobsError
from jobs.settings import Settings
from worker import capabilities

PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 4, 8
KEPT = (capabilities.KILL, capabilities.SETGID, capabilities.SETUID)


def settle(settings: Settings) -> None:
    """Becomes the user of the settings where root started this process, and closes it to other processes' eyes.

    Raises:
        JobsError: the kernel refuses it.
    """
    if sys.platform != "linux":
        return
    if settings.worker_uid is not None and os.getuid() == 0:
        group = settings.worker_gid or settings.worker_uid
        shared = [] if settings.child_uid is None else [settings.child_gid or settings.child_uid]
        try:
            become(settings.worker_uid, group, [*os.getgroups(), *shared])
        except OSError as error:
            raise JobsError(
                f"The worker cannot become user {settings.worker_uid} with SETUID, SETGID and KILL: {error.strerror}."
            ) from None
    # Memory and environment of this process, with its passwords, are then root's alone to read.
    _prctl(PR_SET_DUMPABLE, 0)


def become(user: int, group: int, others: Sequence[int]) -> None:
    """Changes the user for good, keeping `KEPT`. `others`: further groups. Call it while there is one thread.

    Raises:
        OSError: this process may not.
    """
    _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups(sorted({group, *others} - {0}))
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    capabilities.keep(KEPT)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
