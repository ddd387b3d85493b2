"""A draft: what a form says, what the service makes of it, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from addercore import yaml
from api.access.acting import Acting
from api.http.problems import Problem
from api.jobs import creation, submission
from api.jobs.schemas import Validation
from api.new.fields import Field, Group, Pairs, groups_of
from api.new.form import MISSING, at, document_of, field_of, fields_in, pairs_of, put, without
from api.new.sweeping import Mode, Row, part_of, rows_from, rows_of
from api.sweeps import creation as sweep_creation
from jobs.access.scope import OwnTransaction
from jobs.spec import KINDS, SUBMITTED, SWEEP_LABELS
from jobs.sweeps.spec import SweepSpec

FIRST_KIND: Final = "train"
MODE: Final = "sweep"
"""Name under which the form says whether it makes one job, a grid or a search."""
MODES: Final[tuple[Mode, ...]] = ("", "grid", "search")
OF_SWEEP: Final = "sweep."
"""Stands before the names of a sweep's own fields."""
IN_ROWS: Final = frozenset({"base", "grid", "search", "labels"})
"""Fields of a sweep that the form has elsewhere."""
WIDTH: Final = 96
"""Columns of the YAML that is shown."""


@dataclass
class Draft:
    """One form."""

    kind: str
    mode: Mode
    pairs: Pairs
    """What was entered, by name."""
    rows: list[Row]
    groups: Sequence[Group]
    own: Sequence[Group]
    """The sweep's own fields; their names have no prefix."""
    errors: dict[str, list[str]] = field(default_factory=dict)
    """Sentences by the field's name; those of no field under the empty name."""
    validation: Validation | None = None
    """What one job of it becomes and costs; None where it is not valid."""
    jobs: int = 1
    """How many jobs it makes."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """The value of each field that is not given."""

    @property
    def base(self) -> dict[str, Any]:
        """The spec, without what a sweep adds."""
        found = {"kind": self.kind, **document_of(self.groups, self.pairs)}
        return {name: found[name] for name in KINDS[self.kind].model_fields if name in found}

    @property
    def document(self) -> dict[str, Any]:
        """What is sent: a job's spec, or a sweep."""
        if not self.mode:
            return self.base
        mine = {name[len(OF_SWEEP) :]: values for name, values in self.pairs.items() if name.startswith(OF_SWEEP)}
        varied = part_of(self.mode, self.rows, fields_in(self.groups))
        return {"base": self.base, **varied, **document_of(self.own, mine)}

    @property
    def path(self) -> str:
        """The call that takes the document."""
        return "/v1/sweeps" if self.mode else "/v1/jobs"

    @property
    def yaml(self) -> str:
        return yaml.dumped(self.document, WIDTH)

    @property
    def json(self) -> str:
        return json.dumps(self.document, indent=2, ensure_ascii=False)

    def add_errors(self, problem: Problem) -> None:
        """Gives each error to its field; what belongs to none stands above the form."""
        names = [one.name for one in fields_in(self.groups)]
        own = [one.name for one in fields_in(self.own)]
        sections = [group.name for group in (*self.groups, *self.own) if group.name]
        for pointer, reason in problem.errors or [("", problem.detail)]:
            place = self._place(pointer, names, own, sections)
            text = reason if place else f"{pointer.strip('/').replace('/', '.')} {reason}".strip()
            if text not in self.errors.setdefault(place, []):
                self.errors[place].append(text)

    def _place(self, pointer: str, names: list[str], own: list[str], sections: list[str]) -> str:
        if not self.mode:
            return self._entry(pointer, [*names, *sections])
        top, _, rest = pointer.strip("/").partition("/")
        if top == "base":
            return self._entry(rest, [*names, *sections])
        if top in MODES:
            name = rest.split("/")[0]
            return f"row:{name}" if any(row.name == name for row in self.rows) else "rows"
        found = field_of(pointer, own)
        return f"{OF_SWEEP}{found}" if found else ""

    def _entry(self, pointer: str, names: Sequence[str]) -> str:
        """The field that a pointer leads to. A section that is missing is reported at the field that it needs."""
        found = field_of(pointer, names) or ""
        needed = [one.name for group in self.groups if group.name == found for one in group.fields if one.required]
        return next(iter(needed), found)


def draft_of(pairs: Pairs) -> Draft:
    """The draft that a form's values say. An unknown kind or mode is the first one."""
    kind = (pairs.get("kind") or [FIRST_KIND])[-1]
    kind = kind if kind in SUBMITTED else FIRST_KIND
    mode: Mode = next((one for one in MODES if one == (pairs.get(MODE) or [""])[-1]), "")
    draft = _empty(kind, mode, rows_of(pairs))
    draft.pairs = pairs
    return draft


def _empty(kind: str, mode: Mode, rows: list[Row]) -> Draft:
    groups = groups_of(KINDS[kind], frozenset({"kind"}))
    return Draft(kind, mode, {}, rows, groups, groups_of(SweepSpec, IN_ROWS))


def draft_from(document: Mapping[str, Any]) -> tuple[Draft, list[str]]:
    """The draft of a spec or a sweep; and the names of what it has and no form shows.

    Raises:
        ValueError: it names no kind that a form can make.
    """
    base = document.get("base") if isinstance(document.get("base"), Mapping) else document
    assert isinstance(base, Mapping)
    kind = base.get("kind")
    if kind not in SUBMITTED:
        raise ValueError(f"its kind must be one of {', '.join(SUBMITTED)}, got {json.dumps(kind)[:60]}")
    draft = _empty(str(kind), *rows_from({} if base is document else document))
    pairs, unknown = pairs_of(draft.groups, {name: value for name, value in base.items() if name != "kind"})
    if base is not document:
        rest = {name: value for name, value in document.items() if name not in ("base", "grid", "search")}
        mine, strange = pairs_of(draft.own, rest)
        pairs |= {OF_SWEEP + name: values for name, values in mine.items()}
        unknown += strange
    draft.pairs = pairs
    return draft, unknown


def check(service: Acting, draft: Draft) -> None:
    """Has the service check a draft: its errors, its cost, and the defaults of what is not given."""
    sweeps: Mapping[str, Any] = {}
    try:
        if draft.mode:
            found = sweep_creation.validate(service, draft.document)
            draft.jobs, sweeps = found.jobs, found.spec
            draft.validation = creation.validate(service, dict(found.children[0].spec)) if found.children else None
        else:
            draft.validation = creation.validate(service, draft.document)
    except Problem as problem:
        draft.add_errors(problem)
    with service.database.read() as session:
        draft.defaults = _defaults(session, draft)
    for one in fields_in(draft.own):
        value = at(sweeps, one.path)
        draft.defaults[OF_SWEEP + one.name] = one.default if value is MISSING else value


def _defaults(session: OwnTransaction, draft: Draft) -> dict[str, Any]:
    """The value of each field where nothing is entered: with the rest of the form, or, where something is entered, with
    what is required alone."""
    whole, bare = _resolved(session, draft.base), _resolved(session, required_of(draft, draft.base))
    found = {}
    for one in fields_in(draft.groups):
        source = bare if at(draft.base, one.path) is not MISSING else whole
        value = MISSING if source is None else at(source, one.path)
        found[one.name] = one.default if value is MISSING else value
    return found


def _resolved(session: OwnTransaction, base: dict[str, Any]) -> dict[str, Any] | None:
    """The spec with its defaults, tried a second time without the fields that are wrong."""
    for _ in range(2):
        try:
            return submission.parse_spec(base, session).model_dump(mode="json")
        except Problem as problem:
            for pointer, _reason in problem.errors:
                path = pointer.strip("/").split("/")
                if at(base, path) is not MISSING:
                    base = without(base, path)
    return None


def required_of(draft: Draft, base: Mapping[str, Any]) -> dict[str, Any]:
    """What a spec cannot do without: its kind, and its required fields outside of optional sections."""
    found: dict[str, Any] = {"kind": draft.kind}
    for group in draft.groups:
        for one in group.fields:
            value = at(base, one.path)
            if one.required and not group.optional and value is not MISSING:
                put(found, one.path, value)
    return found


def shortest(session: OwnTransaction, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The shortest document that becomes this stored spec: without what is the default anyway.

    A spec that is not valid today comes back whole. Labels that a sweep gave are left out.
    """
    labels = {name: text for name, text in (spec.get("labels") or {}).items() if name not in SWEEP_LABELS}
    spec = {**spec, "labels": labels}
    draft, _ = draft_from(spec)
    try:
        goal = submission.parse_spec(spec, session)
        bare = submission.parse_spec(required_of(draft, spec), session).model_dump(mode="json")
    except Problem:
        return spec
    document = required_of(draft, spec)
    for one in _given_fields(draft, spec, bare):
        put(document, one.path, at(spec, one.path))
    for one in reversed(list(_given_fields(draft, spec, bare))):
        shorter = without(document, one.path)
        try:
            if submission.parse_spec(shorter, session) == goal:
                document = shorter
        except Problem:
            continue
    return document


def _given_fields(draft: Draft, spec: Mapping[str, Any], bare: Mapping[str, Any]) -> list[Field]:
    found = []
    for group in draft.groups:
        for one in group.fields:
            value = at(spec, one.path)
            if value is not MISSING and value != at(bare, one.path):
                found.append(one)
    return found
