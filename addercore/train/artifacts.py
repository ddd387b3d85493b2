"""Writes the files of a finished or failed run."""

import json
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from addercore.config import TrainConfig
from addercore.files import write_atomic
from addercore.io import encode, manifest_of
from addercore.train.history import History
from addercore.train.reports import Artifact

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_artifacts(
    workdir: Path,
    config: TrainConfig,
    weights: dict[str, Tensor],
    metrics: dict[str, float],
    history: History,
    summary: dict[str, Any],
    teacher: dict[str, Any] | None = None,
    curves: bool = True,
) -> list[Artifact]:
    """Writes model, manifest and the record of a run. `teacher` describes the teacher, for manifest and summary."""
    taught = {} if teacher is None else {"teacher": teacher}
    manifest = manifest_of(config, metrics) | taught | {"validation": summary["validation"]}
    written = [
        Artifact("model.safetensors", "model", "application/octet-stream", workdir / "model.safetensors"),
        Artifact("model.json", "manifest", "application/json", workdir / "model.json"),
    ]
    model, described = (artifact.path for artifact in written)
    write_atomic(model, encode(weights, manifest))
    write_atomic(described, _json(manifest))
    return written + write_record(workdir, config, metrics, history, summary | taught, curves)


def write_record(
    workdir: Path,
    config: TrainConfig,
    metrics: dict[str, float],
    history: History,
    summary: dict[str, Any],
    curves: bool = True,
) -> list[Artifact]:
    """Writes the record of a run, also of a failed one: metrics, summary and, with matplotlib, curves."""
    written = [
        Artifact("metrics.csv", "metrics", "text/csv", workdir / "metrics.csv"),
        Artifact("summary.json", "summary", "application/json", workdir / "summary.json"),
    ]
    table, overview = (artifact.path for artifact in written)
    write_atomic(table, history.csv().encode())
    write_atomic(
        overview, _json({**summary, "metrics": metrics, "model": config.counts().to_dict(), "config": config.to_dict()})
    )
    if curves and can_draw():
        path = workdir / "curves.png"
        write_atomic(path, draw_curves(history, _title(config)))
        written.append(Artifact("curves.png", "curves", "image/png", path))
    return written


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _title(config: TrainConfig) -> str:
    return f"{config.model.arch} ({config.model.method}) on {config.dataset.name}, seed {config.seed}"


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def draw_curves(history: History, title: str) -> bytes:
    """A PNG of loss, accuracy and learning rates by step, drawn without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    local = [name for name in history.names() if name.startswith("local_lr/")]
    names = ["global γ", *(f"α {name.removeprefix('local_lr/')}" for name in local)]
    figure = Figure(figsize=(12, 4))
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    # Fixed margins: matplotlib's layout engines draw everything once more, which is half of a short training's end.
    right = 0.93 - 0.0065 * max(map(len, names))
    margins = {"left": 0.05, "right": right, "bottom": 0.13, "top": 0.84, "wspace": 0.24}
    loss, accuracy, rates = figure.subplots(1, 3, gridspec_kw=margins)
    for axes, what in ((loss, "loss"), (accuracy, "accuracy")):
        _line(axes, history, f"train/{what}", "training")
        _line(axes, history, f"val/{what}", "validation")
        axes.set(title=what, xlabel="step")
    _line(loss, history, "train/distill_loss", "from the teacher")
    accuracy.yaxis.set_major_formatter("{x:.0%}")
    for name, label in zip(["lr", *local], names, strict=True):
        _line(rates, history, name, label)
    rates.set(title="learning rates", xlabel="step")
    for axes in (loss, accuracy, rates):
        axes.grid(alpha=0.3)
    if loss.lines:  # a run that diverged at once has no loss to show
        _log_scale(loss)
    if local:
        _log_scale(rates)
    for axes in (loss, accuracy):
        if axes.lines:
            axes.legend(fontsize="small")
    if rates.lines:
        rates.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _log_scale(axes: "Axes") -> None:
    """A logarithmic y axis with plain numbers; numbers between powers of ten only where fewer than two powers show."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")


def _line(axes: "Axes", history: History, name: str, label: str) -> None:
    steps, values = history.series(name)
    if steps:
        axes.plot(steps, values, label=label, marker="o" if len(steps) < 3 else None)
