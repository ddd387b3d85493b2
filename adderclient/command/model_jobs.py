"""``adder benchmark`` and ``adder quantize``: jobs that are about one model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, ids, specs
from adderclient.command.app import AsJson, IdempotencyKey, Overrides, Url, Watch, connect
from adderclient.command.following import submit_job

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's id, its end, @last, or an alias.",
        autocompletion=completion.objects("model"),
    ),
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (benchmark, quantize):
        app.command()(command)


def benchmark(
    model: ModelName,
    engines: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="What runs it: torch (float models), integer (integer models), onnxruntime.",
            show_default="all that can",
        ),
    ] = None,
    overrides: Overrides = None,
    watch: Watch = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Measure how long a model takes, beside its convolutional twin; the job's id goes to stdout."""
    with connect(url) as client:
        spec: dict[str, Any] = {"kind": "benchmark", "model_id": ids.model_id(client, model)}
        if engines is not None:
            spec["engines"] = [one.strip() for one in engines.split(",")]
        submit_job(client, specs.overridden(spec, overrides or ()), idempotency_key, watch, as_json)


def quantize(
    model: ModelName,
    bits: Annotated[int | None, typer.Option(help="Of weights and activations, 2 to 8.", show_default="8")] = None,
    finetune: Annotated[
        int | None,
        typer.Option(metavar="EPOCHS", help="Train on with rounded numbers.", show_default="calibration alone"),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose images calibrate and measure.",
            show_default="that of the model's training",
            autocompletion=completion.datasets,
        ),
    ] = None,
    overrides: Overrides = None,
    watch: Watch = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an integer model of a float one, and measure it; the job's id goes to stdout."""
    with connect(url) as client:
        model_id = ids.model_id(client, model)
        spec: dict[str, Any] = {"kind": "quantize", "model_id": model_id}
        spec["dataset"] = {"name": dataset or _dataset_of(client, model_id)}
        spec |= {} if bits is None else {"bits": bits}
        spec |= {} if finetune is None else {"finetune": {"epochs": finetune}}
        submit_job(client, specs.overridden(spec, overrides or ()), idempotency_key, watch, as_json)


def _dataset_of(client: Client, model_id: str) -> str:
    return client.models.get(model_id).dataset
