"""A job's quantisation: a float model and a dataset become `model.adder`, a report and golden vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from addercore.arch.manifest import FORMAT
from addercore.config import Holdout, QuantizeConfig
from addercore.config.quantize import unfit_for_integers
from addercore.errors import BadModel, Stopped
from addercore.io import Model, load
from addercore.quant.evaluation import Accuracy, accuracy_of, agreement, evaluate, float_scores, golden
from addercore.quant.finetune import State
from addercore.quant.model import IntegerModel, quantize
from addercore.quant.pixels import dataset_bytes
from addercore.runtime import format as files
from addercore.train import Artifact, Callbacks, Progress
from addercore.train import checkpoint as checkpoints

MODEL: Final = "model.adder"
GOLDEN_IMAGES: Final = 4
"""Images of the golden vectors: every integer of every layer stands in them."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a quantisation leaves.

    Attributes:
        result: {float: {accuracy, loss}, integer: {accuracy, loss}, agreement, images, model_bytes, operations,
            energy_joules}; accuracies and agreement are shares of the validation images, 0…1, losses in nats, bytes of
            `model.adder`, joules an image.
        manifest: what the integer model says of itself.
        artifacts: `model.adder`, `report.json`, `report.md`, `golden.npz`.
    """

    result: dict[str, Any]
    manifest: dict[str, Any]
    artifacts: tuple[Artifact, ...]


def convert(
    config: QuantizeConfig,
    model: Path,
    workdir: Path,
    data_dir: Path | None = None,
    callbacks: Callbacks | None = None,
    resume_from: Path | None = None,
) -> Conversion:
    """Quantises a model and measures what it became.

    Args:
        config: what the integer model shall be.
        model: the float model's file.
        workdir: folder for the files.
        data_dir: folder with the dataset's files; digits need none.
        callbacks: get progress and checkpoints, and may stop it.
        resume_from: a checkpoint of the same quantisation, made after an epoch of its fine-tuning.

    Raises:
        BadModel: the model is no float model of a method that becomes integers, or its weights are not finite.
        ValueError: the dataset does not fit the model.
        BadData: files of the dataset are missing or damaged.
        CheckpointError: `resume_from` is damaged.
        Stopped: the callbacks asked to stop. Finished epochs are in their checkpoints.
    """
    callbacks = callbacks or Callbacks()
    source = load(model)
    if reason := unfit_for_integers(source.manifest):
        raise BadModel(f"the model {reason}")
    resume = None if resume_from is None else checkpoints.load(resume_from).state
    callbacks.on_phase("reading_data")
    holdout = Holdout.of_model(source.manifest, config.dataset.name)
    images, labels = dataset_bytes(config.dataset.name, "train", data_dir, holdout)
    callbacks.on_phase("calibrating")
    made = quantize(
        source,
        images,
        bits=config.bits,
        groups=config.groups,
        rescale=config.rescale,
        finetune=None if config.finetune is None else config.finetune.to_dict(),
        labels=labels,
        calibration_images=config.calibration_images,
        resume=resume,
        on_epoch=_checkpointing(workdir, callbacks),
        on_progress=_telling(callbacks),
    )
    callbacks.on_phase("validating")
    images, labels = dataset_bytes(config.dataset.name, "validation", data_dir, holdout)
    return _stored(config, source, made, images, labels, workdir, callbacks)


def _telling(callbacks: Callbacks) -> Callable[[str, float], None]:
    told = ""

    def tell(what: str, part: float) -> None:
        nonlocal told
        if what == "fine-tuning" != told:
            callbacks.on_phase("training")
        told = what
        callbacks.on_progress(Progress(0, 0, 0, 0, part, None, None))  # a part of the whole: no epochs to count
        if callbacks.should_stop():
            raise Stopped(f"stopped on request while {what}")

    return tell


def _checkpointing(workdir: Path, callbacks: Callbacks) -> Callable[[State], None]:
    def keep(state: State) -> None:
        epoch = int(state["epoch"])
        path = checkpoints.path_for(workdir, epoch)
        callbacks.on_checkpoint(path, epoch, epoch, checkpoints.save(path, state))

    return keep


def _stored(
    config: QuantizeConfig,
    source: Model,
    made: IntegerModel,
    images: Images,
    labels: Labels,
    workdir: Path,
    callbacks: Callbacks,
) -> Conversion:
    program = made.program
    before = accuracy_of(float_scores(source, images), labels)
    after = evaluate(program, images, labels)
    callbacks.on_phase("storing")
    metrics = {"val/accuracy": after.accuracy, "val/loss": after.loss}
    program.manifest.update(format=FORMAT, config={"kind": "quantize", **config.to_dict()}, metrics=metrics)
    path = workdir / MODEL
    files.write(program, path)
    derived = program.manifest["derived"]
    result = {
        "float": {"accuracy": before.accuracy, "loss": before.loss},
        "integer": {"accuracy": after.accuracy, "loss": after.loss},
        "agreement": agreement(before.answers, after.answers),
        "images": after.images,
        "model_bytes": path.stat().st_size,
        "operations": derived["operations"],
        "energy_joules": derived["energy_joules"],
    }
    report = {**result, "quantisation": program.manifest["quantisation"], "derived": derived, **made.report}
    (workdir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (workdir / "report.md").write_text(_report(config, before, after, report))
    golden(program, images[:GOLDEN_IMAGES], workdir / "golden.npz")
    kinds = (
        (MODEL, "model", "application/octet-stream"),
        ("report.json", "result", "application/json"),
        ("report.md", "table", "text/markdown; charset=utf-8"),
        ("golden.npz", "vectors", "application/octet-stream"),
    )
    artifacts = tuple(Artifact(name, kind, media, workdir / name) for name, kind, media in kinds)
    return Conversion(result, program.manifest, artifacts)


def _report(config: QuantizeConfig, before: Accuracy, after: Accuracy, report: dict[str, Any]) -> str:
    changed = int((before.answers != after.answers).sum())
    lines = [
        f"# {config.model_id} in {config.bits}-bit integers",
        "",
        f"On {after.images} validation images of {config.dataset.name}. The float model answers {changed} otherwise.",
        "",
        "| | float | integer |",
        "| --- | ---: | ---: |",
        f"| accuracy | {before.accuracy:.2%} | {after.accuracy:.2%} |",
        f"| loss | {before.loss:.4f} | {after.loss:.4f} |",
        "",
        "| layer | signal to noise, dB |",
        "| --- | ---: |",
        *(f"| {name} | {value:.1f} |" for name, value in report["signal_to_noise"].items()),
    ]
    return "\n".join(lines) + "\n"
