"""Gathers what an export is made of, and has it written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from adderclient._async import job_data
from adderclient._async.download import fetch
from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.blocking import async_in_thread
from adderclient.errors import AdderClientError, NotFoundError
from adderclient.exports.source import Source
from adderclient.exports.writers import AS_FILES, OF_JOBS, OF_MODELS, check, write
from adderclient.metrics import MetricTable
from adderclient.models import FILES
from adderclient.records import Artifact, Dataset, Job, Model


async def export_job(transport: AsyncTransport, job_id: str, format: str, to: str | Path, license: str) -> str:
    """Writes a job for another tool. Returns the folder, or the id of the run. Raises as `Jobs.export` says."""
    check(format, OF_JOBS)
    job = Job.from_json(await transport.json("GET", job_data.job_path(job_id)))
    if format in OF_MODELS:
        if job.model_id is None:
            raise AdderClientError(f"{job_id} has no model to export; it is {job.status}")
        return await export_model(transport, job.model_id, format, to, license)
    metrics = MetricTable.of(await job_data.points(transport, job_id, (), 0, None))
    if format != "mlflow":
        return await async_in_thread(write, format, Source(transport.url, job, metrics), str(to))
    with TemporaryDirectory() as folder:
        async for file in job_data.listed(transport, job_id, "artifacts", Artifact.from_json):
            path = f"{job_data.job_path(job_id)}/artifacts/{segment(file.name)}"
            await fetch(transport, path, f"{folder}/", file.name, sha256=file.sha256)
        source = Source(transport.url, job, metrics, Path(folder))
        return await async_in_thread(write, format, source, str(to))


async def export_model(transport: AsyncTransport, model_id: str, format: str, to: str | Path, license: str) -> str:
    """Writes a model for another tool. Returns the folder. Raises as `Models.export` says."""
    check(format, OF_MODELS)
    path = f"/v1/models/{segment(model_id)}"
    if format in AS_FILES:
        await fetch(transport, f"{path}/download", f"{to}/", FILES[format], params=[("format", format)])
        return str(to)
    model = Model.from_json(await transport.json("GET", path))
    job = await _job_of(transport, model)
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in (model.format, "manifest"):
        name, sha256 = FILES[kind], model.sha256 if kind == model.format else None
        await fetch(transport, f"{path}/download", folder / name, name, params=[("format", kind)], sha256=sha256)
    images = await _validation_images(transport, model, job)
    source = Source(transport.url, job, None, folder, model, images, license)
    return await async_in_thread(write, format, source, str(to))


async def _job_of(transport: AsyncTransport, model: Model) -> Job | None:
    """The job that trained a model, where it is still there."""
    if model.job_id is None:
        return None
    try:
        return Job.from_json(await transport.json("GET", job_data.job_path(model.job_id)))
    except NotFoundError:
        return None


async def _validation_images(transport: AsyncTransport, model: Model, job: Job | None) -> int | None:
    """Images on which a model's accuracy was counted; None where they were held out, or the dataset is gone."""
    asked = (job.spec if job else model.manifest.get("config", {})).get("dataset", {})
    name = asked.get("name") or model.dataset
    if asked.get("holdout") is not None or not name:
        return None
    try:
        path = f"/v1/datasets/{segment(str(name))}"
        return Dataset.from_json(await transport.json("GET", path)).validation_size
    except NotFoundError:
        return None
