"""`analyze`: one call that computes a table or figure of the paper, and leaves the caller's process as it found it."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from addercore.analysis import accuracy, features, filters, gradients, variance, weights
from addercore.analysis.figures import can_draw, png
from addercore.analysis.findings import Finding
from addercore.analysis.report import Report
from addercore.analysis.state import resume
from addercore.analysis.subject import MODEL, Place
from addercore.analysis.trainings import Options, Trainings
from addercore.config import AnalyzeConfig, Run
from addercore.config.rows import TEACHER
from addercore.io import Model, load
from addercore.ops import select
from addercore.train.artifacts import Artifact
from addercore.train.callbacks import Callbacks, Progress
from addercore.train.environment import describe
from addercore.train.files import write_atomic
from addercore.train.isolation import isolated, resolve_device

Seen = tuple[dict[str, Any], dict[str, Tensor]]
"""Facts and tensors of one network."""


def _nothing(place: Place, run: Run | None, model: Model) -> Seen:
    """For studies that need a training's metrics only."""
    return {}, {}


@dataclass(frozen=True, slots=True)
class Study:
    """What a recipe does: `look` at a trained or given model, or `probe` a network as initialised; then `report`."""

    report: Callable[[AnalyzeConfig, list[Finding]], Report]
    look: Callable[[Place, Run | None, Model], Seen] = _nothing
    probe: Callable[[Place, Run], Seen] | None = None


STUDIES: Final = {
    "mnist": Study(accuracy.mnist),
    "table1": Study(gradients.report, probe=gradients.probe),
    "table2": Study(accuracy.table2),
    "table3": Study(accuracy.table3, accuracy.top5),
    "table4": Study(accuracy.table4),
    "xnor_table": Study(accuracy.xnor_table),
    "figure1": Study(features.report, features.look),
    "figure2": Study(filters.report, filters.look),
    "figure3": Study(accuracy.figure3),
    "figure4": Study(weights.report, weights.look),
    "variance": Study(variance.report, variance.look, variance.probe),
    "distillation": Study(accuracy.distillation),
}


@dataclass(frozen=True, slots=True)
class AnalyzeResult:
    """How an analysis ended: `result` is the verdict and the table; a stopped one has neither that nor artifacts."""

    stopped: bool
    result: dict[str, Any]
    artifacts: list[Artifact]


def analyze(
    config: AnalyzeConfig,
    *,
    workdir: Path,
    data_dir: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    loader_workers: int = 0,
    backend: str | None = None,
    callbacks: Callbacks | None = None,
    resume_from: Path | None = None,
    model: Path | None = None,
) -> AnalyzeResult:
    """Computes what `config` says; artifacts go to `workdir`, checkpoints to `workdir/checkpoints`.

    Trainings run one after the other by `fit`, with its promises: stopped or killed anywhere and taken up again from
    `resume_from`, an analysis ends with the same result.json. `model` is the file of `config.model_id`. A training that
    diverges is a row that says so. Raises what `fit` raises, but for `Diverged`.
    """
    target = resolve_device(device)
    chosen = select(target, torch.float32, backend)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be ≥ 1, got {threads}")
    if (config.model_id is None) != (model is None):
        wants = "names no model" if config.model_id is None else f"is about model {config.model_id!r}: pass its file"
        raise ValueError(f"the configuration {wants}; got model={model}")
    callbacks = callbacks or Callbacks()
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with isolated(config.seeds[0], target, threads):
        environment = describe(target, chosen.backend, chosen.note)
        callbacks.on_start(environment)
        place = Place(config, None if data_dir is None else Path(data_dir), target, chosen.backend.name)
        options = Options(place.data_dir, device, threads, loader_workers, backend)
        findings = _findings(place, workdir, options, callbacks, resume_from, model)
        if findings is None:
            return AnalyzeResult(True, {}, [])
        report = STUDIES[config.recipe].report(config, findings)
        result = _result(config, report)
        seconds = time.monotonic() - began
        return AnalyzeResult(False, result, _write(workdir, config, report, result, findings, environment, seconds))


def _findings(
    place: Place,
    workdir: Path,
    options: Options,
    callbacks: Callbacks,
    resume_from: Path | None,
    model: Path | None,
) -> list[Finding] | None:
    """What the study saw of each network, in the order of the plan; None where the callbacks asked to stop."""
    study, config = STUDIES[place.config.recipe], place.config
    if model is not None:
        given = load(model, device=options.device, backend=place.backend)
        facts, tensors = study.look(place, None, given)
        _tell(callbacks, 1, 1)
        return [Finding(MODEL, MODEL, config.seeds[0], {**facts, "network": given.manifest["network"]}, tensors)]
    if study.probe is not None:
        return _probed(place, study.probe, callbacks)

    def look(run: Run, path: Path) -> Seen:
        if config.recipe == "distillation":
            # a teacher's file is kept, in checkpoints too, until its pupil has been trained
            content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            return {}, {"model": content} if run.row == TEACHER else {}
        if study.look is _nothing:
            return {}, {}
        return study.look(place, run, load(path, device=options.device, backend=place.backend))

    trainings = Trainings(config, workdir, options, callbacks, look)
    resumed = None if resume_from is None else resume(Path(resume_from), config, callbacks)
    return list(trainings.findings.values()) if trainings.run(resumed) else None


def _probed(place: Place, probe: Callable[[Place, Run], Seen], callbacks: Callbacks) -> list[Finding] | None:
    """Seconds of work in all: what is stopped here begins again."""
    runs = place.config.runs()
    found = []
    for done, run in enumerate(runs, 1):
        facts, tensors = probe(place, run)
        found.append(Finding(run.name, run.row, run.seed, facts, tensors))
        _tell(callbacks, done, len(runs))
        if done < len(runs) and callbacks.should_stop():
            return None
    return found


def _tell(callbacks: Callbacks, done: int, of: int) -> None:
    callbacks.on_progress(Progress(1, 1, done, of, done / of, None, None))


def _result(config: AnalyzeConfig, report: Report) -> dict[str, Any]:
    """The verdict and the table: what a job's result has."""
    info = config.info
    shown = report.table.shown()
    return {
        "recipe": info.name,
        "title": info.title,
        "reference": info.reference,
        "dataset": config.dataset.name,
        "control": config.control,
        "verdict": report.verdict.text,
        "holds": report.verdict.holds,
        "reasons": report.verdict.reasons,
        "caption": report.caption,
        "columns": [{"key": c.key, "title": c.title, "kind": c.kind} for c in shown],
        "rows": [_finite(row) for row in report.table.rows],
        "cells": report.table.cells(),
    }


def _write(
    workdir: Path,
    config: AnalyzeConfig,
    report: Report,
    result: dict[str, Any],
    findings: list[Finding],
    environment: dict[str, Any],
    seconds: float,
) -> list[Artifact]:
    """result.json has nothing of the clock: an analysis that was interrupted leaves the same bytes."""
    full = {
        **result,
        "runs": [
            {"name": f.name, "row": f.row, "seed": f.seed, "diverged": f.diverged, **_finite(f.facts)} for f in findings
        ],
        "config": config.to_dict(),
        "environment": environment,
    }
    summary = {key: result[key] for key in ("recipe", "title", "dataset", "control", "verdict", "holds", "caption")}
    summary |= {"seconds": round(seconds, 1), "trainings": len(config.runs()), "environment": environment}
    words = (
        f"# {result['title']}\n\n{report.caption}\n\n{report.table.markdown()}\n**Verdict.** {report.verdict.text}\n"
    )
    notes = "".join(f"- {reason}\n" for reason in report.verdict.reasons)
    contents = [
        ("result.json", "result", "application/json", _json(full)),
        ("table.md", "table", "text/markdown", (words + (f"\n{notes}" if notes else "")).encode()),
        ("table.csv", "table", "text/csv", report.table.csv().encode()),
        ("summary.json", "summary", "application/json", _json(summary)),
    ]
    if can_draw():
        contents.append(("figure.png", "figure", "image/png", png(report.draw, report.size)))
    written = []
    for name, kind, media_type, content in contents:
        write_atomic(workdir / name, content)
        written.append(Artifact(name, kind, media_type, workdir / name))
    return written


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is none becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
