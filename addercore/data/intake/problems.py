"""Collects what is wrong with an upload."""

from typing import Final

from addercore.errors import BadData

MAX_LISTED: Final = 100
_SHOWN: Final = 3


class BadDataset(BadData):
    """An upload that is no usable dataset. `problems` has a sentence for each, and a last one for those left out."""

    def __init__(self, problems: list[str], total: int | None = None) -> None:
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
