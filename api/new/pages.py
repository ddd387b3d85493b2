"""The page `/new`: a form for each kind of job and for sweeps. It works without a script, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import parse_qs, urlencode

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from addercore import yaml
from addercore.config import DATASETS
from api.access.acting import Acting
from api.datasets.availability import missing_files
from api.http.dependencies import ServiceDep, known_id
from api.http.problems import as_problem
from api.http.web_forms import MOST_FIELDS, form_pairs
from api.jobs import creation
from api.jobs.job_view import accuracy
from api.new.drafts import MODE, OF_SWEEP, Draft, check, draft_from, draft_of, shortest
from api.new.fields import DATASET, MODEL, Field, Group, text_of
from api.new.form import SECTION_ON, given
from api.new.sweeping import FIELD, SPARE, VALUES, Row
from api.sweeps import creation as sweep_creation
from api.web.formats import percent
from api.web.header import page_header
from api.web.html import error_page, page
from jobs.access.scope import OwnTransaction
from jobs.errors import NotFound
from jobs.repository import datasets, finding, keeping, lifecycle
from jobs.spec import SUBMITTED, CommonSpec

router = APIRouter()

MOST_CHOICES = 50
"""Models and users' datasets to choose from, newest first."""
FOLDED = frozenset({*CommonSpec.model_fields, "checkpoint"})
"""Sections that are closed until something in them is given or wrong, beside those that may be missing."""


@router.get("/new")
def new_job(request: Request, service: ServiceDep) -> Response:
    """The form, filled with what the address says: a field's value under its name, or `?from=JOB`."""
    pairs = parse_qs(request.url.query, max_num_fields=MOST_FIELDS)
    source = pairs.pop("from", [""])[-1]
    if not source:
        return _form(request, service, draft_of(pairs), fresh=True)
    try:
        with service.database.read() as session:
            job = lifecycle.get(session, known_id("job", source))
            draft, _ = draft_from(shortest(session, job.spec))
    except NotFound:
        detail = f"There is no job {source!r} to begin from. It may have been deleted."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such job", detail)
    except ValueError as error:
        return error_page(request, HTTPStatus.CONFLICT, "That job cannot be edited", f"Of this job, {error}.")
    return _form(request, service, draft)


@router.post("/new")
async def send(request: Request, service: ServiceDep) -> Response:
    """Checks a form, reads a YAML document into it, or starts what it says."""
    pairs = await form_pairs(request, service.settings.max_body_bytes)
    return await run_sync(_answer, request, service, pairs)


def _answer(request: Request, service: Acting, pairs: dict[str, list[str]]) -> Response:
    what = pairs.pop("do", ["check"])[-1]
    if what == "read":
        return _read_yaml(request, service, pairs)
    draft = draft_of(pairs)
    if what == "start":
        try:
            return _started(service, draft)
        except Exception as error:
            problem = as_problem(error)
            if problem is None or problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            draft.add_errors(problem)
            return _form(request, service, draft, problem.status)
    return _form(request, service, draft)


def _started(service: Acting, draft: Draft) -> Response:
    if draft.mode:
        sweep, _ = sweep_creation.create(service, draft.document)
        return RedirectResponse(f"/sweeps/{sweep.id}", HTTPStatus.SEE_OTHER)
    job, _ = creation.create(service, draft.document)
    return RedirectResponse(f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)


def _read_yaml(request: Request, service: Acting, pairs: Mapping[str, list[str]]) -> Response:
    """Fills the form from a text. What no form shows is refused, so that nothing is lost."""
    text = pairs.get("yaml", [""])[-1]
    try:
        document = yaml.parsed(text)
        if not isinstance(document, Mapping):
            raise ValueError("a spec is a mapping with kind, model, dataset and more")
        draft, unknown = draft_from(document)
        if unknown:
            raise ValueError(f"it has what is no field of such a spec: {', '.join(unknown)[:300]}")
    except ValueError as error:
        problem = f"This cannot be read into the form: {error}."
        return _form(request, service, draft_of(pairs), HTTPStatus.UNPROCESSABLE_ENTITY, pasted=(text, problem))
    return _form(request, service, draft)


def _form(
    request: Request,
    service: Acting,
    draft: Draft,
    status: int = HTTPStatus.OK,
    *,
    fresh: bool = False,
    pasted: tuple[str, str] = ("", ""),
) -> Response:
    """The page of a draft. A fresh form does not complain about what is not filled in yet;
    `pasted` is a text that could not be read, and why."""
    check(service, draft)
    if fresh:
        draft.errors = {name: found for name, found in draft.errors.items() if given(draft.pairs, name)}
    with service.database.read() as session:
        context = {
            **page_header(session, service.settings, section="new"),
            "draft": draft,
            "kinds": [(kind, f"/new?{urlencode({'kind': kind})}") for kind in SUBMITTED],
            "models": _models(session),
            "datasets": _datasets(service, session),
            "is_open": lambda group: _is_open(draft, group),
            "is_on": lambda group: SECTION_ON in draft.pairs.get(group.name, ()),
            "given": lambda name: given(draft.pairs, name),
            "values": lambda name: draft.pairs.get(name, [""]),
            "text_of": text_of,
            "stated": lambda field: _stated(draft, field),
            "rows": [*draft.rows, *[Row("", "")] * SPARE],
            "own": [replace(one, name=OF_SWEEP + one.name) for group in draft.own for one in group.fields],
            "names": [field.name for group in draft.groups for field in group.fields],
            "MODEL": MODEL,
            "DATASET": DATASET,
            "MODE": MODE,
            "FIELD": FIELD,
            "VALUES": VALUES,
            "yaml": pasted[0],
            "yaml_error": pasted[1],
        }
    return page(request, "new.html", context, status)


def _stated(draft: Draft, field: Field) -> str:
    """The default of a field in words; empty for one that has none."""
    default = draft.defaults.get(field.name, field.default)
    if field.required or (default is None and not field.nullable):
        return ""
    return ", ".join(field.write(default)) or "none"


def _is_open(draft: Draft, group: Group) -> bool:
    names = [group.name, *(field.name for field in group.fields)]
    touched = any(given(draft.pairs, name) or name in draft.errors for name in names)
    return touched or not (group.optional or group.name in FOLDED)


def _models(session: OwnTransaction) -> list[tuple[str, str]]:
    """The newest models: what a field takes, and what people know it by."""
    rows = finding.list_models(session, finding.Wanted(), limit=MOST_CHOICES, after=None).rows
    aliases = keeping.aliases_of(session, [row.id for row in rows])
    found = []
    for row in rows:
        known_as = [row.name, *(f"@{alias}" for alias in aliases[row.id]), row.arch, row.method, row.dataset]
        reached = accuracy(row.metrics)
        known_as.append("" if reached is None else percent(reached))
        found.append((row.id, " · ".join(part for part in known_as if part)))
    return found


def _datasets(service: Acting, session: OwnTransaction) -> list[tuple[str, bool]]:
    """Names of datasets, and whether they are here."""
    own = datasets.list_page(session, limit=MOST_CHOICES, after=None).rows
    known = [(name, not missing_files(service.settings, info)) for name, info in DATASETS.items()]
    return [*known, *((name, True) for name in dict.fromkeys(row.name for row in own))]
