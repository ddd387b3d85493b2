"""A model as a folder that ``huggingface_hub`` uploads: weights, manifest, and a model card with its YAML head.

Model cards: https://huggingface.co/docs/hub/model-cards. The head is written as JSON values, which every YAML is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from math import sqrt
from pathlib import Path
from string import Template
from typing import Any

from adderclient.errors import AdderClientError
from adderclient.exports.source import Source
from adderclient.models import FILES
from adderclient.records import Job, Model

CARD = "README.md"
TAGS = ("adderworks", "addernet")
USE = {
    "safetensors": {"extra": "core", "module": "addercore", "numbers": "fp32"},
    "adder": {"extra": "runtime-image", "module": "addercore.runtime", "numbers": "8-bit integers"},
}
"""What of the card depends on the model's format."""
CARD_TEXT = files("adderclient.exports").joinpath("card.md")


def library() -> None:
    """Needs none: the folder is uploaded by ``hf upload`` or ``huggingface_hub.upload_folder``."""


def write(source: Source, to: str) -> str:
    """Writes the model card beside the files, which are in the folder already. Returns the folder."""
    if source.folder is None or source.folder.resolve() != Path(to).resolve():
        raise AdderClientError("the files of the model must lie in the folder of the export")
    card = Path(to) / CARD
    fresh = card.with_name(f".{CARD}.new")
    fresh.write_text(model_card(source), encoding="utf-8")
    os.replace(fresh, card)
    return str(to)


def standard_error(share: float, count: int) -> float:
    """Of a share that was counted on so many images: √(p(1−p)/n), the binomial distribution's."""
    return sqrt(share * (1 - share) / count)


def model_card(source: Source) -> str:
    """The text of the card."""
    model = source.the_model()
    counts = _counts(model)
    rows = [*_rows(source, counts)]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    title = _text(model.name or f"{model.arch} ({model.method}) on {model.dataset}")
    notes = f"\n{_text(model.notes)}\n" if model.notes else ""
    return Template(CARD_TEXT.read_text(encoding="utf-8")).substitute(
        head=_head(source),
        title=title,
        method=_code(model.method),
        notes=notes,
        table=table,
        error=_about_the_error(source),
        licence=_licence(source.license),
        file=FILES[model.format],
        **USE[model.format],
    )


def _head(source: Source) -> str:
    """The YAML head, by the fields of https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""
    model = source.the_model()
    head: dict[str, Any] = {
        "license": source.license,
        "library_name": "adderworks",
        "pipeline_tag": "image-classification",
        "tags": [*TAGS, model.arch, model.method],
    }
    accuracy = _accuracy(model)
    if accuracy is not None:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"name": model.dataset, "type": model.dataset, "split": "validation"},
            "metrics": [{"type": "accuracy", "value": accuracy}],
        }
        head |= {"metrics": ["accuracy"], "model-index": [{"name": model.name or model.id, "results": [result]}]}
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in head.items())


def _rows(source: Source, counts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = source.the_model()
    network = model.manifest.get("network", {})
    yield "network", f"`{_code(model.arch)}`, method `{_code(model.method)}`"
    yield "first and last layer", f"`{_code(network.get('first_last', ''))}`"
    yield "images", f"{'×'.join(map(str, network.get('input_shape', ())))} (channels × height × width)"
    yield "data", f"`{_code(model.dataset)}`, {len(model.manifest.get('classes', ()))} classes"
    accuracy = _accuracy(model)
    if accuracy is not None:
        error = ""
        if source.validation_images:
            error = f" ± {100 * standard_error(accuracy, source.validation_images):.2f}"
        yield "accuracy on the validation images", f"{100 * accuracy:.2f}{error} %"
    yield "parameters", f"{model.parameters:,}"
    if counts:
        done = counts["operations"]
        yield "additions / multiplications / XNORs", f"{done['add']:,} / {done['mul']:,} / {done['xnor']:,}"
        yield "energy", f"{counts['energy_joules'] * 1e6:.3g} µJ"
    yield from _training(source.job)
    yield f"sha256 of `{FILES[model.format]}`", f"`{_code(model.sha256 or '')}`"


def _training(job: Job | None) -> Iterator[tuple[str, str]]:
    if job is not None:
        spec = job.spec
        yield "training", f"{spec.get('epochs')} epochs, batch size {spec.get('batch_size')}, seed {spec.get('seed')}"
        where = job.environment
        yield "trained on", _text(f"{where.get('device')}, kernels {where.get('backend')}, torch {where.get('torch')}")
        yield "job", f"`{_code(job.id)}`"


def _about_the_error(source: Source) -> str:
    if source.validation_images:
        return (
            f"The error of the accuracy is one standard error over {source.validation_images} images, √(p(1−p)/n); "
            "another seed differs as well."
        )
    return "How many images validated is not known, so the accuracy has no error."


def _licence(name: str) -> str:
    if name == "unknown":
        return "Nobody has said under which licence these weights may be used: ask whoever trained them."
    return f"`{_code(name)}`"


def _accuracy(model: Model) -> float | None:
    for name in ("val/accuracy", "accuracy"):
        value = model.metrics.get(name)
        if isinstance(value, int | float):
            return float(value)
    return None


def _counts(model: Model) -> Mapping[str, Any]:
    """Operations and energy of the model's network; empty where this client does not know the network."""
    from addercore import arch

    try:
        network = arch.check_manifest(dict(model.manifest))
        named = model.manifest["network"]
        numbers = "int8" if model.format == "adder" else "fp32"
        return arch.count(network, named["method"], named["first_last"], numbers).totals()
    except (ValueError, KeyError):
        return {}


def _text(value: str) -> str:
    """A text of somebody else in Markdown: on one line, with nothing that marks up."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escape(" ".join(value.split()), quote=False))


def _code(value: Any) -> str:
    """A text inside backticks."""
    return re.sub(r"[`|\s]+", " ", str(value))
