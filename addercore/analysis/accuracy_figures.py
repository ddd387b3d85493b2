"""Figures of accuracies: a dot for each seed, learning curves, accuracy against η."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from addercore.analysis.claims import Accuracies
from addercore.analysis.figures import (
    ARCH_NAMES,
    COLOURS,
    GRADIENT_NAMES,
    METHOD_COLOURS,
    METHOD_NAMES,
    RATE_NAMES,
    light_grid,
)
from addercore.analysis.findings import Finding
from addercore.analysis.statistics import mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE: Final = (10.0, 4.2)
_SCHEMES: Final = {"alr": COLOURS[0], "ilr": COLOURS[1], "none": COLOURS[2]}


def _label(row: dict[str, Any]) -> str:
    method = METHOD_NAMES.get(row.get("method", ""), "")
    network = str(row.get("network", ""))
    return "  ".join(part for part in (ARCH_NAMES.get(network, network), method) if part)


def dots(rows: list[dict[str, Any]], accuracies: Accuracies, published: str, source: str) -> "Callable[[Figure], None]":
    """Draws a line for each row with every seed, their mean ± standard deviation, and the published value."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        known = False
        for place, row in enumerate(rows):
            colour = METHOD_COLOURS.get(row.get("method", ""), COLOURS[0])
            seeds = [100 * value for value in accuracies.by_row[row["row"]].values()]
            axes.plot(seeds, [place] * len(seeds), "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
            if row["accuracy"] is None:
                axes.text(0.5, place, "diverged", va="center", ha="center", transform=axes.get_yaxis_transform())
                continue
            spread = None if row["accuracy_sd"] is None else 100 * row["accuracy_sd"]
            mean = 100 * row["accuracy"]
            axes.errorbar(mean, place, xerr=spread, fmt="o", color=colour, markersize=7, capsize=4)
            axes.annotate(f"{mean:.1f}", (mean, place), (0, 8), textcoords="offset points", ha="center", fontsize=8)
            if row.get(published) is not None:
                known = True
                axes.plot(100 * row[published], place, "D", color="black", fillstyle="none", markersize=6)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.set_xlabel("validation accuracy, %")
        handles = [_handle("o", "0.4", "ours: mean ± standard deviation, seeds pale")]
        if known:
            handles.append(_handle("D", "black", source, "none"))
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        light_grid(axes, "x")

    return draw


def _handle(marker: str, colour: str, label: str, fill: Literal["full", "none"] = "full") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, color=colour, fillstyle=fill, label=label)


def against_eta(rows: list[dict[str, Any]], accuracies: Accuracies) -> "Callable[[Figure], None]":
    """Draws accuracy against η on a logarithmic axis, with the paper's values."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        there = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: row["eta"])
        for row in there:
            values = [100 * value for value in accuracies.by_row[row["row"]].values()]
            axes.plot([row["eta"]] * len(values), values, "o", color=COLOURS[0], alpha=0.35, markeredgewidth=0)
        axes.errorbar(
            [row["eta"] for row in there],
            [100 * row["accuracy"] for row in there],
            yerr=[100 * (row["accuracy_sd"] or 0.0) for row in there],
            fmt="-o",
            color=COLOURS[0],
            capsize=4,
            label="ours: mean ± standard deviation, seeds pale",
        )
        published = [row for row in there if row["paper"] is not None]
        if published:
            etas = [row["eta"] for row in published]
            values = [100 * row["paper"] for row in published]
            axes.plot(etas, values, "--D", color="black", fillstyle="none", label="paper, MNIST")
        axes.set_xscale("log")
        axes.set_xticks([row["eta"] for row in rows], [f"{row['eta']:g}" for row in rows])
        axes.minorticks_off()
        axes.set(xlabel="η (eq. 13)", ylabel="validation accuracy, %")
        axes.legend(frameon=False, fontsize=8)
        light_grid(axes)

    return draw


def curves(rows: list[dict[str, Any]], findings: list[Finding]) -> "Callable[[Figure], None]":
    """Draws validation accuracy and training loss by epoch: the mean over seeds, in a band from minimum to maximum."""

    def draw(figure: "Figure") -> None:
        accuracy, loss = figure.subplots(1, 2)
        for row in rows:
            colour = _SCHEMES[row["local_rate"]]
            style = "-" if row["gradient"] == "full_precision" else "--"
            label = f"{GRADIENT_NAMES[row['gradient']]}, {RATE_NAMES[row['local_rate']]}"
            mine = [finding.facts["curves"] for finding in findings if finding.row == row["row"]]
            _band(accuracy, [part.get("val/accuracy", []) for part in mine], colour, style, label, 100)
            _band(loss, [part.get("train/loss", []) for part in mine], colour, style, label, 1)
        accuracy.set(title="validation accuracy", xlabel="epoch", ylabel="accuracy, %")
        loss.set(title="training loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
        for axes in (accuracy, loss):
            light_grid(axes)
        handles, labels = accuracy.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)

    return draw


def _band(axes: "Axes", series: list[list[list[float]]], colour: str, style: str, label: str, factor: float) -> None:
    """Draws the mean of several series, at each epoch that any of them reached."""
    at: dict[float, list[float]] = {}
    for points in series:
        for epoch, value in points:
            at.setdefault(epoch, []).append(factor * value)
    epochs = sorted(at)
    axes.plot(epochs, [mean_of(at[e]).value for e in epochs], style, color=colour, label=label, linewidth=1.4)
    if any(len(values) > 1 for values in at.values()):
        lows, highs = [min(at[e]) for e in epochs], [max(at[e]) for e in epochs]
        axes.fill_between(epochs, lows, highs, color=colour, alpha=0.12, linewidth=0)
