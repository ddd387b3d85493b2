"""Commands that the command prints for people to copy: they ask the same server as the one that printed them."""

from __future__ import annotations

import shlex
from contextvars import ContextVar

from adderclient import profiles
from adderclient.transport import DEFAULT_URL

_own: ContextVar[str] = ContextVar("own", default=DEFAULT_URL)
"""The server of a command without ``--url``."""
_asked: ContextVar[str | None] = ContextVar("asked", default=None)
"""The server that is asked now."""


def begin() -> None:
    """Notes at the start of the command which server it would ask by itself."""
    _own.set(profiles.own_url())
    _asked.set(None)


def asks(url: str) -> None:
    """Notes which server is asked."""
    _asked.set(url)


def adder(*words: str) -> str:
    """A command line such as ``adder watch job_…``, with ``--url`` where it would ask another server without it."""
    asked = _asked.get()
    other = asked is not None and asked != _own.get().rstrip("/").removesuffix("/v1")
    return " ".join(["adder", *words, *(["--url", shlex.quote(str(asked))] if other else [])])
