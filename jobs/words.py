"""The words by which jobs and models are searched, and the numbers by which they are sorted."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jobs.finding_tables import MAX_METRIC, MAX_WORD

MOST_WORDS = 200
"""Words of one job or model."""
MOST_METRICS = 200
"""Numbers of one result."""
SAME = (("accuracy", "val/accuracy"), ("loss", "val/loss"), ("top5", "val/top5"))
"""What an evaluation and a training call the same number; a list of both is sorted by either name."""
MOST_ASKED = 8
"""Words of one search."""
_WORD = re.compile(r"\w+")


def words_of(texts: Iterable[object]) -> list[str]:
    """The words in which a search finds these texts.

    Args:
        texts: names, labels and the like; None and what is no text are passed over.

    Returns:
        Distinct words in lower case. `lenet5_bn` is found whole and by `bn`.
    """
    found: dict[str, None] = {}
    for text in texts:
        for word in _split(text) if isinstance(text, str) else ():
            for part in _from_each_part(word):
                found[part[:MAX_WORD]] = None
                if len(found) == MOST_WORDS:
                    return list(found)
    return list(found)


def asked(text: str) -> list[str]:
    """The words of a search: each of them must begin a word of what is found."""
    return list(dict.fromkeys(word[:MAX_WORD] for word in _split(text)))


def _split(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _from_each_part(word: str) -> Iterator[str]:
    """A word, and what is left of it behind each underscore: `val_top_5` → `val_top_5`, `top_5`, `5`."""
    while word:
        yield word
        word = word.partition("_")[2].lstrip("_")


def numbers_of(document: Mapping[str, Any] | None) -> dict[str, float]:
    """The numbers of a result or of a model's metrics by which a list is sorted.

    Those of inner objects are none, but for what a quantisation measured of its integer model.
    """
    found: dict[str, float] = {}
    own = document or {}
    integer = own.get("integer")
    for name, value in {**(integer if isinstance(integer, Mapping) else {}), **own}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not _storable(name):
            continue
        try:
            number = float(value)
        except OverflowError:
            continue
        if math.isfinite(number) and len(found) < MOST_METRICS:
            found[name] = number
    for measured, validated in SAME:
        for name, other in ((measured, validated), (validated, measured)):
            if other in found:
                found.setdefault(name, found[other])
    return found


def _storable(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_METRIC and name.isprintable()
