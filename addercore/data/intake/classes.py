"""From labels as they come, names or numbers, to classes and the number of each example's."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import Problems, refuse, unprintable

MAX_NAME: Final = 100  # characters of a class's name
RENUMBER: Final = "labels = np.unique(labels, return_inverse=True)[1]"


def classes_of(
    places: Sequence[str | int],
    labels: Sequence[str | int],
    names: list[str] | None,
    limits: Limits,
    notes: list[str],
) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the number of each example's.

    Args:
        places: how each example is called in a message.
        labels: of each example: names of classes, or their numbers.
        names: of numbered classes, where the upload has them.
        notes: gets a sentence for what is converted.

    Raises:
        BadDataset: labels or names that cannot be used.
    """
    if all(isinstance(label, str) for label in labels):
        ordered, found = _named(places, [str(label) for label in labels], names)
    else:
        ordered, found = _numbered(places, [int(label) for label in labels], names, limits, notes)
    _check_names(ordered, limits)
    return tuple(ordered), found


def _named(places: Sequence[str | int], labels: list[str], names: list[str] | None) -> tuple[list[str], list[int]]:
    labels = [unicodedata.normalize("NFC", label) for label in labels]
    ordered = _normal(names) if names is not None else sorted(set(labels), key=_natural)
    numbers = {name: number for number, name in enumerate(ordered)}
    problems = Problems()
    for place, label in zip(places, labels, strict=True):
        if label not in numbers:
            problems.add(f"The label of image {place} is {label[:40]!r}, which is none of the classes.")
    problems.raise_any()
    return ordered, [numbers[label] for label in labels]


def _numbered(
    places: Sequence[str | int], labels: list[int], names: list[str] | None, limits: Limits, notes: list[str]
) -> tuple[list[str], list[int]]:
    low, high = min(labels), max(labels)
    first = 1 if low == 1 and (names is None or high == len(names)) else 0
    known = limits.classes if names is None else len(names)
    if low < 0 or high - first >= known:
        wrong = [i for i, label in enumerate(labels) if not 0 <= label - first < known]
        raise refuse(_out_of_range(places[wrong[0]], labels[wrong[0]], len(wrong), known, names))
    if first:
        notes.append(f"The labels are numbers from 1 to {high}: 1 is the first class, 0 is none.")
    ordered = _normal(names) if names is not None else [str(number) for number in range(first, high + 1)]
    return ordered, [label - first for label in labels]


def _out_of_range(place: str | int, label: int, number: int, known: int, names: list[str] | None) -> str:
    more = f", and {number - 1:,} more are out of range" if number > 1 else ""
    most = f"there are {known} classes" if names else f"at most {known:,} classes are taken"
    mend = "Leave out images without a class (keep = labels >= 0), or renumber the labels" if label < 0 else "Renumber"
    return f"The label of image {place} is {label}{more}; {most}, numbered from 0 on. {mend}: {RENUMBER}."


def _normal(names: list[str]) -> list[str]:
    return [unicodedata.normalize("NFC", name) for name in names]


def _check_names(ordered: list[str], limits: Limits) -> None:
    problems = Problems()
    for name in ordered:
        if not name.strip() or len(name) > MAX_NAME:
            problems.add(f"The class {name[:40]!r} needs a name of 1 to {MAX_NAME} characters.")
        elif unprintable(name):
            problems.add(f"The class {name[:40]!r} has characters in its name that are no text. Rename it.")
    if len(set(ordered)) < len(ordered):
        problems.add("Two classes have the same name.")
    if len(ordered) < 2:
        problems.add(f"There is one class only, {ordered[0]!r}; a classifier needs two or more.")
    if len(ordered) > limits.classes:
        problems.add(f"There are {len(ordered):,} classes; at most {limits.classes:,} are taken.")
    problems.raise_any()


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers by value, before names."""
    return (0, int(name), name) if name.isascii() and name.isdecimal() and len(name) < 10 else (1, 0, name)
