"""Lists of jobs and of models: filters, search and order, each by an index. And objects by the ends of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, false, func, null, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased, defer

from jobs.access.scope import OwnTransaction
from jobs.errors import TooManyWords
from jobs.finding_tables import JobMetric, JobWord, ModelLabel, ModelMetric, ModelWord
from jobs.repository import ordering
from jobs.repository.core import now
from jobs.repository.paging import Conditions, Keys, Page, Place, Valued, place_of, sorted_page
from jobs.states import Status
from jobs.sweeps.objectives import direction_of
from jobs.tables import TAIL, Dataset, Job, Label, Model, Sweep, Trial
from jobs.words import MOST_ASKED, asked

Order = Literal["asc", "desc"]
METRIC = "metric:"
NAMED = ("kind", "name", "status")
"""Orders of texts, which begin with the first ones."""
FEW = 2000
"""Rows with a label or a word up to which these are looked up first. Beyond, the list is read in its order and each row
asked for it: so many have it that a page is full soon."""
LAST = "z" * 26
"""Behind all ids with one beginning."""


@dataclass(frozen=True)
class Wanted:
    """Which rows of a list, and in which order. An empty field filters nothing."""

    labels: Sequence[tuple[str, str]] = ()
    """The row has all of these."""
    q: str = ""
    """Each of its words begins a word of the row's name, labels, network or dataset."""
    starred: bool | None = None
    sweep: str | None = None
    """Id of a sweep whose trials these are, or were trained by."""
    dataset: str | None = None
    """A published name, a user's (all versions), `name@version`, or an id."""
    sort: str = "created"
    """`created`, `finished` or `metric:NAME`; of jobs also a column (`ordering.sorts`)."""
    order: Order | None = None
    """None: the newest, the best, the largest, or of names the first ones first."""

    @property
    def metric(self) -> str | None:
        return self.sort.removeprefix(METRIC) if self.sort.startswith(METRIC) else None

    @property
    def descending(self) -> bool:
        """Whether the largest comes first: the newest, or the best of a metric of which more is better."""
        if self.order is not None:
            return self.order == "desc"
        measured = self.metric or (
            self.sort.removeprefix(ordering.RESULT) if self.sort.startswith(ordering.RESULT) else None
        )
        if measured is not None:
            return direction_of(measured) == "maximize"
        return self.sort not in NAMED and not self.sort.startswith(ordering.LABEL)

    def scope(self) -> dict[str, Any]:
        """What a cursor must agree with. Fields that say nothing are left out, so that older cursors stay valid."""
        fields = {name: getattr(self, name) for name in ("q", "starred", "sweep", "dataset")}
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        if self.sort != "created" or not self.descending:
            given |= {"sort": self.sort, "descending": self.descending}
        return given


@dataclass(frozen=True)
class Subject:
    """The tables about one kind of object."""

    row: type[Job] | type[Model]
    labels: type[Label] | type[ModelLabel]
    words: type[JobWord] | type[ModelWord]
    metrics: type[JobMetric] | type[ModelMetric]
    owner: str
    """Name of the column that names the object in the other tables."""

    def of(self, table: Any) -> InstrumentedAttribute[str]:
        """The object's id in one of the other tables."""
        column: InstrumentedAttribute[str] = getattr(table, self.owner)
        return column


JOBS = Subject(Job, Label, JobWord, JobMetric, "job_id")
MODELS = Subject(Model, ModelLabel, ModelWord, ModelMetric, "model_id")


def list_jobs(
    session: OwnTransaction,
    wanted: Wanted = Wanted(),
    *,
    status: Sequence[str] = (),
    kind: str | None = None,
    limit: int = 20,
    after: str | None = None,
) -> Page:
    """Lists jobs. A job matches if its status is among `status` and it has all else that is wanted.

    Raises:
        BadCursor: `after` is none of this list.
        TooManyWords: the search has too many words.
    """
    own: list[ColumnElement[bool]] = [Job.status.in_(status)] if status else []
    if kind is not None:
        own.append(Job.kind == kind)
    conditions = _conditions(session, JOBS, wanted, *own)
    scope = {"list": "jobs", "status": sorted(status), "kind": kind, "labels": sorted(wanted.labels)} | wanted.scope()
    keys = _job_keys(session, wanted, None if after is None else place_of(after, scope))
    if wanted.metric is not None and status and Status.SUCCEEDED not in status:
        keys = replace(keys, valued=(), lacking=select(Job.id))  # jobs that succeeded alone have final metrics
    return sorted_page(session, select(Job), Job.id, keys, conditions, scope, limit, after)


def list_models(
    session: OwnTransaction, wanted: Wanted = Wanted(), *, limit: int = 20, after: str | None = None
) -> Page:
    """Models without their manifests: one may have a MiB. A model is finished when it is there.

    Raises:
        BadCursor: `after` is none of this list.
        TooManyWords: the search has too many words.
    """
    rows = select(Model).options(defer(Model.manifest, raiseload=True))
    labels = {"labels": sorted(wanted.labels)} if wanted.labels else {}
    scope = {"list": "models"} | labels | wanted.scope()
    conditions = _conditions(session, MODELS, wanted)
    return sorted_page(session, rows, Model.id, _keys(MODELS, wanted), conditions, scope, limit, after)


@dataclass(frozen=True)
class _Members:
    """The objects that have a label, a word, a star or a place in a sweep."""

    ids: Select[Any]
    owner: Any
    """The column of `ids`."""
    few: bool
    """Whether they are looked up first, or each row is asked. The databases' own guesses differ."""

    def have(self, id_column: Any) -> ColumnElement[bool]:
        if self.few:
            found: ColumnElement[bool] = id_column.in_(self.ids)
            return found
        return self.ids.where(self.owner == id_column).exists()


def _conditions(session: OwnTransaction, subject: Subject, wanted: Wanted, *more: ColumnElement[bool]) -> Conditions:
    row, own = subject.row, list(more)
    if wanted.dataset is not None:
        own.append(row.dataset.in_(_datasets(session, wanted.dataset)))
    if wanted.starred is False:
        own.append(row.starred == false())
    words = asked(wanted.q)
    if len(words) > MOST_ASKED:
        raise TooManyWords(len(words), MOST_ASKED)
    if wanted.q.strip() and not words:  # signs alone, which no word has
        own.append(false())
    sets = [
        _Members(ids, owner, _are_few(session, ids))
        for ids, owner in (*_sets(subject, wanted), *_words(subject, words))
    ]
    return lambda id_column: [*own, *(members.have(id_column) for members in sets)]


def _sets(subject: Subject, wanted: Wanted) -> Iterator[tuple[Select[Any], Any]]:
    """The ids of the objects that have a label, a star, a place in a sweep; with the column of each."""
    row, labels = subject.row, subject.labels
    if wanted.starred:
        other = aliased(row)
        yield select(other.id).where(other.starred == true()), other.id
    if wanted.sweep is not None:
        trials = select(Trial.job_id).where(Trial.sweep_id == wanted.sweep, Trial.job_id.is_not(None))
        if row is Job:
            yield trials, Trial.job_id
        else:
            trained = aliased(Model)
            yield select(trained.id).where(trained.job_id.in_(trials)), trained.id
    for key, value in wanted.labels:
        owner = subject.of(labels)
        yield select(owner).where(labels.key == key, labels.value == value), owner


def _words(subject: Subject, words: Sequence[str]) -> Iterator[tuple[Select[Any], Any]]:
    """The ids of the objects with a word that begins with each of these; with the column of each."""
    table, owner = subject.words, subject.of(subject.words)
    for word in words:
        # Code points above all others end the words with this beginning: they are compared byte by byte.
        yield select(owner).where(table.word >= word, table.word <= word + "\U0010ffff"), owner


def _are_few(session: OwnTransaction, ids: Select[Any]) -> bool:
    known = select(func.count()).select_from(ids.limit(FEW + 1).subquery())
    return session.execute(known).scalar_one() <= FEW


def _datasets(session: OwnTransaction, name: str) -> list[str]:
    """What rows store of a dataset that users call `name`: the name itself, or the ids of its versions."""
    stem, _, version = name.partition("@")
    query = select(Dataset.id).where(Dataset.name == stem)
    if version:
        query = query.where(Dataset.version == (int(version) if version.isdecimal() and len(version) < 10 else -1))
    return [name, *session.execute(query).scalars()]


def _job_keys(session: OwnTransaction, wanted: Wanted, at: Place | None) -> Keys:
    if not ordering.sorts(wanted.sort):
        return _keys(JOBS, wanted)
    as_of = now(session) if at is None or at.as_of is None else at.as_of
    sqlite = session.get_bind().dialect.name == "sqlite"
    return ordering.keys_of(wanted.sort, sqlite=sqlite, descending=wanted.descending, as_of=as_of)


def _keys(subject: Subject, wanted: Wanted) -> Keys:
    row = subject.row
    if wanted.metric is not None:
        table, owner = subject.metrics, subject.of(subject.metrics)
        named = table.name == wanted.metric
        return Keys(
            lacking=select(row.id).where(~select(owner).where(named, owner == row.id).exists()),
            lacking_order=(row.id,),
            valued=[Valued(select(owner, table.value).join(row, row.id == owner).where(named), (table.value, owner))],
            descending=wanted.descending,
        )
    if wanted.sort == "finished" and row is Job:
        return Keys(
            lacking=select(Job.id).where(Job.finished_at.is_(None)),
            lacking_order=(Job.finished_at, Job.id),  # the first one is NULL in all of them: this is the index's order
            valued=[
                Valued(select(Job.id, Job.finished_at).where(Job.finished_at.is_not(None)), (Job.finished_at, Job.id))
            ],
            descending=wanted.descending,
        )
    return Keys(lacking=select(row.id), lacking_order=(row.id,), descending=wanted.descending)


# By the ends of ids

OBJECTS: Mapping[str, tuple[Any, Any]] = {
    "job": (Job, Job.name),
    "model": (Model, Model.name),
    "sweep": (Sweep, null()),
    "dataset": (Dataset, Dataset.name),
}
"""The row of each kind of object that `resolve` finds, and its name."""


def resolve(session: OwnTransaction, text: str, most: int) -> list[tuple[str, Row[Any]]]:
    """The objects whose id ends or begins with a text.

    Args:
        session: a transaction.
        text: at least `TAIL` characters of an id.
        most: number of objects.

    Returns:
        `(kind of object, (id, name, created_at))`, the newest first.
    """
    found = []
    for kind, (table, name) in OBJECTS.items():
        ends = (table.tail == text[-TAIL:]) & table.id.endswith(text, autoescape=True)
        begins = table.id.between(text, text + LAST)
        for condition in (ends, begins):
            query = select(table.id, name.label("name"), table.created_at).where(condition)
            found += [(kind, row) for row in session.execute(query.order_by(table.id.desc()).limit(most))]
    unique = {row.id: (kind, row) for kind, row in found}
    return sorted(unique.values(), key=lambda one: (-one[1].created_at, one[1].id))[:most]
