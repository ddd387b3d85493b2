"""`analyze`: computes a table or figure of the paper in one call, and leaves the caller's process as it found it."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor

from addercore.analysis import accuracy, cycles, features, filters, gradients, integers, variance, weights
from addercore.analysis.checkpoints import resume
from addercore.analysis.context import MODEL, Context
from addercore.analysis.figures import can_draw, png
from addercore.analysis.findings import Finding
from addercore.analysis.report import Report
from addercore.analysis.trainings import Options, Trainings
from addercore.config import AnalyzeConfig, Run
from addercore.config.rows import TEACHER
from addercore.devices import resolve_device
from addercore.errors import Stopped
from addercore.files import write_atomic
from addercore.io import Model, load
from addercore.ops import select
from addercore.train.callbacks import Callbacks
from addercore.train.environment import describe
from addercore.train.isolation import isolated
from addercore.train.reports import Artifact, Progress

Measurement = tuple[dict[str, Any], dict[str, Tensor]]
"""Facts (JSON) and tensors that were measured of one network."""


def _nothing(context: Context, run: Run | None, model: Model) -> Measurement:
    """Measures nothing: for studies that need only the metrics of a training."""
    return {}, {}


@dataclass(frozen=True, slots=True)
class Study:
    """How a recipe works: it measures trained (or given) models, or networks as initialised, and reports on them."""

    report: Callable[[AnalyzeConfig, list[Finding]], Report]
    measure: Callable[[Context, Run | None, Model], Measurement] = _nothing
    measure_untrained: Callable[[Context, Run], Measurement] | None = None
    together: Callable[[Context, list[Finding], Path], Finding] | None = None
    """Measures all networks at once, when each has been looked at; it may use the folder."""
    on_processor: bool = False
    """Whether trained models are measured on the processor, whatever they were trained on."""


STUDIES: Final = {
    "mnist": Study(accuracy.mnist),
    "table1": Study(gradients.report, measure_untrained=gradients.measure_untrained),
    "table2": Study(accuracy.table2),
    "table3": Study(accuracy.table3, accuracy.top5),
    "table4": Study(accuracy.table4),
    "xnor_table": Study(accuracy.xnor_table),
    "figure1": Study(features.report, features.measure),
    "figure2": Study(filters.report, filters.measure),
    "figure3": Study(accuracy.figure3),
    "figure4": Study(weights.report, weights.measure),
    "variance": Study(variance.report, variance.measure, variance.measure_untrained),
    "distillation": Study(accuracy.distillation),
    "successors": Study(accuracy.successors),
    "integer": Study(integers.report, integers.measure, together=integers.time_all, on_processor=True),
    "latency": Study(cycles.report, measure_untrained=cycles.measure_untrained, together=cycles.time_all),
}


@dataclass(frozen=True, slots=True)
class AnalyzeResult:
    """How an analysis ended.

    Attributes:
        stopped: the callbacks asked to stop before the end; `result` and `artifacts` are empty then.
        result: verdict, reasons, caption and table as plain values (docs/analyses.md).
        artifacts: the files: result, table (Markdown and CSV), summary and figure.
    """

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
    """Computes a table or figure of the paper.

    The trainings run one after the other by `fit`. An analysis that is stopped or killed anywhere and resumed ends
    with the same result.json. A training that diverges is a row that says so.

    Args:
        config: the recipe, and what differs from its defaults.
        workdir: gets the artifacts; checkpoints go to `workdir/checkpoints`.
        data_dir: folder with a folder of files for each dataset; digits need none.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        threads: of torch and the kernels; None leaves torch's number.
        loader_workers: processes that read and decode images, as for `fit`.
        backend: name of the kernels of adder layers, as for `adder_conv2d`.
        callbacks: get reports, and may stop the analysis.
        resume_from: a checkpoint of the same analysis, or a folder of them.
        model: file of the model that `config.model_id` names.

    Returns:
        Verdict, table and artifacts.

    Raises:
        ValueError: arguments that are out of range or do not go with `config`.
        BadData: files of the dataset are missing or damaged.
        BadModel: `model` is damaged, or has no layers that the recipe can look at.
        CheckpointError: `resume_from` is damaged or belongs to another analysis.
        LoaderLost: a loader process was ended from outside.
        OSError: the disk is full or fails.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200; each recipe names its table or figure.
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
        folder = None if data_dir is None else Path(data_dir)
        context = Context(config, folder, target, chosen.backend.name, callbacks)
        options = Options(context.data_dir, device, threads, loader_workers, backend)
        try:
            findings = _findings(context, workdir, options, callbacks, resume_from, model)
            findings = findings and _with_together(context, findings, workdir)
        except Stopped:
            findings = None
        if findings is None:
            return AnalyzeResult(True, {}, [])
        callbacks.on_phase("storing")
        report = STUDIES[config.recipe].report(config, findings)
        result = _result(config, report)
        seconds = time.monotonic() - began
        return AnalyzeResult(False, result, _write(workdir, config, report, result, findings, environment, seconds))


def _findings(
    context: Context,
    workdir: Path,
    options: Options,
    callbacks: Callbacks,
    resume_from: Path | None,
    model: Path | None,
) -> list[Finding] | None:
    """Measures each network, in the order of the plan; None if the callbacks asked to stop."""
    study, config = STUDIES[context.config.recipe], context.config
    if model is not None:
        given = load(model, device=options.device, backend=context.backend)
        facts, tensors = study.measure(context, None, given)
        _tell(callbacks, 1, 1)
        return [Finding(MODEL, MODEL, config.seeds[0], {**facts, "network": given.manifest["network"]}, tensors)]
    if study.measure_untrained is not None:
        return _measured_untrained(context, study.measure_untrained, callbacks)

    def measure(run: Run, path: Path) -> Measurement:
        if any(other.teacher is not None for other in config.runs()):
            # a teacher's file is kept, in checkpoints too, until its students have been trained
            content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            return {}, {"model": content} if run.row == TEACHER else {}
        if study.measure is _nothing:
            return {}, {}
        if study.on_processor:
            return study.measure(context, run, load(path, device="cpu"))
        return study.measure(context, run, load(path, device=options.device, backend=context.backend))

    trainings = Trainings(config, workdir, options, callbacks, measure)
    resumed = None if resume_from is None else resume(Path(resume_from), config, callbacks)
    return list(trainings.findings.values()) if trainings.run(resumed) else None


def _with_together(context: Context, findings: list[Finding], workdir: Path) -> list[Finding]:
    """The findings, and that about all networks at once where the study has one."""
    together = STUDIES[context.config.recipe].together
    if together is None:
        return findings
    context.callbacks.on_phase("measuring")
    with TemporaryDirectory(dir=workdir) as folder:
        return [*findings, together(context, findings, Path(folder))]


def _measured_untrained(
    context: Context, measure: Callable[[Context, Run], Measurement], callbacks: Callbacks
) -> list[Finding] | None:
    """Measures networks as initialised. This takes seconds, so that a stopped analysis starts again."""
    runs = context.config.runs()
    found = []
    for done, run in enumerate(runs, 1):
        facts, tensors = measure(context, run)
        found.append(Finding(run.name, run.row, run.seed, facts, tensors))
        _tell(callbacks, done, len(runs))
        if done < len(runs) and callbacks.should_stop():
            return None
    return found


def _tell(callbacks: Callbacks, done: int, of: int) -> None:
    callbacks.on_progress(Progress(1, 1, done, of, done / of, None, None))


def _result(config: AnalyzeConfig, report: Report) -> dict[str, Any]:
    """Verdict and table as plain values: the result of a job."""
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
        "comparisons": report.verdict.comparisons,
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
    """Writes the artifacts. result.json has no times in it, so that an interrupted analysis leaves the same bytes."""
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
    """Replaces NaN and infinities by None, since JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
