"""What an evaluation says of each class: its confusion matrix, the accuracy of each class, the worst mistakes.

The tables hold JSON that another version may have written, so nothing here relies on its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from addercore.config import dataset, is_dataset
from addercore.config.evaluate import MISTAKES_NAME
from api.jobs.job_view import dataset_name
from api.web.formats import is_number, percent
from jobs.tables import Artifact, Job

MOST_SHOWN = 100
"""Classes of a matrix that is drawn; of more the hardest classes are listed alone."""
HARDEST = 20


@dataclass(frozen=True)
class OneClass:
    """How often the images of a class got their own class."""

    name: str
    right: int
    images: int

    @property
    def accuracy(self) -> float | None:
        return self.right / self.images if self.images else None


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix of an evaluation."""

    classes: Sequence[str]
    rows: Sequence[Sequence[tuple[int, int]]]
    """Cells as `(count, shade)`; the shade, 0 to 9, is the count's share of its row. Empty for very many classes."""
    by_class: Sequence[OneClass]
    """The hardest class first."""


@dataclass(frozen=True)
class Mistakes:
    """The worst mistakes as a picture, and in words for those who do not see it."""

    address: str
    words: str


def confusion_of(job: Job, classes: Sequence[str] | None = None) -> Confusion | None:
    """The matrix in a job's result; None where there is none.

    Args:
        job: its row.
        classes: their names, where the caller knows them; else those of a published dataset, or numbers.
    """
    matrix = (job.result or {}).get("confusion_matrix")
    if not (isinstance(matrix, list) and matrix and all(isinstance(row, list) for row in matrix)):
        return None
    if not all(len(row) == len(matrix) and all(isinstance(cell, int) and cell >= 0 for cell in row) for row in matrix):
        return None
    names = _names(job, classes, len(matrix))[: len(matrix)]
    made = [OneClass(name, row[at], sum(row)) for at, (name, row) in enumerate(zip(names, matrix, strict=True))]
    made.sort(key=lambda one: (one.accuracy is None, one.accuracy))
    drawn = matrix if len(matrix) <= MOST_SHOWN else []
    return Confusion(names, [[(cell, _shade(cell, sum(row))) for cell in row] for row in drawn], made[:HARDEST])


def mistakes_of(job: Job, artifacts: Sequence[Artifact], classes: Sequence[str] | None = None) -> Mistakes | None:
    """The worst mistakes of an evaluation; None where it left no picture of them."""
    found = (job.result or {}).get("mistakes")
    if not isinstance(found, list) or not any(one.name == MISTAKES_NAME for one in artifacts):
        return None
    indices = [one[key] for one in found if isinstance(one, dict) for key in ("label", "predicted") if key in one]
    most = max((index for index in indices if isinstance(index, int)), default=0)
    names = _names(job, classes, most + 1)
    words = [text for one in found if (text := _in_words(one, names))]
    return Mistakes(f"/v1/jobs/{job.id}/artifacts/{MISTAKES_NAME}", "; ".join(words))


def _in_words(one: Any, names: Sequence[str]) -> str:
    try:
        label, predicted, share = names[one["label"]], names[one["predicted"]], one["probability"]
    except (KeyError, TypeError, IndexError):
        return ""
    return f"{label} taken for {predicted}" + (f" ({percent(share, 0)})" if is_number(share) else "")


def _names(job: Job, classes: Sequence[str] | None, count: int) -> list[str]:
    """The names of so many classes, or of more."""
    name = dataset_name(job.spec)
    known = classes or (dataset(name).classes if isinstance(name, str) and is_dataset(name) else ())
    return list(map(str, known)) if len(known) >= count else [str(at) for at in range(count)]


def _shade(cell: int, total: int) -> int:
    """0 only for an empty cell, so that one error among a thousand still shows."""
    return 0 if cell == 0 else 1 + min(8, round(8 * cell / total))
