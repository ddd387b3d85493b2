"""What a list of jobs can be sorted by beside times and metrics: any column of the table of jobs.

Numbers come before texts, each in their own order, and jobs without a value are last. No index has these values: a page
looks at every job of the project that the filters leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Double,
    Numeric,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    literal,
    null,
    select,
)

from jobs.repository.paging import Keys, Valued
from jobs.tables import Attempt, Job, Label

SPEC, LABEL, RESULT = "spec.", "label.", "result."
PREFIXES: Final = (SPEC, LABEL, RESULT)
"""Of the names of columns that a reader chooses: a field of the spec, a label, a value of the result."""
DURATION: Final = "duration"
OWN: Final = (DURATION, "kind", "name", "progress", "status")
"""Of the columns that every job has."""
MOST_TEXT: Final = 200
"""Characters of a text that are compared."""
LARGEST: Final = 1e308


def sorts(name: str) -> bool:
    """Whether `keys_of` knows this order."""
    return name in OWN or name.startswith(PREFIXES)


def keys_of(name: str, *, sqlite: bool, descending: bool, as_of: int) -> Keys:
    """The order by a column, `spec.optimizer.eta` or one of `OWN`.

    Args:
        name: of the column.
        sqlite: whether the database is SQLite.
        descending: whether the largest comes first.
        as_of: the time in ms up to which attempts that run have lasted: all pages of a list count to the same moment.
    """
    if name == DURATION:
        ran = func.sum(func.coalesce(Attempt.ended_at, literal(as_of, BigInteger)) - Attempt.started_at)
        lasted = cast(select(ran).where(Attempt.job_id == Job.id).scalar_subquery(), BigInteger)
        return _keys(lasted, None, descending, as_of)
    if name.startswith(LABEL):
        mine = and_(Label.job_id == Job.id, Label.key == name.removeprefix(LABEL))
        return _keys(None, _text(select(Label.value).where(mine).scalar_subquery(), sqlite), descending)
    if name == "progress":
        return _keys(*_values(Job.progress, ["fraction"], sqlite), descending)
    if name.startswith(SPEC):
        return _keys(*_values(Job.spec, _names(name), sqlite), descending)
    if name.startswith(RESULT):
        return _keys(*_values(Job.result, _names(name), sqlite), descending)
    return _keys(None, _text(getattr(Job, name), sqlite), descending)


def _names(column: str) -> list[str]:
    return column.partition(".")[2].split(".")


def _keys(number: Any, text: Any, descending: bool, as_of: int | None = None) -> Keys:
    """The order by a number or, where a job has none, by a text."""
    text = text if number is None or text is None else case((number.is_(None), text))
    given = [(one, one is text) for one in (number, text) if one is not None]
    valued = [
        Valued(select(Job.id, one).where(one.is_not(None)), (one, Job.id), text=is_text) for one, is_text in given
    ]
    lacking = select(Job.id).where(*(one.is_(None) for one, _ in given))
    return Keys(lacking, (Job.id,), valued, descending, as_of)


def _text(value: Any, sqlite: bool) -> Any:
    """Compared byte by byte on both databases."""
    short = func.substr(value, 1, MOST_TEXT, type_=Text)
    return short if sqlite else collate(short, "C")


def _values(document: Any, names: Sequence[str], sqlite: bool) -> tuple[Any, Any]:
    """The number and the text at a dotted name of a JSON column; the name of a value may have dots itself."""
    paths = [(*names[:at], ".".join(names[at:])) for at in range(len(names))]
    at = _at_sqlite if sqlite else _at_postgresql
    numbers, texts = zip(*(at(document, path) for path in paths), strict=True)
    number, text = (one[0] if len(one) == 1 else func.coalesce(*one) for one in (numbers, texts))
    return number, _text(text, sqlite)


def _at_sqlite(document: Any, path: Sequence[str]) -> tuple[Any, Any]:
    if any(sign in name for name in path for sign in '"\\'):
        return cast(null(), Double), cast(null(), Text)  # which SQLite's paths cannot name
    where = "$" + "".join(f'."{name}"' for name in path)
    raw = case((func.json_valid(document) == 1, func.json_extract(document, where)))
    kind = case((func.json_valid(document) == 1, func.json_type(document, where)))
    number = case(
        (and_(kind.in_(("integer", "real")), cast(raw, Double).between(-LARGEST, LARGEST)), cast(raw, Double))
    )
    words = {"true": "true", "false": "false"}
    return number, case(
        (kind.in_(("text", "array", "object")), cast(raw, Text)), *((kind == a, b) for a, b in words.items())
    )


def _at_postgresql(document: Any, path: Sequence[str]) -> tuple[Any, Any]:
    where = literal(list(path), ARRAY(Text))
    kind = func.json_typeof(document.op("#>")(where))
    raw = document.op("#>>", return_type=Text())(where)
    number = case((kind == "number", cast(raw, Numeric)))
    most = Decimal(LARGEST)
    return (
        case((number.between(literal(-most, Numeric), literal(most, Numeric)), cast(number, Double))),
        case((kind.in_(("string", "boolean", "array", "object")), raw)),
    )
