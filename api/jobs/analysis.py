"""What an analysis found, as a job's page shows it. Rows of other versions are read, too: no shape is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from addercore.config import AnalyzeConfig, InvalidConfig
from jobs.tables import Artifact, Job

KIND = "analyze"
PICTURE = "figure.png"
MOST_CURVES = 24
"""Runs whose curves are drawn on the page; the picture has all."""


@dataclass(frozen=True)
class Finding:
    verdict: str
    holds: bool | None
    """Whether what the paper says was found here; None: that could not be told."""
    reasons: Sequence[str]
    caption: str
    columns: Sequence[tuple[str, bool]]
    """Title, and whether it holds numbers."""
    rows: Sequence[Sequence[str]]
    picture: str | None
    """Name of the artifact."""


def finding(job: Job, artifacts: Sequence[Artifact]) -> Finding | None:
    """None until there is a verdict."""
    result = job.result or {}
    if job.kind != KIND or not isinstance(result.get("verdict"), str):
        return None
    columns, rows = _table(result)
    holds = result.get("holds")
    return Finding(
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


def runs(job: Job) -> list[str]:
    """Names of the trainings whose curves the page draws: they stand before the names of their metrics."""
    if job.kind != KIND:
        return []
    try:
        config = AnalyzeConfig.from_dict(job.spec)
    except (InvalidConfig, ValueError):
        return []  # of another version, or its dataset is gone
    planned = [run for run in config.runs() if run.trains]
    if len(planned) > MOST_CURVES:
        planned = [run for run in planned if run.seed == config.seeds[0]]
    return [run.name for run in planned[:MOST_CURVES]]
