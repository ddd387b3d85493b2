"""Figure 4: histograms of the weights, and which distribution fits them better."""

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from addercore.analysis import fits
from addercore.analysis.context import Context, similarity_layers, weight_of
from addercore.analysis.figures import COLOURS, METHOD_COLOURS, METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.config import AnalyzeConfig, Run
from addercore.io import Model
from addercore.nn import AdderLayer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS: Final = 60
MAX_SHOWN: Final = 6
"""Layers of a network that are drawn, at most; the table has all."""

EXPECTED: Final[dict[str, fits.Family]] = {"adder": "laplace", "conv": "gaussian"}
"""The distribution that the paper's Figure 4 shows for each kind of layer."""

_NAMES: Final = {"laplace": "Laplace", "gaussian": "Gaussian"}


def measure(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fits both distributions to each layer, and makes a histogram between the 0.1 % and 99.9 % quantiles.

    The control gives each weight the value of the same rank in the distribution that the paper does not expect.
    """
    facts: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name, layer in similarity_layers(model.module).items():
        kind = "adder" if isinstance(layer, AdderLayer) else "conv"
        weights = weight_of(layer).detach().cpu()
        if context.config.control == "permuted_weights":
            weights = fits.reshaped(weights, "gaussian" if EXPECTED[kind] == "laplace" else "laplace")
        values = weights.double().flatten()
        if values.min() == values.max():
            continue  # nothing to fit
        found = fits.compare(values)
        facts[name] = {"kind": kind, "n": found.n, "z": found.z, "better": found.better}
        for one in (found.laplace, found.gaussian):
            facts[name][one.family] = {
                "location": one.location,
                "scale": one.scale,
                "log_likelihood": one.log_likelihood,
                "ks": one.ks,
            }
        tensors[f"{name} density"], tensors[f"{name} edges"] = _histogram(values)
    return {"layers": facts}, tensors


def _histogram(values: Tensor) -> tuple[Tensor, Tensor]:
    """Density (bins,) and edges (bins + 1,)."""
    ordered = values.sort().values
    cut = len(ordered) // 1000
    low, high = ordered[cut].item(), ordered[-1 - cut].item()
    if low == high:
        low, high = ordered[0].item(), ordered[-1].item()
    bins = max(8, min(BINS, ceil(len(ordered) ** 0.5)))
    density, edges = torch.histogram(values, bins=bins, range=(low, high))
    return density / (len(values) * (high - low) / bins), edges


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    good = [finding for finding in findings if finding.diverged is None]
    rows = [row for finding in good for row in _rows(finding)]
    columns = (
        Column("network", "network"),
        Column("seed", "seed"),
        Column("layer", "layer"),
        Column("kind", "kind"),
        Column("n", "weights", "count"),
        Column("laplace_ll", "log-likelihood a weight, Laplace", "number"),
        Column("gaussian_ll", "Gaussian", "number"),
        Column("z", "Vuong's z (> 0: Laplace)", "number"),
        Column("laplace_ks", "KS distance, Laplace", "number"),
        Column("gaussian_ks", "KS, Gaussian", "number"),
        Column("better", "fits better"),
    )
    control = {
        "none": "",
        "permuted_labels": " Control: the training labels are shuffled.",
        "permuted_weights": " Control: each weight has its rank's value in the other distribution.",
    }[config.control]
    whose = f"model {config.model_id}" if config.model_id else f"{(config.archs or ('',))[0]} on {config.dataset.name}"
    caption = f"Weights of each layer, {whose}, and the distributions of maximum likelihood.{control}"
    shown = [finding for finding in good if finding.seed == findings[0].seed]
    wide = min(MAX_SHOWN, max((len(_layers(finding)) for finding in shown), default=1))
    size = (2.3 * wide + 0.6, 2.3 * max(1, len(shown)) + 0.7)
    return Report(caption, Table(columns, rows), _verdict(rows), _picture(shown, wide), size)


def _layers(finding: Finding) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = finding.facts["layers"]
    return found


def _rows(finding: Finding) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for layer, facts in _layers(finding).items():
        row = {
            "network": METHOD_NAMES.get(finding.row, finding.row),
            "seed": finding.seed,
            "layer": layer,
            **{key: facts[key] for key in ("kind", "n", "z")},
            "better": _NAMES.get(facts["better"], "tie"),
            "expected": facts["better"] == EXPECTED[facts["kind"]],
        }
        for family in fits.FAMILIES:
            row[f"{family}_ll"] = facts[family]["log_likelihood"] / facts["n"]
            row[f"{family}_ks"] = facts[family]["ks"]
        rows.append(row)
    return rows


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    """Of each kind of layer: which distribution fits most of its layers better (`fits.Comparison.better`)."""
    if not rows:
        return Verdict("There are no weights to fit: every training diverged.", False)
    parts: list[str] = []
    reasons: list[str] = []
    answers: list[bool] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in rows if row["kind"] == kind]
        votes = {name: sum(row["better"] == name for row in mine) for name in ("Laplace", "Gaussian", "tie")}
        expected = _NAMES[EXPECTED[kind]]
        holds = votes[expected] > len(mine) / 2
        what = "adder" if kind == "adder" else "convolution"
        parts.append(
            f"Weights of {what} layers fit a {expected} distribution better in "
            f"{votes[expected]} of {len(mine)} layers: {'as' if holds else 'not as'} in the paper."
        )
        closer = sum((row["laplace_ks"] < row["gaussian_ks"]) == (expected == "Laplace") for row in mine)
        reasons.append(
            f"{what}: Laplace {votes['Laplace']}, Gaussian {votes['Gaussian']}, tie {votes['tie']} by log-likelihood; "
            f"by KS distance {expected} is closer in {closer} of {len(mine)}"
        )
        answers.append(holds)
    return Verdict(" ".join(parts), all(answers), reasons).after(len(rows))


def _picture(findings: list[Finding], wide: int) -> "Callable[[Figure], None]":
    def draw(figure: "Figure") -> None:
        if not findings:
            figure.text(0.5, 0.5, "every training diverged", ha="center")
            return
        panels = figure.subplots(len(findings), wide, squeeze=False)
        for line, finding in zip(panels, findings, strict=True):
            for axes in line:
                axes.set_visible(False)
            for axes, (name, facts) in zip(line, _layers(finding).items(), strict=False):
                axes.set_visible(True)
                _panel(axes, finding, name, facts)
            line[0].set_ylabel("density")
        for axes in panels[-1]:
            axes.set_xlabel("weight")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)

    return draw


def _panel(axes: Any, finding: Finding, name: str, facts: dict[str, Any]) -> None:
    """One layer's histogram with both densities."""
    density, edges = finding.tensors[f"{name} density"], finding.tensors[f"{name} edges"]
    axes.stairs(density.numpy(), edges.numpy(), fill=True, color="0.78", label="weights")
    x = torch.linspace(edges[0].item(), edges[-1].item(), 300, dtype=torch.float64)
    styles: dict[fits.Family, str] = {"laplace": "-", "gaussian": "--"}
    for family, colour in zip(fits.FAMILIES, (COLOURS[0], COLOURS[1]), strict=True):
        y = fits.log_density(x, family, facts[family]["location"], facts[family]["scale"]).exp()
        label = f"{_NAMES[family]}, maximum likelihood"
        axes.plot(x.numpy(), y.numpy(), styles[family], color=colour, linewidth=1.3, label=label)
    title = METHOD_NAMES.get(finding.row, finding.row)
    axes.set_title(f"{title}, {name}", fontsize=9, color=METHOD_COLOURS.get(finding.row, "black"))
    better = f"{_NAMES[facts['better']]} fits better" if facts["better"] else "tie"
    axes.locator_params(axis="x", nbins=4)
    axes.set_ylim(top=1.12 * axes.get_ylim()[1])
    axes.text(0.99, 0.98, better, transform=axes.transAxes, ha="right", va="top", fontsize=8)
    light_grid(axes, "y")
