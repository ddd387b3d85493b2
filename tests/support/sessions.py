"""A watch for database sessions that product code opens while it holds another one in the same thread.

Each session takes a connection of the pool. Where many threads hold one and wait for a second, none goes on until the
pool's time-out.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from jobs.database import Database

PRODUCT = ("api", "jobs", "worker")
_open = threading.local()


def _watched(opening: Callable[..., AbstractContextManager[Any]]) -> Callable[..., Any]:
    def opened(database: Database, *scope: Any) -> AbstractContextManager[Any]:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        session = opening(database, *scope)
        return _noted(session, caller) if caller.partition(".")[0] in PRODUCT else session

    return opened


@contextmanager
def _noted(session: AbstractContextManager[Any], caller: str) -> Iterator[Any]:
    holders: list[str] = _open.__dict__.setdefault("holders", [])
    assert not holders, f"{caller} opens a session while {holders[-1]} holds one in this thread"
    holders.append(caller)
    try:
        with session as opened:
            yield opened
    finally:
        holders.pop()


@contextmanager
def no_session_in_a_session() -> Iterator[None]:
    """Makes the inner one of two such sessions an AssertionError. Sessions that tests open themselves do not count."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read", "write"):
            patch.setattr(Database, name, _watched(getattr(Database, name)))
        yield
