"""The page `/plot`: any two columns of the table of jobs against each other, with the filters of the table."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.http.dependencies import ServiceDep
from api.http.lists import SORT_JOBS, SORTS_JOBS
from api.jobs.columns import Column, columns_of, known_columns
from api.jobs.filters import Filters, parse_filters
from api.jobs.listing import all_jobs
from api.jobs.measured import LATENCY, latencies
from api.jobs.scatter import Side, dots, draw, front
from api.web.header import page_header
from api.web.html import error_page, page
from api.web.sorting import AskedDep
from jobs.access.scope import OwnTransaction
from jobs.errors import BadCursor, TooManyWords
from jobs.repository import lifecycle
from jobs.sweeps.summary import is_share

router = APIRouter()

MOST_JOBS: Final = 1000
"""Jobs of a plot: the first ones of the list."""
X, Y = "result.counts.energy_joules", "result.val/accuracy"
Goal = Literal["", "least", "most"]


@router.get("/plot")
def plot(
    request: Request,
    service: ServiceDep,
    asked: AskedDep,
    status: Annotated[list[str], Query()] = [],  # noqa: B006  (a declaration: FastAPI copies it)
    kind: str = "",
    x: str = X,
    y: str = Y,
    log: Annotated[list[Literal["x", "y"]], Query()] = [],  # noqa: B006
    x_best: Goal = "",
    y_best: Goal = "",
) -> HTMLResponse:
    """Two columns against each other. `x_best` and `y_best` say what the Pareto front looks for."""
    try:
        filters = parse_filters(asked.parse(SORT_JOBS, SORTS_JOBS), status, kind)
        across, up = (_column(name) for name in (x or X, y or Y))
        sides = tuple(
            Side(column, axis in log, best == "most" if best else is_share(column.title))
            for column, axis, best in ((across, "x", x_best), (up, "y", y_best))
        )
        with service.database.read() as session:
            context = _context(session, filters, sides[0], sides[1])
            context |= page_header(session, service.settings, section="jobs")
    except (ValueError, BadCursor, TooManyWords) as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That plot does not work", str(error))
    return page(request, "plot.html", context)


def _column(name: str) -> Column:
    return Column(name) if name == LATENCY else columns_of([name])[0]


def _context(session: OwnTransaction, filters: Filters, x: Side, y: Side) -> dict[str, Any]:
    jobs = all_jobs(session, filters, MOST_JOBS)
    asked = (x.column.name, y.column.name)
    found = dots(jobs, x.column, y.column, {LATENCY: latencies(session, jobs)} if LATENCY in asked else None)
    best = front(found, x, y)
    rows = sorted(found, key=lambda dot: (dot.job not in best, dot.x))
    names = known_columns(jobs, lifecycle.labels_of(session, [job.id for job in jobs]))
    return {
        "filters": filters,
        "x": x,
        "y": y,
        "figure": draw(found, x, y, best),
        "rows": [(dot, x.text(dot.x), y.text(dot.y), dot.job in best) for dot in rows],
        "jobs": len(jobs),
        "known_columns": [LATENCY, *names],
        "tabled": LATENCY not in asked,
        "choices": [("energy", X, Y), ("measured latency", LATENCY, Y)],
    }
