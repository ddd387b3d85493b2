"""The result of an `analyze` job as its page shows it: verdict, table and picture.

Another version may have written the result, so nothing here relies on its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from addercore.config import AnalyzeConfig, InvalidConfig
from jobs.tables import Artifact, Job

KIND = "analyze"
PICTURE = "figure.png"
MOST_CURVES = 24
"""The page draws the curves of so many runs at most. The picture has all of them."""


@dataclass(frozen=True)
class AnalysisView:
    """What the paper's table or figure came to."""

    verdict: str
    holds: bool | None
    """Whether the paper's statement holds here; None where the job could not tell."""
    reasons: Sequence[str]
    caption: str
    columns: Sequence[tuple[str, bool]]
    """Each column's title, and whether it holds numbers."""
    rows: Sequence[Sequence[str]]
    picture: str | None
    """Name of the artifact with the picture."""


def analysis_view(job: Job, artifacts: Sequence[Artifact]) -> AnalysisView | None:
    """The view of a job's result. None for jobs of other kinds, and until there is a verdict."""
    result = job.result or {}
    if job.kind != KIND or not isinstance(result.get("verdict"), str):
        return None
    columns, rows = _table(result)
    holds = result.get("holds")
    return AnalysisView(
        verdict=result["verdict"],
        holds=holds if isinstance(holds, bool) else None,
        reasons=[str(reason) for reason in _list(result.get("reasons"))],
        caption=str(result.get("caption") or ""),
        columns=columns,
        rows=rows,
        picture=next((one.name for one in artifacts if one.name == PICTURE), None),
    )


def _table(result: dict[str, Any]) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    columns = [one for one in _list(result.get("columns")) if isinstance(one, dict)]
    rows = [[str(cell) for cell in row] for row in _list(result.get("cells")) if isinstance(row, list)]
    titles = [(str(one.get("title", "")), one.get("kind") != "text") for one in columns]
    return titles, [row for row in rows if len(row) == len(titles)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def run_names(job: Job) -> list[str]:
    """Names of the trainings whose curves the page draws. The names of their metrics begin with them."""
    if job.kind != KIND:
        return []
    try:
        config = AnalyzeConfig.from_dict(job.spec)
    except (InvalidConfig, ValueError):
        return []  # the spec is of another version, or its dataset is gone
    planned = [run for run in config.runs() if run.trains]
    if len(planned) > MOST_CURVES:
        planned = [run for run in planned if run.seed == config.seeds[0]]
    return [run.name for run in planned[:MOST_CURVES]]
