"""A metric's points made few enough to draw: a sample by the index, or the extremes or the mean of equal stretches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, and_, func, literal, literal_column, select
from sqlalchemy.orm import aliased

from jobs.access.scope import Transaction
from jobs.repository.history import Point
from jobs.tables import Metric

FEWEST: Final = 10
"""Points that a thinned metric may be asked to have at least: two of each stretch, and both ends."""
COLUMNS: Final = (Metric.seq, Metric.name, Metric.step, Metric.epoch, Metric.value, Metric.time)


class Thinning(StrEnum):
    SAMPLE = "sample"
    """The first point of each stretch. It reads as many rows as it returns, however many there are."""
    EXTREMES = "extremes"
    """The lowest, the highest and the first missing value of each stretch: no spike is lost. It reads every row."""
    MEAN = "mean"
    """The mean of each stretch, at its last point: what can be smoothed. It reads every row."""


@dataclass(frozen=True)
class Thinned:
    points: Sequence[Any]
    """Of all metrics, in order of `seq`; rows like those of `history.metrics`."""
    names: Sequence[str]
    """Metrics of which points were left out."""


def thinned(
    session: Transaction,
    job_id: str,
    names: Iterable[str],
    most: int,
    how: Thinning,
    first: int | None = None,
    last: int | None = None,
) -> Thinned:
    """About `most` points of each metric, of the steps from `first` to `last`; all of them where they are no more.

    A stretch is an equal share of the steps. The first and the last point are always among a sample and among extremes.
    """
    points: list[Any] = []
    left_out = []
    for name in dict.fromkeys(names):
        mine = _within(Metric, job_id, name, first, last)
        rows: Sequence[Any] = session.execute(_in_order(mine).limit(most + 1)).all()
        if len(rows) > most:
            left_out.append(name)
            rows = _STRATEGIES[how](session, mine, _stretches(session, job_id, name, mine, most, how))
        points += rows
    return Thinned(sorted(points, key=lambda row: row.seq), left_out)


@dataclass(frozen=True)
class _Stretches:
    job_id: str
    name: str
    low: int
    """The first step."""
    high: int
    """The last one."""
    width: int
    """Steps of a stretch."""

    @property
    def number(self) -> ColumnElement[int]:
        """Of a row's stretch. Written out, as PostgreSQL takes two equal parameters for two expressions."""
        low, width = (literal_column(str(value), Integer) for value in (self.low, self.width))
        return (Metric.step - low) // width


def _within(table: Any, job_id: str, name: str, first: int | None, last: int | None) -> ColumnElement[bool]:
    parts = [table.job_id == job_id, table.name == name]
    parts += [] if first is None else [table.step >= first]
    parts += [] if last is None else [table.step <= last]
    return and_(*parts)


def _in_order(mine: ColumnElement[bool]) -> Select[int, str, int, int, float | None, int]:
    return select(*COLUMNS).where(mine).order_by(Metric.step)


def _stretches(
    session: Transaction, job_id: str, name: str, mine: ColumnElement[bool], most: int, how: Thinning
) -> _Stretches:
    steps = select(Metric.step).where(mine).limit(1)  # each of the two is one look at the index
    low = session.execute(steps.order_by(Metric.step)).scalar_one()
    high = session.execute(steps.order_by(Metric.step.desc())).scalar_one()
    count = (most - 2) // 2 if how is Thinning.EXTREMES else most - 1
    return _Stretches(job_id, name, low, high, -(-(high - low + 1) // count))


def _sample(session: Transaction, mine: ColumnElement[bool], cut: _Stretches) -> list[Any]:
    starts = select(literal(cut.low).label("at")).cte("starts", recursive=True)
    starts = starts.union_all(select(starts.c.at + cut.width).where(starts.c.at + cut.width <= cut.high))
    other = aliased(Metric)
    inside = and_(_within(other, cut.job_id, cut.name, None, None), other.step >= starts.c.at)
    first = select(func.min(other.step)).where(inside, other.step < starts.c.at + cut.width).scalar_subquery()
    steps = session.execute(select(first).select_from(starts)).scalars()
    return _rows_at(session, cut, steps)


def _extremes(session: Transaction, mine: ColumnElement[bool], cut: _Stretches) -> list[Any]:
    values = (func.min(Metric.value).label("low"), func.max(Metric.value).label("high"))
    missing = (func.count() - func.count(Metric.value)).label("missing")
    found = select(cut.number.label("number"), *values, missing).where(mine).group_by(cut.number).cte("stretches")
    other = aliased(Metric)
    start = cut.low + found.c.number * cut.width
    inside = and_(
        _within(other, cut.job_id, cut.name, None, cut.high), other.step >= start, other.step < start + cut.width
    )

    def first(where: ColumnElement[bool]) -> ScalarSelect[Any]:
        return select(other.step).where(inside, where).order_by(other.step).limit(1).scalar_subquery()

    low, high = first(other.value == found.c.low), first(other.value == found.c.high)
    gap = first(and_(other.value.is_(None), found.c.missing > 0))
    steps = (step for row in session.execute(select(low, high, gap).select_from(found)) for step in row)
    return _rows_at(session, cut, steps)


def _mean(session: Transaction, mine: ColumnElement[bool], cut: _Stretches) -> list[Any]:
    ends = [func.max(column).label(column.key) for column in (Metric.seq, Metric.step, Metric.epoch, Metric.time)]
    seq, step, epoch, time = ends
    name, value = literal(cut.name).label("name"), func.avg(Metric.value).label("value")
    query = select(seq, name, step, epoch, value, time).where(mine).group_by(cut.number)
    return list(session.execute(query).all())


def _rows_at(session: Transaction, cut: _Stretches, steps: Iterable[int | None]) -> list[Point]:
    wanted = {step for step in steps if step is not None} | {cut.low, cut.high}
    mine = and_(Metric.job_id == cut.job_id, Metric.name == cut.name, Metric.step.in_(sorted(wanted)))
    return list(session.execute(_in_order(mine)).all())


_STRATEGIES: Final = {Thinning.SAMPLE: _sample, Thinning.EXTREMES: _extremes, Thinning.MEAN: _mean}
