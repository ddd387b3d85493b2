"""A job as a TensorBoard event file, by tensorboardX, which needs neither TensorFlow nor torch."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from adderclient.exports.source import Source, require
from adderclient.metrics import MetricTable

SUFFIX = ".adderworks"


def library() -> None:
    """Raises AdderClientError where tensorboardX is not installed."""
    require("tensorboardX", "tensorboardX", "tensorboard")


def write(source: Source, to: str) -> str:
    """Writes `to/JOB/events.out.tfevents.…`: a scalar for each metric, with its steps and times, and the spec as text.

    A file that an earlier export of the job wrote there is replaced. Returns the folder of the job.
    """
    job, metrics = source.the_job(), source.metrics or MetricTable()
    folder = Path(to) / Path(job.id).name
    writer_of = require("tensorboardX", "tensorboardX", "tensorboard").SummaryWriter
    with TemporaryDirectory() as fresh:  # two of one second have one name
        with writer_of(fresh, max_queue=1000, filename_suffix=SUFFIX) as writer:
            began = job.started_at or job.created_at
            spec = json.dumps(job.spec, indent=2)
            writer.add_text("spec", f"```json\n{spec}\n```", 0, walltime=began.timestamp() if began else None)
            columns = (metrics.get(name, []) for name in ("name", "step", "value", "time"))
            for name, step, value, time in zip(*columns, strict=True):
                number = math.nan if value is None else value
                writer.add_scalar(name, number, step or 0, walltime=time.timestamp() if time else None)
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink()
        for file in Path(fresh).iterdir():
            shutil.move(file, folder / file.name)
    return str(folder)
