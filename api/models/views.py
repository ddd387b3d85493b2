"""Models as the API answers them: rows with their labels and aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from api.models.cards import card_of
from api.models.schemas import Model, ModelRow
from jobs.access.scope import OwnTransaction
from jobs.repository import keeping
from jobs.tables import Model as Row


def viewer(session: OwnTransaction, rows: Sequence[Row]) -> Callable[[Row], ModelRow]:
    """What makes the answer of each of these rows. The number of queries does not grow with their number."""
    ids = [row.id for row in rows]
    labels, aliases = keeping.model_labels(session, ids), keeping.aliases_of(session, ids)
    return lambda row: ModelRow.of(row, labels[row.id], aliases[row.id])


def view(session: OwnTransaction, row: Row) -> Model:
    """One model as the API answers it, with what it costs."""
    labels, aliases = keeping.model_labels(session, [row.id]), keeping.aliases_of(session, [row.id])
    return Model.of(row, labels[row.id], aliases[row.id], **vars(card_of(session, row)))
