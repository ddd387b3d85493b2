"""Collects what is wrong with an upload."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from addercore.errors import BadData

MAX_LISTED: Final = 100
MAX_CHARACTERS: Final = 1000  # of a sentence
_SHOWN: Final = 3
_NAMES_SHOWN: Final = 5
_BIDIRECTIONAL: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class BadDataset(BadData):
    """An upload that is no usable dataset. `problems` has a sentence for each, and a last one for those left out."""

    def __init__(self, problems: list[str], total: int | None = None) -> None:
        problems = [sentence(problem) for problem in problems]
        self.total = len(problems) if total is None else total
        left_out = self.total - len(problems)
        self.problems = [*problems, f"… and {left_out:,} more of that kind."] if left_out else problems
        more = f" … and {self.total - _SHOWN:,} more." if self.total > _SHOWN else ""
        super().__init__(" ".join(problems[:_SHOWN]) + more)


class Problems:
    """The first hundred problems as sentences, and the number of all."""

    def __init__(self) -> None:
        self._sentences: list[str] = []
        self.total = 0

    def add(self, sentence: str) -> None:
        self.total += 1
        if len(self._sentences) < MAX_LISTED:
            self._sentences.append(sentence)

    def raise_any(self) -> None:
        if self.total:
            raise BadDataset(self._sentences, self.total)


def refuse(sentence: str) -> BadDataset:
    """The error for what is wrong with the upload as a whole."""
    return BadDataset([sentence])


def notes_of(sentences: list[str]) -> list[str]:
    """Notes as they are stored: the first hundred, each printable and of bounded length."""
    left_out = len(sentences) - MAX_LISTED
    more = [f"… and {left_out:,} more notes."] if left_out > 0 else []
    return [sentence(text) for text in sentences[:MAX_LISTED]] + more


def sentence(text: str) -> str:
    """A sentence that may hold names from an upload: printable, and cut where it is too long to be read."""
    text = printable(text[: MAX_CHARACTERS + 1])
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def listed(names: Iterable[str], most: int = _NAMES_SHOWN) -> str:
    """The first names of a list, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def unprintable(text: str) -> bool:
    """Whether a text could steer a terminal or cannot be encoded: controls, lone surrogates, line separators,
    characters that turn the direction of writing."""
    return any(_steers(character) for character in text)


def printable(text: str) -> str:
    """The text with every character that `unprintable` means as an escape such as `\\x1b`."""
    if not unprintable(text):
        return text
    return "".join(ascii(character)[1:-1] if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDIRECTIONAL
