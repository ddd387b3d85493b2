"""``adder export``: a job or a model for TensorBoard, MLflow, the Hugging Face Hub, ONNX Runtime or a C compiler."""

from __future__ import annotations

from typing import Annotated

import typer

from adderclient.command import ids
from adderclient.command.app import Url, connect
from adderclient.command.errors import UsageError
from adderclient.command.terminal import say
from adderclient.exports.writers import OF_JOBS, OF_MODELS


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(export)


def export(
    id: Annotated[str, typer.Argument(metavar="JOB|MODEL", help="An id, its end, @last, or a model's alias.")],
    format: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(OF_JOBS)}; of a model: {', '.join(OF_MODELS)}.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="TO", help="A folder; for mlflow also a tracking URI.", show_default="."
        ),
    ] = None,
    license: Annotated[
        str, typer.Option(help="Of the weights, for the model card: apache-2.0, cc-by-4.0, …")
    ] = "unknown",
    url: Url = None,
) -> None:
    """Write a job or a model for another tool; the folder, or the id of the MLflow run, goes to stdout."""
    with connect(url) as client:
        found = ids.job_or_model_id(client, id)
        where = to or (found if format in OF_MODELS else ".")
        if ids.is_job(found):
            say(client.jobs.export(found, format, where, license=license))
        elif format in OF_JOBS and format not in OF_MODELS:
            raise UsageError(f"--format {format} is of jobs; of a model: {', '.join(OF_MODELS)}")
        else:
            say(client.models.export(found, where, format=format, license=license))
