"""Table 1: gradient norms of every layer in the first iteration, of the adder network and the CNN."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.analysis import paper
from addercore.analysis.context import Context, similarity_layers, weight_of
from addercore.analysis.figures import METHOD_COLOURS, METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.report import Column, Report, Table, Verdict, plain
from addercore.analysis.statistics import Mean, mean_of
from addercore.config import AnalyzeConfig, Run
from addercore.train.batches import generator
from addercore.train.isolation import isolated

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measure_untrained(context: Context, run: Run) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """‖∂L/∂F‖₂ of each layer for the first batch of the training that `run` describes."""
    module = context.untrained(run)
    images, labels = context.images("train", run=run).first(run.seed, run.config.batch_size)
    with isolated(run.seed, context.device, None):
        module.train()
        loss = nnf.cross_entropy(module(images).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
    return {"loss": loss.item(), "norms": _norms(module)}, {}


def _norms(module: nn.Module) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, layer in similarity_layers(module).items():
        grad = weight_of(layer).grad
        found[name] = 0.0 if grad is None else grad.norm().item()
    return found


def _dealt(findings: list[Finding]) -> list[Finding]:
    """The control: permutes the norms of each layer and seed among the networks at random."""
    dealt = []
    for finding in findings:
        same = [other for other in findings if other.seed == finding.seed]
        mine = next(place for place, other in enumerate(same) if other is finding)
        norms = {}
        for layer in finding.facts["norms"]:
            order = torch.randperm(len(same), generator=generator("table1", finding.seed, layer))
            norms[layer] = same[int(order[mine])].facts["norms"][layer]
        dealt.append(replace(finding, facts={**finding.facts, "norms": norms}))
    return dealt


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    methods = config.methods or ()
    if config.control == "permuted_weights":
        findings = _dealt(findings)
    layers = list(findings[0].facts["norms"])
    rows: list[dict[str, Any]] = []
    for place, layer in enumerate(layers):
        row: dict[str, Any] = {"layer": layer}
        for method in methods:
            found = mean_of([f.facts["norms"][layer] for f in findings if f.row == method])
            published = paper.TABLE1.get(method, ())
            row |= {method: found.value, f"{method}_sd": found.sd}
            row[f"paper_{method}"] = published[place] if place < len(published) else None
        logs = _log_ratio(methods, layer, findings)
        row["ratio"] = None if logs is None else exp(logs.value)
        rows.append(row)
    columns = (
        Column("layer", "layer"),
        *(Column(m, METHOD_NAMES[m], "number", f"{m}_sd") for m in methods),
        Column("ratio", "CNN / AdderNet", "times"),
        *(Column(f"paper_{m}", f"paper, {METHOD_NAMES[m]}", "number") for m in methods),
    )
    exchanged = " Control: each layer's norms are dealt to the networks at random." if config.control != "none" else ""
    caption = (
        f"Gradient norms ‖∂L/∂F‖₂ at the first iteration, {(config.archs or ('',))[0]} on {config.dataset.name}, mean "
        f"± standard deviation over {len(config.seeds)} initialisations; their ratio is the geometric mean of the "
        "ratios at equal initialisation. The paper's are of LeNet-5-BN's first three layers on MNIST."
        f"{exchanged}"
    )
    return Report(caption, Table(columns, rows), _verdict(methods, layers, findings), _picture(methods, rows))


def _log_ratio(methods: tuple[str, ...], layer: str, findings: list[Finding]) -> Mean | None:
    """Mean over seeds of log(‖∂L/∂F‖ of the CNN / ‖∂L/∂F‖ of the adder network); None if one is zero or missing.

    Its exponential is the geometric mean of the ratios at equal seeds. Table, verdict and reasons all use it.
    """
    if not {"adder", "conv"} <= set(methods):
        return None
    norms = {m: {f.seed: f.facts["norms"][layer] for f in findings if f.row == m} for m in ("adder", "conv")}
    if not all(value > 0 for part in norms.values() for value in part.values()):
        return None
    return mean_of([log(norms["conv"][seed] / norms["adder"][seed]) for seed in norms["adder"]])


def _verdict(methods: tuple[str, ...], layers: list[str], findings: list[Finding]) -> Verdict:
    """Whether the gradient of every layer is smaller in the adder network: the log ratio's interval is above zero.

    A single seed has no interval. Then the ratio alone decides, and a reason says so.
    """
    if not {"adder", "conv"} <= set(methods):
        return Verdict("There is nothing to compare: the table needs both adder and conv.", None)
    reasons: list[str] = []
    smaller: list[str] = []
    ratios: list[float] = []
    for layer in layers:
        logs = _log_ratio(methods, layer, findings)
        if logs is None:
            reasons.append(f"{layer}: a gradient is zero")
            continue
        ratios.append(exp(logs.value))
        margin = logs.margin or 0.0
        if logs.value > margin:
            smaller.append(layer)
        interval = f" (95 %: {plain(exp(logs.value - margin), 3)} to {plain(exp(logs.value + margin), 3)})"
        reasons.append(
            f"{layer}: the CNN's gradient is {plain(ratios[-1], 3)} times the adder network's"
            f"{'' if logs.margin is None else interval}"
        )
    seeds = len({finding.seed for finding in findings})
    if seeds == 1:
        reasons.append("One initialisation tells no spread: nothing says how far another one would differ.")
    made = len(ratios) if seeds > 1 else 0
    if len(smaller) == len(layers):
        text = f"In every layer the adder network's gradient is smaller than the CNN's, {plain(min(ratios), 3)} to "
        return Verdict(f"{text}{plain(max(ratios), 3)} times, as the paper found.", True, reasons).after(made)
    if smaller:
        text = (
            f"The adder network's gradient is smaller than the CNN's in {', '.join(smaller)}, but not in every layer."
        )
        return Verdict(text, False, reasons).after(made)
    text = "In no layer is the adder network's gradient smaller than the CNN's."
    return Verdict(text, False, reasons).after(made)


def _picture(methods: tuple[str, ...], rows: list[dict[str, Any]]) -> "Callable[[Figure], None]":
    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for number, method in enumerate(methods):
            shift = 0.16 * (number - (len(methods) - 1) / 2)
            places = [place + shift for place in range(len(rows))]
            colour = METHOD_COLOURS[method]
            spread = [row[f"{method}_sd"] or 0.0 for row in rows]
            norms = [row[method] for row in rows]
            axes.errorbar(places, norms, yerr=spread, fmt="o", color=colour, capsize=3, label=METHOD_NAMES[method])
            published = [(x, row[f"paper_{method}"]) for x, row in zip(places, rows, strict=True)]
            marks = [(x, y) for x, y in published if y is not None]
            if marks:
                label = f"{METHOD_NAMES[method]}, paper, MNIST"
                x, y = zip(*marks, strict=True)
                axes.plot(x, y, "D", color=colour, fillstyle="none", markersize=6, label=label)
        axes.set_yscale("log")
        axes.set_xticks(range(len(rows)), [row["layer"] for row in rows], rotation=90 if len(rows) > 12 else 0)
        axes.set(xlabel="layer", ylabel="gradient norm ‖∂L/∂F‖, first iteration")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        light_grid(axes, "y")

    return draw
