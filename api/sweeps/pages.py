"""The pages `/sweeps` and `/sweeps/{id}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.access.acting import Acting
from api.http.dependencies import ServiceDep, known_id
from api.http.listing import readable, readable_rows
from api.sweeps import parallel
from api.web.actions import Action
from api.web.formats import duration, is_number, metric
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from jobs.access.scope import OwnTransaction
from jobs.errors import BadCursor, NotFound
from jobs.states import SWEEP_FINAL, SweepStatus, TrialStatus
from jobs.sweeps import plot, repository, summary
from jobs.sweeps.importance import importance
from jobs.sweeps.repository import Best, Progress
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Sweep, Trial

router = APIRouter()


@dataclass(frozen=True)
class SweepView:
    """A sweep in the list and at the top of its page."""

    id: str
    status: SweepStatus
    title: str
    about: str
    """Which fields vary, by a grid or a search."""
    labels: Mapping[str, str]
    progress: Progress
    best: Best | None
    best_text: str
    best_parameters: Sequence[tuple[str, str]]
    message: str | None
    created_at: int
    finished_at: int | None
    seconds: float
    """Time from its creation to its end, or to now."""

    @property
    def final(self) -> bool:
        return self.status in SWEEP_FINAL

    @property
    def ended(self) -> int:
        """Number of trials that have ended, in whatever state."""
        counts = self.progress
        return counts.done + counts.failed + counts.cancelled + counts.pruned

    @property
    def fraction(self) -> float | None:
        return None if self.final or not self.progress.total else self.ended / self.progress.total

    @property
    def progress_text(self) -> str:
        counts = self.progress
        parts = [f"{counts.done} of {counts.total} done"]
        parts += [
            f"{count} {word}"
            for count, word in (
                (counts.running, "running"),
                (0 if self.final else counts.waiting, "waiting"),
                (counts.pruned, "pruned"),
                (counts.failed, "failed"),
                (counts.cancelled, "cancelled"),
            )
            if count
        ]
        return " · ".join(parts)


@dataclass(frozen=True)
class TrialView:
    """A row of the table of trials."""

    number: int
    status: TrialStatus
    cells: Sequence[tuple[str, Any]]
    """For each field the text and the value that it sorts by."""
    value: float | None
    value_text: str
    job_id: str | None
    job_status: str | None
    seconds: float | None
    message: str | None


@dataclass(frozen=True)
class RowView:
    """A row of the table over the seeds."""

    cells: Sequence[tuple[str, Any]]
    n: int
    mean: float | None
    text: str
    best: bool


@router.get("/sweeps")
def sweep_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """All sweeps, newest first."""
    try:
        with service.database.read() as session:
            found = repository.list_sweeps(session, limit=PAGE_SIZE, after=after or None)
            header = page_header(session, service.settings, section="sweeps")
            rows = readable_rows(found.rows, repository.spec_of)
            views = readable(rows.views, _viewer(session, rows.views, header["now"]))
            context = {
                **header,
                "sweeps": views.views,
                "unreadable": [*rows.unreadable, *views.unreadable],
                "next": found.next,
                "after": after,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "sweeps.html", context)


@router.get("/sweeps/{sweep_id}")
def sweep_detail(sweep_id: str, request: Request, service: ServiceDep) -> HTMLResponse:
    """One sweep: its progress, picture, tables and spec."""
    try:
        with service.database.read() as session:
            context = _detail_context(session, service, repository.get(session, known_id("sweep", sweep_id)))
    except NotFound:
        detail = f"There is no sweep {sweep_id!r}. It may have been deleted."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such sweep", detail)
    return page(request, "sweep.html", context)


def _detail_context(session: OwnTransaction, service: Acting, sweep: Sweep) -> dict[str, Any]:
    spec = repository.spec_of(sweep)
    header = page_header(session, service.settings, section="sweeps")
    rows = repository.trials_of(session, sweep.id)
    trials = [trial for trial, _ in rows]
    table = summary.tabulate(spec, rows)
    view = _viewer(session, [sweep], header["now"])(sweep)
    return {
        **header,
        "sweep": sweep,
        "view": view,
        "actions": _actions(view),
        "fields": spec.fields,
        "heading": summary.heading(table),
        "objective": spec.objective,
        "over_seeds": table.over_seeds and bool(table.fields),
        "combined_fields": table.fields,
        "combined": _combined(table),
        "trials": [_trial(spec, trial, status) for trial, status in rows],
        # Safe: `draw` escapes all text and attributes.
        "figure": Markup(plot.draw(spec, trials)),
        "parallel": parallel.draw(spec, trials),
        "importance": _importance(spec, trials),
    }


def _importance(spec: SweepSpec, trials: Sequence[Trial]) -> list[tuple[str, float]]:
    """Fields by what they explain, most first, without those of which the trials tell nothing."""
    found = importance(spec.fields, [(trial.parameters, trial.value) for trial in trials if trial.value is not None])
    known = [(name, share) for name, share in found.items() if share is not None]
    return sorted(known, key=lambda pair: -pair[1])


def _viewer(session: OwnTransaction, rows: Sequence[Sweep], now: int) -> Callable[[Sweep], SweepView]:
    """What makes the view of each of these sweeps."""
    progress = repository.progress_of(session, rows)
    return lambda row: _view(row, progress[row.id], repository.best_of(session, row), now)


def _view(sweep: Sweep, progress: Progress, best: Best | None, now: int) -> SweepView:
    spec = repository.spec_of(sweep)
    kind = "Grid" if spec.grid is not None else "Search"
    return SweepView(
        id=sweep.id,
        status=SweepStatus(sweep.status),
        title=spec.name or f"{kind} over {', '.join(name.rpartition('.')[2] for name in spec.fields)}",
        about=f"{kind} over {', '.join(spec.fields)}",
        labels=spec.labels,
        progress=progress,
        best=best,
        best_text="" if best is None else metric(best.value, spec.objective),
        best_parameters=[(name, summary.shown(value)) for name, value in (best.parameters if best else {}).items()],
        message=sweep.message,
        created_at=sweep.created_at,
        finished_at=sweep.finished_at,
        seconds=max(0, (sweep.finished_at or now) - sweep.created_at) / 1000,
    )


def _combined(table: summary.Table) -> list[RowView]:
    return [
        RowView(
            _cells(row.parameters, table.fields),
            len(row.values),
            row.mean,
            summary.result(table, row),
            at == table.best,
        )
        for at, row in enumerate(table.rows)
    ]


def _trial(spec: SweepSpec, trial: Trial, job_status: str | None) -> TrialView:
    return TrialView(
        number=trial.number,
        status=repository.shown_status(trial, job_status),
        cells=_cells(trial.parameters, spec.fields),
        value=trial.value,
        value_text="" if trial.value is None else metric(trial.value, spec.objective),
        job_id=trial.job_id,
        job_status=job_status,
        seconds=trial.seconds,
        message=trial.message,
    )


def _cells(parameters: Mapping[str, Any], fields: Sequence[str]) -> list[tuple[str, Any]]:
    values = [parameters.get(name) for name in fields]
    return [(summary.shown(value), value if is_number(value) else summary.shown(value)) for value in values]


def _actions(view: SweepView) -> Sequence[Action]:
    path = f"/v1/sweeps/{view.id}"
    if view.final:
        ask = "Delete this sweep with its table? Its jobs and their models stay."
        return [Action("Delete", "DELETE", path, confirm=ask, then="/sweeps", danger=True)]
    if view.status == SweepStatus.CANCELLING:
        return []
    ask = f"Cancel this sweep? It has run for {duration(view.seconds)}; no further job begins, and those that run stop."
    return [Action("Cancel", "POST", f"{path}/cancel", confirm=ask, danger=True)]
