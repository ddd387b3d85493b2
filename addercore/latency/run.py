"""A job's benchmark: the rows of a model and its twin, and a report of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from addercore.config import BenchmarkConfig, FieldError, InvalidConfig
from addercore.config.benchmark import SECONDS_A_ROW
from addercore.errors import Stopped
from addercore.latency.processor import processor
from addercore.latency.report import picture, report
from addercore.latency.subjects import Gathering, LeftOut, Subject, best_of
from addercore.latency.timing import LONGEST, REST, interleaved, rank
from addercore.train import Artifact, Callbacks, Progress
from addercore.version import __version__

TIMED: Final = "from uint8 images in memory to float32 scores, on the clock; the twin's weights are random"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark leaves.

    Attributes:
        result: {model: fastest row of the model at the first batch size, twin: its fastest row there or None,
            processor: {name, features}, timed: what a time spans, rows, left_out: [{engine, what, reason}]}. A row is
            {engine, what, precision, batch, threads, p50_ms, p99_ms, images_per_second, bytes, calls}. Of the twin's
            int8 forms only the fastest has rows.
        artifacts: `benchmark.json` with the rows of all forms, `report.md`, and `latency.png` where matplotlib is.
    """

    result: dict[str, Any]
    artifacts: tuple[Artifact, ...]


def benchmark(
    config: BenchmarkConfig,
    model: Path,
    workdir: Path,
    threads: int | None = None,
    callbacks: Callbacks | None = None,
) -> Benchmark:
    """Measures how long a model takes on this processor.

    Args:
        config: what to measure.
        model: the model's file, float or integer.
        workdir: folder for the files.
        threads: how many the caller may use; None: any number.
        callbacks: get progress, and may stop it.

    Raises:
        InvalidConfig: more threads than there may be, or a named engine that cannot run the model here.
        BadModel: the file is damaged.
        Stopped: the callbacks asked to stop; nothing is kept.
    """
    callbacks = callbacks or Callbacks()
    if threads is not None and config.threads > threads:
        reason = f"is {config.threads}, but the job has {threads}; set resources.threads to {config.threads}"
        raise InvalidConfig([FieldError(("threads",), reason)])
    callbacks.on_phase("calibrating")
    torch.set_num_threads(config.threads)
    gathering = Gathering(config, model, workdir)
    callbacks.on_phase("measuring")
    rows = _measured(config, gathering, callbacks)
    callbacks.on_phase("storing")
    return _stored(config, gathering, rows, workdir)


def _measured(config: BenchmarkConfig, gathering: Gathering, callbacks: Callbacks) -> list[dict[str, Any]]:
    rows = []
    for number, batch in enumerate(config.batch_sizes):

        def tell(part: float, number: int = number) -> None:
            callbacks.on_progress(Progress(0, 0, 0, 0, (number + part) / len(config.batch_sizes), None, None))
            if callbacks.should_stop():
                raise Stopped("stopped on request while measuring")

        images = np.random.default_rng(0).integers(0, 256, (batch, *gathering.shape), dtype=np.uint8)
        calls = {at: subject.prepare(images) for at, subject in enumerate(gathering.found)}
        samples = interleaved(calls, SECONDS_A_ROW, tell, REST if config.threads > 1 else 0.0)
        for at, subject in enumerate(gathering.found):
            if samples[at]:
                rows.append(row_of(subject, batch, config.threads, samples[at]))
            else:
                reason = f"{subject.precision}, batch {batch}: a call takes longer than {LONGEST:g} s"
                gathering.left_out.append(LeftOut(subject.engine, subject.what, reason))
    return rows


def row_of(subject: Subject, batch: int, threads: int, samples: list[float]) -> dict[str, Any]:
    """The row of what was measured; `samples` are seconds of calls."""
    middle = rank(samples, 0.5)
    return {
        "engine": subject.engine,
        "what": subject.what,
        "precision": subject.precision,
        "batch": batch,
        "threads": threads,
        "p50_ms": 1e3 * middle,
        "p99_ms": 1e3 * rank(samples, 0.99),
        "images_per_second": batch / middle,
        "bytes": subject.bytes,
        "calls": len(samples),
    }


def _stored(config: BenchmarkConfig, gathering: Gathering, rows: list[dict[str, Any]], workdir: Path) -> Benchmark:
    shown = list(best_of(rows))

    def fastest(what: str) -> dict[str, Any] | None:
        fitting = [row for row in shown if row["what"] == what and row["batch"] == config.batch_sizes[0]]
        return min(fitting, key=lambda row: float(row["p50_ms"]), default=None)

    result = {
        "model": fastest("model"),
        "twin": fastest("twin"),
        "processor": processor(),
        "timed": TIMED,
        "rows": shown,
        "left_out": [asdict(one) for one in gathering.left_out],
    }
    known = {**result, "rows": rows, "model_id": config.model_id, "addercore": __version__}
    (workdir / "benchmark.json").write_text(json.dumps(known, indent=2) + "\n")
    (workdir / "report.md").write_text(report(config.model_id, result))
    kinds = [
        ("benchmark.json", "result", "application/json"),
        ("report.md", "table", "text/markdown; charset=utf-8"),
    ]
    if find_spec("matplotlib") is not None and shown:
        (workdir / "latency.png").write_bytes(picture(shown))
        kinds.append(("latency.png", "figure", "image/png"))
    return Benchmark(result, tuple(Artifact(name, kind, media, workdir / name) for name, kind, media in kinds))
