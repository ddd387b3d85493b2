"""The path that was most likely meant by one that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

MOST_PARTS: Final = 8
LONGEST: Final = 64
"""Of a part: comparing takes time that grows with its square."""
ALIKE: Final = 0.7
OTHER_WORDS: Final = {"stop": "cancel", "kill": "cancel", "restart": "retry", "status": "system", "upload": "datasets"}
"""What other services call a part of a path."""


def nearest(path: str, templates: Iterable[str]) -> str | None:
    """The path of one of the templates (`/v1/jobs/{id}/logs`) that is most like `path`, with the ids that this has.

    `/v1/job` and `/api/v1/jobs` mean the call `/v1/jobs`, `/job` the page `/jobs`. None where none is much alike.
    """
    given = [part for part in path.split("/") if part]
    api = bool(given) and re.fullmatch(r"api|v\d+", given[0]) is not None
    while given and re.fullmatch(r"api|v\d+", given[0]):
        del given[0]
    if not 0 < len(given) <= MOST_PARTS or max(map(len, given)) > LONGEST:
        return None
    best, found = ALIKE, None
    for template in templates:
        parts = template.removeprefix("/v1").strip("/").split("/")
        alike = _alike(given, parts) if len(parts) == len(given) else 0.0
        begin = "/v1" if template.startswith("/v1/") else ""
        if alike > best or (alike == best and found is not None and bool(begin) == api):
            filled = (mine if "{" in part else part for mine, part in zip(given, parts, strict=True))
            best, found = alike, "/".join((begin, *filled))
    return found


def _alike(given: list[str], parts: list[str]) -> float:
    """How much the least similar part is so, 0…1; an id is like any other."""
    return min(1.0 if "{" in part else _ratio(mine, part) for mine, part in zip(given, parts, strict=True))


def _ratio(mine: str, part: str) -> float:
    if OTHER_WORDS.get(mine) == part:
        return 1.0
    return SequenceMatcher(None, mine.lower(), part).ratio()
