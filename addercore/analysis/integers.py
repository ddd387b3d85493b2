"""The recipe `integer`: the adder network in 8 to 4 bits, beside its float form and its convolutional twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from addercore.analysis.claims import Accuracies, Claim, together
from addercore.analysis.context import Context
from addercore.analysis.figures import ARCH_NAMES, METHOD_COLOURS, METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.images import shuffled_labels
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.analysis.statistics import Difference, changed_answers, mean_of
from addercore.analysis.timing import FLOAT, TIMES, as_tensor, finding_of, on, subjects_of, time_of, times_of, twins_of
from addercore.arch import count
from addercore.config import AnalyzeConfig, Run
from addercore.errors import Stopped
from addercore.io import Model, encode
from addercore.quant import accuracy_of, changes, dataset_bytes, evaluate, float_scores, quantize
from addercore.runtime import format as files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BITS: Final = (8, 6, 5, 4)
FINETUNE: Final = {"epochs": 2, "lr": 0.01}
MOST_LOST: Final = {"int8": 0.5, "int4-tuned": 1.0}
"""Points that the verdict allows these forms to lose."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of quantising a network."""

    key: str
    name: str
    options: dict[str, Any]


def variants_of(method: str) -> tuple[Variant, ...]:
    """All bits with and without fine-tuning for adder networks; the twin has 8 bits, the best that it is used with."""
    if method != "adder":
        return (Variant("int8", "8 bits", {"bits": 8}),)
    plain = [Variant(f"int{bits}", f"{bits} bits", {"bits": bits}) for bits in BITS]
    tuned = [
        Variant(f"int{bits}-tuned", f"{bits} bits, fine-tuned", {"bits": bits, "finetune": FINETUNE}) for bits in BITS
    ]
    return (*plain, *tuned)


def measure(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Quantises a trained network in every way and compares the answers on the validation images.

    Of the first seed the files are kept, for the times.
    """
    if run is None:
        raise AssertionError("the recipe takes no model")
    name, holdout = context.config.dataset.name, run.config.holdout
    images, labels = dataset_bytes(name, "train", context.data_dir, holdout)
    if context.config.control == "permuted_labels":
        labels = shuffled_labels(torch.from_numpy(labels)).numpy()
    shown, wanted = dataset_bytes(name, "validation", context.data_dir, holdout)
    exact = accuracy_of(float_scores(model, shown), wanted)
    first = run.seed == context.config.seeds[0]
    content = encode(model.module.state_dict(), model.manifest)
    tensors = {FLOAT: as_tensor(content)} if first else {}
    forms: dict[str, Any] = {FLOAT: {"accuracy": exact.accuracy, "bytes": len(content)}}
    context.callbacks.on_phase("calibrating")
    for variant in variants_of(run.config.model.method):
        made = quantize(model, images, labels=labels, seed=run.seed, on_progress=_telling(context), **variant.options)
        found = evaluate(made.program, shown, wanted)
        lost, gained = changes(exact.answers, found.answers, wanted)
        content = files.to_bytes(made.program)
        forms[variant.key] = {"accuracy": found.accuracy, "bytes": len(content), "lost": lost, "gained": gained}
        if first:
            tensors[variant.key] = as_tensor(content)
    return {"forms": forms, "images": exact.images}, tensors


def _telling(context: Context) -> Callable[[str, float], None]:
    def tell(what: str, part: float) -> None:
        if context.callbacks.should_stop():
            raise Stopped(f"stopped on request while {what}")

    return tell


def time_all(context: Context, findings: list[Finding], folder: Path) -> Finding:
    """Times all forms of the first seed together."""
    run = context.config.runs()[0]
    network = run.config.network()
    kept = [finding for finding in findings if finding.tensors]
    subjects = [one for finding in kept for one in subjects_of(finding, folder)]
    subjects += twins_of(network, folder)
    return finding_of({run.config.model.arch: times_of(context, subjects, network.input_shape)}, run.seed)


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    times = next(finding for finding in findings if finding.row == TIMES)
    trained = [finding for finding in findings if finding.row != TIMES]
    accuracies = Accuracies(config, trained)
    rows = _rows(config, trained, next(iter(times.facts["times"].values())))
    columns = (
        Column("network", "network"),
        Column("numbers", "numbers"),
        Column("engine", "run by"),
        Column("accuracy", "accuracy, %", "percent", "accuracy_sd"),
        Column("difference", "difference from its float form ± 95 % interval, points", "points", "difference_margin"),
        Column("net", "answers, net", "number"),
        Column("bytes", "file, bytes", "count"),
        Column("mul", "multiplications", "count"),
        Column("add", "additions", "count"),
        Column("energy", "energy at 45 nm, µJ", "number"),
        Column("ms", "milliseconds an image", "number"),
        Column("note", "note"),
    )
    arch, seeds = (config.archs or ("",))[0], len(config.seeds)
    caption = (
        f"{ARCH_NAMES.get(arch, arch)} on {config.dataset.name} in integers, {seeds} seed{'s' * (seeds > 1)}; "
        "differences are of the answers to the same validation images, all seeds pooled; fine-tuning takes "
        f"{FINETUNE['epochs']} epochs. {on(times)} The twin in ONNX Runtime has random weights, on which its time does "
        "not depend; of its int8 forms it is the fastest."
    )
    caption += "" if config.control == "none" else f" Control: {config.control.replace('_', ' ')}."
    mean = accuracies.mean("adder")
    if not accuracies.learnt():
        verdict = accuracies.nothing_learnt()
    elif mean is None or mean.value <= accuracies.limit:
        verdict = together([Claim("AdderNet has not learnt, so that the comparison says nothing", False)], [])
    else:
        verdict = _verdict(rows)
    return Report(caption, Table(columns, rows), verdict, _picture(rows), (8.0, 4.6))


def _rows(config: AnalyzeConfig, findings: list[Finding], times: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for method in ("adder", "conv"):
        run = next(run for run in config.runs() if run.row == method)
        good = [finding for finding in findings if finding.row == method and finding.diverged is None]
        lost = len(config.seeds) - len(good)
        for key, name in ((FLOAT, FLOAT), *((one.key, one.name) for one in variants_of(method))):
            costs = count(run.config.network(), method, run.config.model.first_last, "fp32" if key == FLOAT else "int8")
            time = time_of(times, f"{method}-{key}")
            rows.append(
                {
                    "row": f"{method}-{key}",
                    "method": method,
                    "network": METHOD_NAMES[method],
                    "numbers": name,
                    "engine": "torch" if key == FLOAT else "integer engine",
                    "add": costs.operations.add,
                    "mul": costs.operations.mul,
                    "energy": 1e6 * costs.energy_joules,
                    "ms": None if time is None else time["p50_ms"],
                    "note": f"diverged with {lost} of {len(config.seeds)} seeds" if lost else None,
                    **_answers([finding.facts["forms"][key] for finding in good], good),
                }
            )
    twins = [time for time in times if time["what"] == "twin"]
    rows += [
        {
            "row": f"twin-{time['precision']}",
            "method": "conv",
            "network": METHOD_NAMES["conv"],
            "numbers": time["precision"],
        }
        | {"engine": "ONNX Runtime", "bytes": time["bytes"], "ms": time["p50_ms"]}
        for time in twins
    ]
    return rows


def _answers(forms: list[dict[str, Any]], findings: list[Finding]) -> dict[str, Any]:
    """Accuracy over seeds, and how the answers of all of them differ from those of the float networks."""
    if not forms:
        return {}
    mean = mean_of([form["accuracy"] for form in forms])
    found: dict[str, Any] = {"accuracy": mean.value, "accuracy_sd": mean.sd, "bytes": forms[0]["bytes"]}
    if "lost" in forms[0]:
        lost, gained = (sum(form[key] for form in forms) for key in ("lost", "gained"))
        difference = changed_answers(lost, gained, sum(finding.facts["images"] for finding in findings))
        found |= {"net": gained - lost, "difference": difference.mean, "difference_margin": difference.margin}
    return found


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    """Whether 8 bits and fine-tuned 4 bits lose as little as they may, and whether 8 bits are faster than the twin."""
    by_key = {row["row"]: row for row in rows}
    claims, reasons = [], []
    for key, points in MOST_LOST.items():
        row = by_key[f"adder-{key}"]
        if row.get("difference") is None:
            claims.append(Claim(f"{row['numbers']} have no network that was trained to the end", False))
            continue
        found = Difference(row["difference"], 0.0, row["difference_margin"], 1, True)
        lost = f"{row['numbers']} against floats: {found.points()}"
        if found.mean >= -points / 100:
            claims.append(Claim(f"{lost}, within {points:g}", True))
        else:
            reached = found.mean + found.margin >= -points / 100
            claims.append(
                Claim(f"{lost}, {'perhaps ' if reached else 'not '}within {points:g}", None if reached else False)
            )
    own = by_key["adder-int8"].get("ms")
    others = [row for row in rows if row["method"] == "conv" and row.get("ms") is not None]
    if own is not None:
        for row in others:
            reasons.append(
                f"8 bits take {own / row['ms']:.2f} of the time of the CNN, {row['numbers']}, {row['engine']}"
            )
        best = min(others, key=lambda row: float(row["ms"]), default=None)
        if best is not None:
            ratio = own / best["ms"]
            claims.append(
                Claim(
                    f"they take {ratio:.2f} of the time of the fastest CNN ({best['numbers']}, {best['engine']})",
                    faster(ratio),
                )
            )
    reasons += [
        f"{row['network']}, {row['numbers']}: {row['net']:+d} answers" for row in rows if row.get("net") is not None
    ]
    compared = sum(row.get("difference") is not None for row in rows)
    return together(claims, reasons).after(compared)


MARKERS: Final = {"8": "o", "6": "^", "5": "v", "4": "D"}
"""By bits; a square is a float network."""
SAME: Final = 0.05
"""Times that differ by less are called equal: a busy machine changes them by as much."""


def faster(ratio: float) -> bool | None:
    """Whether a time is less than another one, of which it is `ratio`; None where they are about equal."""
    return None if abs(ratio - 1) < SAME else ratio < 1


def _picture(rows: list[dict[str, Any]]) -> Callable[[Figure], None]:
    """Draws accuracy over time; the twins of ONNX Runtime, whose accuracy was not measured, are lines."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row in rows:
            if row.get("ms") is None:
                continue
            colour = METHOD_COLOURS[row["method"]]
            if row.get("accuracy") is None:
                axes.axvline(
                    row["ms"], color=colour, linestyle=":", linewidth=1, label=f"CNN, ONNX Runtime, {row['numbers']}"
                )
                continue
            error = row.get("difference_margin")
            axes.errorbar(
                row["ms"], 100 * row["accuracy"], yerr=None if error is None else 100 * error, capsize=3, color=colour,
                fmt=MARKERS.get(row["numbers"].partition(" ")[0], "s"), label=f"{row['network']}, {row['numbers']}",
                fillstyle="none" if "fine-tuned" in row["numbers"] else "full",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("milliseconds an image, one thread")
        axes.xaxis.set_minor_formatter("")
        axes.set_ylabel("validation accuracy, %")
        axes.set_title("bars: 95 % interval of the difference from floats")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7)
        light_grid(axes)

    return draw
