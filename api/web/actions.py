"""Buttons of a page. Each one is a call of the REST API, made by a script in the browser."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """A button that calls the API."""

    name: str
    method: str
    path: str
    confirm: str = ""
    """The question that is asked before the call; empty for none."""
    then: str = ""
    """The page to open after success; empty to stay. `job` opens the job of the answer."""
    danger: bool = False
