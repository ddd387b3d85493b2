"""A line of the table: what is tried against a running service, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.attack.service import Service


class Seen(NamedTuple):
    """The outcome of one line."""

    held: bool
    what: str
    """A few words for people: the status, the seconds, what was found."""


class NotTried(Exception):
    """This machine cannot try the line; the text says why."""


Attack = Callable[[Service], Seen]


@dataclass(frozen=True)
class Line:
    row: str
    """Where it stands: the number of a row of the list of what did not hold, or `threat` for the threat model."""
    name: str
    attack: Attack
    long: bool


LINES: list[Line] = []
"""In the order in which they are tried."""


def line(row: str | int, name: str, *, long: bool = False) -> Callable[[Attack], Attack]:
    """Adds a function to the table.

    Args:
        row: see `Line.row`.
        name: what is tried, for people.
        long: whether it trains, waits or sends much; the short form leaves it out.
    """

    def add(attack: Attack) -> Attack:
        LINES.append(Line(str(row), name, attack, long))
        return attack

    return add
