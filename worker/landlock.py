"""Landlock (landlock(7), Linux 5.13 and newer): a process gives up rights over files, sockets and signals for good.

No privilege is needed. What is given up binds the calling thread and everything that it starts, and cannot be taken
back. So a process calls `restrict` while it has one thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; the same numbers on every processor."""
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13)) - (1 << 6) - (1 << 11)
"""Remove and make what a folder holds, except device files."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for a file, and not for a folder, may name."""
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = READ | WRITE_FILE | TRUNCATE | REFER | CHANGE_FOLDER
DEVICE = READ | WRITE_FILE | TRUNCATE | IOCTL_DEV

BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
ABSTRACT_UNIX_SOCKET, SIGNAL = 1 << 0, 1 << 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> tuple[int, str]:
    """The version of Landlock that the kernel offers, 0 if none, and then why."""
    if sys.platform != "linux":
        return 0, f"{sys.platform} has no Landlock"
    try:
        return _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(CREATE_RULESET_VERSION)), ""
    except OSError as error:
        reasons = {
            errno.ENOSYS: "the kernel has no Landlock (Linux 5.13 has)",
            errno.EOPNOTSUPP: "the kernel was started without Landlock (the boot option lsm=)",
            errno.EPERM: "a filter of system calls forbids Landlock",
        }
        return 0, reasons.get(error.errno or 0, f"Landlock cannot be used: {error.strerror}")


def restrict(rules: Iterable[tuple[Path, int]], *, network: bool) -> None:
    """Gives up every right over files but those that the rules name, and signals to processes outside.

    Args:
        rules: a file or folder, and what is allowed there and below it (`READ`, `RUN`, `WRITE`, `DEVICE`). A path that
            is not there is left out.
        network: whether the process may still use TCP. Landlock tells ports apart, and not addresses.

    Raises:
        OSError: the kernel refuses it. Nothing has been given up then.
    """
    version, reason = abi()
    if not version:
        raise OSError(errno.ENOSYS, reason)
    handled = (1 << (13 + (version >= 2) + (version >= 3))) - 1 | (IOCTL_DEV if version >= 5 else 0)
    ruleset = _Ruleset(
        handled,
        0 if network or version < 4 else BIND_TCP | CONNECT_TCP,
        ABSTRACT_UNIX_SOCKET | SIGNAL if version >= 6 else 0,
    )
    size = 8 if version < 4 else 16 if version < 6 else 24  # an older kernel knows fewer of the fields
    handle = _call(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            _allow(handle, path, rights & handled)
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS was refused")
        _call(RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, or this process could not use it anyway
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= OF_FILES
        rule = _PathBeneath(rights, handle)
        _call(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(RULE_PATH_BENEATH), ctypes.byref(rule), ctypes.c_int(0))
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    libc: ctypes.CDLL = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def outside(folders: Sequence[Path], kept: Path) -> list[Path]:
    """`folders` without `kept`: one that holds it is replaced by what lies in it beside `kept`.

    A rule holds for all that lies below its folder and knows no exception.
    """
    found: list[Path] = []
    for folder in folders:
        if folder == kept or folder.is_relative_to(kept):
            continue
        if not kept.is_relative_to(folder):
            found.append(folder)
            continue
        with suppress(OSError):
            found += outside(sorted(folder.iterdir()), kept)
    return found
