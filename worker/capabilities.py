"""Capabilities of this process (capabilities(7)): it keeps some, or none."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

KILL, SETGID, SETUID = 5, 6, 7
VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def keep(capabilities: Iterable[int] = ()) -> None:
    """Gives up all capabilities but these, of numbers below 32. It holds for the calling thread and what it starts.

    Raises:
        OSError: this process has not all of them.
    """
    mask = sum(1 << capability for capability in capabilities)
    sets = (_Sets * 2)(_Sets(mask, mask, 0), _Sets(0, 0, 0))
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(_Header(VERSION_3, 0)), sets):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
