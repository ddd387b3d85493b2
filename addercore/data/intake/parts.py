"""Names of a dataset's parts, as people write them: folders, arrays, shards of tables."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

Kind = Literal["train", "validation", "test", "unlabelled"]

_WORDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "t10k", "holdout"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"), "unlabelled"),
}
_FILLER: Final = re.compile(
    r"(set|dataset|image|img|pic|picture|photo|file|split|part|folder|dir)s?|data|seg|my|our|the|new|all|full|final|raw|"
    r"processed|resized|cropped|clean|small|large|labell?ed|\d+"
)
"""Words that say nothing beside a part's: `training_set`, `my-train`, `seg_test`."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SEPARATORS: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(
    rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})(set|sets|data|dataset|images|imgs|part|split)?\d*"
)


def part_word(name: str) -> tuple[Kind, frozenset[str]] | None:
    """The part that a name speaks of and the other words in it that are no fillers; None for no part or for two."""
    words = [word for word in _SEPARATORS.split(_CAMEL.sub("_", name).lower()) if word]
    found: set[Kind] = set()
    others = set()
    for word in words:
        match = _WORD.fullmatch(word)
        if match is not None:
            found.add(_WORDS[match[1]])
        elif not _FILLER.fullmatch(word):
            others.add(word)
    return (found.pop(), frozenset(others)) if len(found) == 1 else None


def filler(name: str) -> bool:
    """Whether a folder's name says nothing: `images`, `data`."""
    words = [word for word in _SEPARATORS.split(_CAMEL.sub("_", name).lower()) if word]
    return all(_FILLER.fullmatch(word) for word in words)


def parts_among(names: Iterable[str]) -> dict[str, Kind]:
    """Those of `names` that are parts. Further words are allowed where several parts have the same ones.

    `cats_train` and `cats_test` are parts; `train_station` beside `harbour` is none.
    """
    spoken = {name: word for name in names if (word := part_word(name)) is not None}
    shared = Counter(others for _, others in spoken.values())
    return {name: kind for name, (kind, others) in spoken.items() if not others or shared[others] > 1}
