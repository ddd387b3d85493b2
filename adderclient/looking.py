"""How often something unfinished is looked at, for how long an outage is borne, and what a look brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from adderclient.errors import AdderClientError
from adderclient.records import Job, Sweep

W = TypeVar("W", bound=Job | Sweep)

OUTAGE = 120.0
"""Seconds for which a server that does not answer is borne."""
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.2, 2.0, 1.5  # seconds between two looks, and the factor from one to the next


@dataclass(frozen=True)
class Look(Generic[W]):
    """What is known of a job or a sweep now."""

    seen: W
    """As the server last described it."""
    trouble: AdderClientError | None = None
    """Why this look brought nothing newer."""
