"""Tables that compare accuracies: MNIST, Tables 2 to 4, XNOR-Net's table, the ablation and distillation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from addercore.analysis import accuracy_figures as figures
from addercore.analysis import paper
from addercore.analysis.claims import Accuracies, Claim, order, together
from addercore.analysis.context import Context
from addercore.analysis.findings import Finding, by_seed
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.analysis.statistics import Difference, mean_of
from addercore.arch import Counts, count
from addercore.config import AnalyzeConfig, Run
from addercore.config.rows import TEACHER
from addercore.io import Model

WORD = 64
"""Binary operations in one instruction, as XNOR-Net counts its saving (section 3.2)."""

_ACCURACY = Column("accuracy", "accuracy, %", "percent", "accuracy_sd")
_NETWORK = (Column("network", "network"), Column("method", "method"))
_NOTE = Column("note", "note")
_OPERATIONS = (
    Column("mul", "multiplications", "count"),
    Column("add", "additions", "count"),
    Column("xnor", "XNORs", "count"),
)


def _rows(config: AnalyzeConfig, accuracies: Accuracies) -> list[dict[str, Any]]:
    """The table's rows in order: labels, accuracy, number of seeds, and a note if trainings diverged."""
    rows = []
    for row in config.rows():
        mean, lost = accuracies.mean(row.key), accuracies.diverged(row.key)
        rows.append(
            {
                "row": row.key,
                **dict(row.labels),
                "accuracy": None if mean is None else mean.value,
                "accuracy_sd": None if mean is None else mean.sd,
                "seeds": 0 if mean is None else mean.n,
                "note": f"diverged with {lost} of {len(config.seeds)} seeds" if lost else None,
            }
        )
    return rows


def _counts(config: AnalyzeConfig) -> dict[str, Counts]:
    """What the network of each row costs for one image."""
    found: dict[str, Counts] = {}
    for run in config.runs():
        model = run.config.model
        found.setdefault(run.row, count(run.config.network(), model.method, model.first_last))
    return found


def _with_operations(config: AnalyzeConfig, rows: list[dict[str, Any]]) -> None:
    counts = _counts(config)
    for row in rows:
        found = counts[row["row"]]
        operations = found.operations
        row |= {"mul": operations.mul, "add": operations.add, "xnor": operations.xnor}
        row |= {"energy": 1e6 * found.energy_joules, "cycles": found.latency_cycles}


def _difference(found: Difference) -> dict[str, float]:
    """The values that a difference adds to a row."""
    return {"difference": found.mean, "difference_se": found.se, "difference_margin": found.margin}


def _where(config: AnalyzeConfig) -> str:
    epochs = config.runs()[0].config.epochs
    seeds = len(config.seeds)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    control = "" if config.control == "none" else f" Control: {config.control.replace('_', ' ')}."
    return f"{config.dataset.name}, {epochs} epochs, {spread}; validation accuracy of the last epoch.{control}"


def _judged(accuracies: Accuracies, verdict: Callable[[], Verdict]) -> Verdict:
    return verdict().after(accuracies.comparisons) if accuracies.learnt() else accuracies.nothing_learnt()


def _per_network(config: AnalyzeConfig, accuracies: Accuracies, points: float) -> Verdict:
    """Whether each adder network is within `points` of the convolution and ahead of every binary method."""
    claims: list[Claim] = []
    reasons: list[str] = []
    archs = config.archs or ()
    for arch in archs:
        several = len(archs) > 1
        rows = {method: f"{arch}-{method}" if several else method for method in config.methods or ()}
        if "adder" not in rows:
            continue
        for method, row in rows.items():
            if method == "adder":
                continue
            reasons.append(accuracies.describe(rows["adder"], row))
            if method == "conv":
                claims.append(accuracies.within(rows["adder"], row, points))
            else:
                claims.append(accuracies.ahead(rows["adder"], row))
    return together(claims, reasons)


def mnist(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    _with_operations(config, rows)
    for row in rows:
        row["paper"] = paper.MNIST.get(row["method"])
        row["paper_cycles"] = paper.MNIST_CYCLES.get(row["method"])
    columns = (
        *_NETWORK,
        _ACCURACY,
        *_OPERATIONS,
        Column("energy", "energy at 45 nm, µJ", "number"),
        Column("cycles", "latency model, cycles", "count"),
        Column("paper", "paper, MNIST, %", "percent"),
        Column("paper_cycles", "paper, cycles", "count"),
        _NOTE,
    )
    caption = (
        f"Accuracy and cost of an image. {_where(config)} Operations, energy (fp32) and cycles as in docs/counts.md."
    )
    verdict = _judged(accuracies, lambda: _per_network(config, accuracies, 1))
    return Report(caption, Table(columns, rows), verdict, figures.dots(rows, accuracies, "paper", "paper, MNIST"))


def table2(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    _with_operations(config, rows)
    for row in rows:
        published = paper.TABLE2.get((row["network"], row["method"]), (None, None))
        row["paper_cifar10"], row["paper_cifar100"] = published
    ten, hundred = (Column(f"paper_cifar{n}", f"paper, CIFAR-{n}, %", "percent") for n in (10, 100))
    beside = {"cifar10": (ten,), "cifar100": (hundred,)}.get(config.dataset.name, (ten, hundred))
    caption = f"Classification; first and last layer are convolutions. {_where(config)}"
    verdict = _judged(accuracies, lambda: _per_network(config, accuracies, 1))
    picture = figures.dots(rows, accuracies, beside[0].key, beside[0].title.removesuffix(", %"))
    return Report(caption, Table((*_NETWORK, _ACCURACY, *_OPERATIONS, *beside, _NOTE), rows), verdict, picture)


def table3(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    _with_operations(config, rows)
    for row in rows:
        five = list(by_seed(findings, row["row"], "top5").values())
        if five:
            mean = mean_of(five)
            row |= {"top5": mean.value, "top5_sd": mean.sd}
        row["paper_top1"], row["paper_top5"] = paper.TABLE3.get((row["network"], row["method"]), (None, None))
    columns = (
        *_NETWORK,
        Column("accuracy", "top-1, %", "percent", "accuracy_sd"),
        Column("top5", "top-5, %", "percent", "top5_sd"),
        *_OPERATIONS,
        Column("paper_top1", "paper, ImageNet top-1, %", "percent"),
        Column("paper_top5", "paper, top-5, %", "percent"),
        _NOTE,
    )
    caption = f"Classification; first and last layer are convolutions. {_where(config)}"
    verdict = _judged(accuracies, lambda: _per_network(config, accuracies, 3))
    picture = figures.dots(rows, accuracies, "paper_top1", "paper, ImageNet")
    return Report(caption, Table(columns, rows), verdict, picture)


def table4(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    best = max(rows, key=lambda row: row["accuracy"] or 0.0)
    for row in rows:
        row["paper"] = paper.TABLE4.get(row["eta"])
        if row is not best:
            difference = accuracies.difference(row["row"], best["row"])
            if difference is not None:
                row |= _difference(difference)
    columns = (
        Column("eta", "η", "number"),
        _ACCURACY,
        Column("difference", "difference from the best ± 95 % interval, points", "points", "difference_margin"),
        Column("paper", "paper, MNIST, %", "percent"),
        _NOTE,
    )
    caption = f"Accuracy by η of eq. 13, {(config.archs or ('',))[0]}, adder. {_where(config)}"
    verdict = _judged(accuracies, lambda: _best_eta(accuracies, rows, best))
    return Report(caption, Table(columns, rows), verdict, figures.against_eta(rows, accuracies))


def _best_eta(accuracies: Accuracies, rows: list[dict[str, Any]], best: dict[str, Any]) -> Verdict:
    """Whether the paper's η is the best one, or ties with it."""
    reasons = [accuracies.describe(row["row"], best["row"]) for row in rows if row is not best]
    level = [f"{row['eta']:g}" for row in rows if row is not best and accuracies.sign(row["row"], best["row"]) == 0]
    beside = f"; level with it: {', '.join(level)}" if level else ""
    found = f"{accuracies.name(best['row'])} is best{beside}."
    theirs = next((row for row in rows if row["eta"] == paper.BEST_ETA), None)
    if theirs is None:
        return Verdict(found, None, reasons)
    if theirs is best or accuracies.sign(theirs["row"], best["row"]) == 0:
        return Verdict(f"{found} The paper's choice of {paper.BEST_ETA:g} stands.", True, reasons)
    return Verdict(f"{found} The paper's choice of {paper.BEST_ETA:g} is behind.", False, reasons)


def xnor_table(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    counts = _counts(config)
    whole = counts.get("conv")
    for row in rows:
        found = counts[row["row"]]
        row["bytes"] = found.parameter_bytes
        if whole is not None:
            row["memory_saving"] = whole.parameter_bytes / found.parameter_bytes
            row["compute_saving"] = _instructions(whole) / _instructions(found)
        row["paper"], row["paper_memory"], row["paper_compute"] = paper.XNOR.get(row["method"], (None, None, None))
    columns = (
        *_NETWORK,
        _ACCURACY,
        Column("bytes", "parameters, bytes", "count"),
        Column("memory_saving", "memory saving", "times"),
        Column("compute_saving", "computation saving", "times"),
        Column("paper", "XNOR-Net, AlexNet on ImageNet, %", "percent"),
        Column("paper_memory", "its memory saving", "times"),
        Column("paper_compute", "its computation saving", "times"),
        _NOTE,
    )
    arch = (config.archs or ("",))[0]
    stand_in = "" if arch == "alexnet" else f" {arch} stands in for AlexNet."
    caption = (
        f"Binary weights (bwn) and binary weights and inputs (xnor).{stand_in} {_where(config)} Savings are of the "
        f"whole network, whose first and last layer stay convolutions; {WORD} binary operations count as one."
    )
    verdict = _judged(accuracies, lambda: _binary(config, accuracies))
    return Report(caption, Table(columns, rows), verdict, figures.dots(rows, accuracies, "paper", "XNOR-Net, AlexNet"))


def _instructions(counts: Counts) -> float:
    """Operations for one image, where 64 one-bit operations count as one."""
    return sum(
        (layer.operations.add + layer.operations.mul + layer.operations.xnor) / (WORD if layer.operations.xnor else 1)
        for layer in counts.layers
    )


def _binary(config: AnalyzeConfig, accuracies: Accuracies) -> Verdict:
    methods = config.methods or ()
    claims: list[Claim] = []
    if {"bwn", "conv"} <= set(methods):
        claims.append(accuracies.within("bwn", "conv", 1))
    claims += [accuracies.ahead(row, "xnor") for row in ("conv", "bwn") if {row, "xnor"} <= set(methods)]
    pairs = [(a, b) for place, a in enumerate(methods) for b in methods[place + 1 :]]
    return together(claims, [accuracies.describe(*pair) for pair in pairs])


def figure3(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    first = "full_precision-alr"
    for row in rows:
        losses = [f.facts["curves"]["train/loss"][-1][1] for f in findings if f.row == row["row"] and not f.diverged]
        row["loss"] = mean_of(losses).value if losses else None
        row["paper"] = paper.ABLATION.get(row["row"])
        difference = None if row["row"] == first else accuracies.difference(row["row"], first)
        if difference is not None:
            row |= _difference(difference)
    columns = (
        Column("gradient", "gradient"),
        Column("local_rate", "local rate"),
        _ACCURACY,
        Column("difference", "difference from the first ± 95 % interval, points", "points", "difference_margin"),
        Column("loss", "training loss at the end", "number"),
        Column("paper", "paper, MNIST, %", "percent"),
        _NOTE,
    )
    caption = (
        f"Ablation, {(config.archs or ('',))[0]}: gradient of eq. 5 or its sign (eq. 4), adaptive (eq. 13), increased "
        f"(100) or no local learning rate. {_where(config)}"
    )
    verdict = _judged(accuracies, lambda: order(accuracies, list(paper.ABLATION)))
    picture = figures.curves(rows, findings)
    return Report(caption, Table(columns, rows), verdict, picture, figures.WIDE)


def distillation(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    for row in rows:
        published = paper.PKKD.get(row["row"], (None, None))
        row["paper_cifar10"], row["paper_cifar100"] = published
        difference = None if row["row"] == "plain" else accuracies.difference(row["row"], "plain")
        if difference is not None:
            row |= _difference(difference)
    columns = (
        Column("network", "network"),
        _ACCURACY,
        Column("difference", "difference from the plain adder ± 95 % interval, points", "points", "difference_margin"),
        Column("paper_cifar10", "PKKD, ResNet-20, CIFAR-10, %", "percent"),
        Column("paper_cifar100", "PKKD, CIFAR-100, %", "percent"),
        _NOTE,
    )
    arch = (config.archs or ("",))[0]
    caption = f"Distillation from the convolutional twin, {arch}.{_lesson(config)} {_where(config)}"

    def verdict() -> Verdict:
        reasons = [accuracies.describe("distilled", other) for other in ("plain", "twin")]
        claim = accuracies.ahead("distilled", "plain")
        return together([claim], reasons)

    picture = figures.dots(rows, accuracies, "paper_cifar10", "PKKD, ResNet-20 on CIFAR-10")
    return Report(caption, Table(columns, rows), _judged(accuracies, verdict), picture)


def successors(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    accuracies = Accuracies(config, findings)
    rows = _rows(config, accuracies)
    for row in rows:
        difference = None if row["row"] == "plain" else accuracies.difference(row["row"], "plain")
        if difference is not None:
            row |= _difference(difference)
    columns = (
        Column("network", "network"),
        _ACCURACY,
        Column("difference", "difference from the plain adder ± 95 % interval, points", "points", "difference_margin"),
        _NOTE,
    )
    arch = (config.archs or ("",))[0]
    caption = (
        f"Successors of the adder network at equal epochs, {arch}; the teacher of the distilled ones is the twin of "
        f"their seed, that of PKKD trains alongside. {_where(config)}"
    )

    def verdict() -> Verdict:
        others = [row["row"] for row in rows if row["row"] not in ("plain", TEACHER)]
        better = [accuracies.name(other) for other in others if accuracies.sign(other, "plain") == 1]
        text = f"Ahead of plain AdderNet: {'; '.join(better)}." if better else "None is ahead of plain AdderNet."
        reasons = [accuracies.describe(other, against) for other in others for against in ("plain", TEACHER)]
        return Verdict(text, bool(better), [accuracies.describe("plain", TEACHER), *reasons])

    picture = figures.dots(rows, accuracies, "paper", "paper")
    return Report(caption, Table(columns, rows), _judged(accuracies, verdict), picture)


def _lesson(config: AnalyzeConfig) -> str:
    """A sentence of the caption: how the twin is trained and how it teaches."""
    runs = {run.row: run.config for run in config.runs()}
    twin, lesson = runs[TEACHER], runs["distilled"].distill
    if lesson is None:
        return ""
    images = f", augment {twin.augment}" if twin.augment != runs["plain"].augment else ""
    teaching = f"temperature {lesson.temperature:g}, weight of the teacher {lesson.weight:g}"
    return f" The twin trains {twin.epochs} epochs{images}; {teaching}."


@torch.inference_mode()
def top5(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Top-5 accuracy on the validation images; with fewer than five classes it is 1."""
    most = min(5, len(model.classes))
    right = images = 0
    for batch, labels in context.images("validation", run=run).batches(whole=True):
        best = model.module(batch).topk(most, 1).indices
        right += int((best == labels[:, None]).any(1).sum())
        images += len(labels)
    return {"top5": right / images}, {}
