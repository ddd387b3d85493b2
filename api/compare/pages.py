"""The page `/compare?job=…&job=…`: the curves of several jobs in one chart, their specs and results side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.compare.comparison import FEWEST, MOST, JobComparison, JobSummary, compare
from api.http.dependencies import ServiceDep
from api.jobs.job_view import job_title
from api.web.formats import duration, energy, is_number, metric, number
from api.web.header import page_header
from api.web.html import error_page, page
from jobs.errors import NotFound
from jobs.states import Status
from jobs.sweeps.summary import SEED, shown

router = APIRouter()

IN_A_NAME = 3
"""Fields of the spec that the name of a curve mentions at most."""
COLOURS = 8


@router.get("/compare")
def comparison(
    request: Request,
    service: ServiceDep,
    job: Annotated[list[str], Query()] = [],  # noqa: B006  (a declaration: FastAPI copies it)
) -> HTMLResponse:
    """Several jobs side by side."""
    ids = list(dict.fromkeys(filter(None, job)))
    if not FEWEST <= len(ids) <= MOST:
        detail = f"Choose {FEWEST} to {MOST} jobs in the list or in a sweep, then Compare. Named here: {len(ids)}."
        return error_page(request, HTTPStatus.BAD_REQUEST, "Which jobs?", detail)
    try:
        with service.database.read() as session:
            found = compare(session, ids)
            context = {
                **page_header(session, service.settings, section="jobs"),
                **_context(found),
            }
    except NotFound as error:
        return error_page(request, HTTPStatus.NOT_FOUND, "No such job", f"{error} It may have been deleted.")
    return page(request, "compare.html", context)


def _context(found: JobComparison) -> dict[str, Any]:
    names = names_of(found)
    differing = found.differences
    finals = [Status(side.job.status).final for side in found.sides]
    return {
        "sides": found.sides,
        "names": names,
        "titles": [" · ".join(job_title(side.job.kind, side.job.spec)) for side in found.sides],
        "colours": [at % COLOURS + 1 for at in range(len(names))],
        "outcomes": _outcomes(found),
        "differing": _texts(differing),
        "same": [(where, values[0]) for where, values in _texts(found.fields).items() if where not in differing],
        "live": not all(finals),
        "jobs_json": json.dumps(
            [
                {"id": side.job.id, "name": name, "final": final, "group": group}
                for side, name, final, group in zip(found.sides, names, finals, _group_names(found), strict=True)
            ]
        ),
        "metrics_json": json.dumps(sorted({name for side in found.sides for name in side.names})),
    }


def _group_names(found: JobComparison) -> list[str | None]:
    """A name for each group of seeds, at each of its jobs: what tells it apart from other jobs, and its size."""
    parts = _telling(found, but=f"/{SEED}")
    sizes = found.groups
    return [
        None if group is None else ", ".join(filter(None, (parts[at], f"{sizes.count(group)} seeds")))
        for at, group in enumerate(sizes)
    ]


def names_of(found: JobComparison) -> list[str]:
    """Short names for the jobs, made of the fewest fields that tell them apart, or of the ends of their ids."""
    names = _telling(found)
    ends = [f"…{side.job.id[-8:]}" for side in found.sides]
    return [
        name if name and names.count(name) == 1 else f"{name} {end}".strip()
        for name, end in zip(names, ends, strict=True)
    ]


def _telling(found: JobComparison, but: str = "") -> list[str]:
    """For each job the values of the fewest fields that tell the jobs apart, without the field `but`.

    A field that always changes together with an earlier one is left out: it tells nothing more.
    """
    telling: list[tuple[str, list[str]]] = []
    groups = 1
    for where, values in found.differences.items():
        texts = [shown(value) for value in values]
        told = len(set(zip(*(column for _, column in telling), texts, strict=True)))
        if told > groups and len(telling) < IN_A_NAME and where != but:
            telling.append((where.rpartition("/")[2], texts))
            groups = told
    return [", ".join(f"{field} {column[at]}" for field, column in telling) for at in range(len(found.sides))]


def _outcomes(found: JobComparison) -> dict[str, list[str]]:
    """The lines above the specs: the result of each job, and what its network costs."""
    lines = {"duration": [duration(side.seconds) for side in found.sides]}
    for name, values in found.results.items():
        lines[name] = [metric(value, name) for value in values]
    for name, where in (
        ("parameters", ("parameters",)),
        ("additions", ("operations", "add")),
        ("multiplications", ("operations", "mul")),
        ("XNORs", ("operations", "xnor")),
    ):
        values = [_count(side, where) for side in found.sides]
        if any(values):
            lines[name] = [number(value) for value in values]
    joules = [_count(side, ("energy_joules",)) for side in found.sides]
    if any(is_number(value) for value in joules):
        lines["energy per image"] = [energy(value) for value in joules]
    return lines


def _count(side: JobSummary, where: Sequence[str]) -> Any:
    value: Any = side.counts
    for name in where:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _texts(fields: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    return {where: [shown(value) for value in values] for where, values in fields.items()}
