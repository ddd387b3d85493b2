"""The recipe `latency`: the paper's cycle model beside measured time, of networks as initialised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from addercore.analysis.claims import Claim, together
from addercore.analysis.context import Context
from addercore.analysis.figures import ARCH_NAMES, METHOD_COLOURS, METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.integers import faster
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.analysis.timing import FLOAT, TIMES, as_tensor, finding_of, on, subjects_of, times_of, twins_of
from addercore.arch import count
from addercore.config import AnalyzeConfig, Run
from addercore.io import Model, encode, manifest_of
from addercore.quant import dataset_bytes, quantize
from addercore.runtime import format as files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 64
"""Whose statistics the normalisations get, and by which scales are chosen."""
INTEGER = "int8"
MODEL_PACE = "the convolution's time, by the cycle model's ratio"
ENGINES = {"torch": "torch", "integer": "integer engine", "onnxruntime": "ONNX Runtime"}


def measure_untrained(context: Context, run: Run) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's files, float and integer, and what the model says of it. Time does not depend on weights."""
    module = context.untrained(run).cpu()
    images, _ = context.images("train", run=run).first(run.seed, IMAGES)
    _see(module, images.cpu())
    model = Model(run.config.network(), module.eval(), manifest_of(run.config, {}))
    shown, labels = dataset_bytes(context.config.dataset.name, "train", context.data_dir, run.config.holdout)
    made = quantize(
        model, shown, labels=labels, seed=run.seed, calibration_images=IMAGES, correction="none", search=False
    )
    chosen = run.config.model
    costs = count(model.network, chosen.method, chosen.first_last)
    facts = {"arch": chosen.arch, "method": chosen.method, "cycles": costs.latency_cycles}
    facts |= {"add": costs.operations.add, "mul": costs.operations.mul}
    content = encode(module.state_dict(), model.manifest)
    return facts, {FLOAT: as_tensor(content), INTEGER: as_tensor(files.to_bytes(made.program))}


@torch.no_grad()
def _see(module: nn.Module, images: Tensor) -> None:
    """Gives the normalisations the statistics of images, without which an adder network's outputs are all negative."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None
    module.train()(images)


def time_all(context: Context, findings: list[Finding], folder: Path) -> Finding:
    """Times the networks of each architecture together."""
    times, seed = {}, context.config.seeds[0]
    for run in context.config.runs():
        arch, network = run.config.model.arch, run.config.network()
        if arch not in times:
            own = [one for one in findings if one.facts["arch"] == arch and one.seed == seed]
            subjects = [one for finding in own for one in subjects_of(finding, folder)]
            subjects += twins_of(network, folder)
            times[arch] = times_of(context, subjects, network.input_shape)
    return finding_of(times, seed)


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    times = next(finding for finding in findings if finding.row == TIMES)
    rows = [row for arch in config.archs or () for row in _rows(arch, findings, times.facts["times"][arch])]
    columns = (
        Column("network", "network"),
        Column("layers", "layers"),
        Column("numbers", "numbers"),
        Column("engine", "run by"),
        Column("mul", "multiplications", "count"),
        Column("add", "additions", "count"),
        Column("cycles", "latency model, cycles", "count"),
        Column("ms", "milliseconds an image", "number"),
        Column("cycles_ratio", "cycles / convolution's", "number"),
        Column("ratio", "time / convolution's, same engine", "number"),
        Column("fastest_ratio", "time / fastest convolution's", "number"),
    )
    caption = (
        "The paper's latency model (addition 2 cycles, multiplication 4) beside measured time; weights as initialised."
    )
    caption += f" {on(times)}"
    return Report(caption, Table(columns, rows), _verdict(rows), _picture(rows), (8.0, 0.9 + 0.3 * len(rows)))


def _rows(arch: str, findings: list[Finding], times: list[dict[str, Any]]) -> list[dict[str, Any]]:
    costs = {one.facts["method"]: one.facts for one in findings if one.row != TIMES and one.facts["arch"] == arch}
    rows: list[dict[str, Any]] = []
    for time in times:
        method = "conv" if time["what"] == "twin" else str(time["what"]).removeprefix(f"{arch}-").partition("-")[0]
        kind = "fp32" if time["precision"] == "fp32" else "int8"
        facts = costs[method]
        row: dict[str, Any] = {
            "network": ARCH_NAMES.get(arch, arch),
            "method": method,
            "layers": METHOD_NAMES[method],
            "kind": kind,
        }
        row |= {"numbers": time["precision"], "engine": ENGINES[time["engine"]], "ms": time["p50_ms"]}
        rows.append(row | {key: facts[key] for key in ("add", "mul", "cycles")})
    for row in rows:
        rivals = [one for one in rows if one["method"] == "conv" and one["kind"] == row["kind"]]
        if row["method"] == "adder" and rivals:
            row["cycles_ratio"] = row["cycles"] / costs["conv"]["cycles"]
            row["fastest_ratio"] = row["ms"] / min(float(one["ms"]) for one in rivals)
            own = [float(one["ms"]) for one in rivals if one["engine"] == row["engine"]]
            row["ratio"] = row["ms"] / own[0] if own else None
    return rows


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    """Whether adder networks are faster than convolutional ones, as the model says."""
    claims = [
        Claim(
            f"{row['network']} in {row['kind']}: {row['cycles_ratio']:.2f} of the convolution's cycles, "
            f"{row['ratio']:.2f} of its time by the same engine",
            faster(row["ratio"]),
        )
        for row in rows
        if row.get("ratio") is not None
    ]
    reasons = [
        f"{row['network']} in {row['kind']}: {row['fastest_ratio']:.2f} of the time of the fastest convolution"
        for row in rows
        if "fastest_ratio" in row
    ]
    return together(claims, reasons)


def _picture(rows: list[dict[str, Any]]) -> Callable[[Figure], None]:
    """Draws the measured times as bars, with what the model's cycles take at the convolution's measured pace."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(rows))
        axes.barh(places, [row["ms"] for row in rows], color=[METHOD_COLOURS[row["method"]] for row in rows])
        for place, row in enumerate(rows):
            if row.get("ratio") is not None:
                expected = row["ms"] / row["ratio"] * row["cycles_ratio"]
                axes.plot(expected, place, "D", color="black", fillstyle="none", label=MODEL_PACE)
        axes.set_yticks(
            places, [f"{row['network']}, {row['layers']}, {row['numbers']}, {row['engine']}" for row in rows]
        )
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("milliseconds an image, one thread")
        found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if found:
            figure.legend(found.values(), found, loc="outside lower center", frameon=False, fontsize=8)
        light_grid(axes, "x")

    return draw
