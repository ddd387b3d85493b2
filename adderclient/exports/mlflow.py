"""A job as a run of MLflow: parameters, metrics with steps and times, tags, files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from adderclient.errors import AdderClientError
from adderclient.exports.source import Source, require
from adderclient.records import Job

EXPERIMENT = "adderworks"
BATCH = 1000
"""Metrics, and a tenth of it parameters and tags, that MLflow takes at once."""
LONGEST_VALUE = 5000  # characters of a parameter or a tag
STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "running": "RUNNING"}
"""MLflow's word for a job's status; others are ``SCHEDULED``."""


def library() -> None:
    """Raises AdderClientError where MLflow is not installed."""
    require("mlflow", "mlflow-skinny", "mlflow")


def write(source: Source, to: str) -> str:
    """Makes a run in the experiment `adderworks`; one of an earlier export stays beside it. Returns the run's id.

    `to` is a tracking URI (``https://…``, ``sqlite:///…``, ``databricks``), or a folder, which then has ``mlflow.db``
    and ``artifacts/``.
    """
    library()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    job = source.the_job()
    uri, artifacts = _store(to)
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        identity = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, artifacts)
        began = job.started_at or job.created_at
        run = client.create_run(identity, start_time=_milliseconds(began), tags=_tags(source), run_name=_name(job))
        _log(client, run.info.run_id, source)
        status = STATUS.get(job.status, "SCHEDULED")
        if job.finished:
            client.set_terminated(run.info.run_id, status=status, end_time=_milliseconds(job.finished_at))
        else:
            client.update_run(run.info.run_id, status=status)
    except MlflowException as error:
        raise AdderClientError(f"MLflow at {uri} refused the run of {job.id}: {error}") from None
    return str(run.info.run_id)


def _log(client: Any, run: str, source: Source) -> None:
    """Sends parameters, metrics and files of a job to a run."""
    from mlflow.entities import Metric, Param

    params = [Param(name, value) for name, value in flat(source.the_job().spec)]
    for at in range(0, len(params), BATCH // 10):
        client.log_batch(run, params=params[at : at + BATCH // 10])
    columns = (source.metrics[name] if source.metrics else [] for name in ("name", "value", "time", "step"))
    metrics = [
        Metric(name, math.nan if value is None else value, _milliseconds(time) or 0, step or 0)
        for name, value, time, step in zip(*columns, strict=True)
    ]
    for at in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[at : at + BATCH])
    if source.folder is not None:
        client.log_artifacts(run, str(source.folder))


def _store(to: str) -> tuple[str, str | None]:
    """The tracking URI, and where a new experiment keeps its files; None: where the store says."""
    if to == "databricks" or re.match(r"[a-z][a-z0-9+.-]*:", to):
        return to, None
    folder = Path(to).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Fields of nested objects by dotted names, their values as text; null and empty ones are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            yield _key(prefix + name), str(value)[:LONGEST_VALUE]


def _key(name: str) -> str:
    """A name with what MLflow allows in one."""
    return re.sub(r"[^\w./ :-]", "_", name)[:250]


def _tags(source: Source) -> dict[str, str]:
    job = source.the_job()
    found = {"adderworks.job": job.id, "adderworks.kind": job.kind, "adderworks.url": source.url}
    if job.model_id:
        found["adderworks.model"] = job.model_id
    if job.notes:
        found["mlflow.note.content"] = job.notes
    for section, values in (("label", job.labels), ("environment", job.environment)):
        found |= dict(flat(values, f"{section}."))
    return found


def _name(job: Job) -> str:
    return job.name or job.id


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)
