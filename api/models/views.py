"""Models as the API answers them: rows with their labels and aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from api.models.schemas import Model, ModelRow
from jobs.access.scope import OwnTransaction
from jobs.repository import keeping
from jobs.tables import Model as Row

View = TypeVar("View", bound=ModelRow)


def viewer(session: OwnTransaction, rows: Sequence[Row], answer: type[View]) -> Callable[[Row], View]:
    """What makes the answer of each of these rows. The number of queries does not grow with their number."""
    ids = [row.id for row in rows]
    labels, aliases = keeping.model_labels(session, ids), keeping.aliases_of(session, ids)
    return lambda row: answer.of(row, labels[row.id], aliases[row.id])


def view(session: OwnTransaction, row: Row) -> Model:
    """One model as the API answers it."""
    return viewer(session, [row], Model)(row)
