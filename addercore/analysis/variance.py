"""Eqs. 8 and 9: the variance of a layer's output, as predicted and as measured."""

from collections.abc import Callable
from math import pi, prod
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from addercore.analysis.context import MODEL, Context, similarity_layers, weight_of
from addercore.analysis.figures import METHOD_COLOURS, METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.analysis.statistics import mean_of
from addercore.config import AnalyzeConfig, Run
from addercore.errors import BadModel
from addercore.io import Model
from addercore.nn import AdderLayer
from addercore.train.batches import generator
from addercore.train.isolation import isolated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE: Final = 0.2
"""Relative difference allowed between measured and predicted variance: a first layer has only six filters."""

MODEL_IMAGES: Final = 256
"""Images that a given model is measured with."""

INPUTS: Final = ("normal", "real")


def predicted(layer: nn.Module, of_input: float, of_filters: float) -> float:
    """Eq. 8 for a convolution, d² c_in Var X Var F; eq. 9 for an adder layer, (1 − 2/π) d² c_in (Var X + Var F)."""
    taps = prod(weight_of(layer).shape[1:])
    if isinstance(layer, AdderLayer):
        return (1 - 2 / pi) * taps * (of_input + of_filters)
    return taps * of_input * of_filters


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Adder layers, and plain convolution and linear layers: those for which there is an equation."""
    found = similarity_layers(module).items()
    return {name: part for name, part in found if isinstance(part, AdderLayer) or type(part) in (nn.Conv2d, nn.Linear)}


def measure_untrained(context: Context, run: Run) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Measures every layer of a network as initialised, in training mode, as in the first step of a training."""
    images, _ = context.images("train", run=run).first(run.seed, run.config.batch_size)
    module = context.untrained(run).train()
    return {"layers": _measure(context, module, images, run.seed)}, {}


def measure(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Measures every layer of a given model, in evaluation mode."""
    images, _ = context.images("train", model).first(context.config.seeds[0], MODEL_IMAGES)
    return {"layers": _measure(context, model.module.eval(), images, context.config.seeds[0])}, {}


@torch.no_grad()
def _measure(context: Context, module: nn.Module, images: Tensor, seed: int) -> dict[str, dict[str, Any]]:
    layers = _layers(module)
    if not layers:
        raise BadModel("the model has neither adder nor convolution layers: eqs. 8 and 9 say nothing of it")
    if context.config.control == "permuted_weights":
        for layer in layers.values():
            weight = weight_of(layer)
            weight.copy_(weight.flatten().sort().values.view_as(weight))
    reached: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _m, given, name=name: reached.__setitem__(name, given[0].float()))
        for name, layer in layers.items()
    ]
    with isolated(seed, context.device, None):
        module(images)
    for hook in hooks:
        hook.remove()
    found: dict[str, dict[str, Any]] = {}
    for name, layer in layers.items():
        real = reached[name]
        draws = torch.randn(real.shape, generator=generator(seed, "variance", name)).to(real.device)
        found[name] = {"kind": "adder" if isinstance(layer, AdderLayer) else "conv"}
        for kind, x in zip(INPUTS, (draws, real), strict=True):
            of_input, of_filters = (t.double().var(correction=0).item() for t in (x, weight_of(layer)))
            found[name][kind] = {
                "input": of_input,
                "filters": of_filters,
                "predicted": predicted(layer, of_input, of_filters),
                "measured": layer(x).double().var(correction=0).item(),
            }
    return found


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    keys = list(dict.fromkeys(finding.row for finding in findings))
    rows = [row for key in keys for row in _rows(key, [f for f in findings if f.row == key])]
    columns = (
        Column("network", "network"),
        Column("layer", "layer"),
        Column("kind", "kind"),
        Column("predicted", "predicted Var Y, N(0, 1) inputs", "number"),
        Column("measured", "measured", "number"),
        Column("ratio", "measured / predicted", "number", "ratio_sd"),
        Column("real_predicted", "predicted Var Y, real inputs", "number"),
        Column("real_measured", "measured, real", "number"),
        Column("real_ratio", "measured / predicted, real", "number", "real_ratio_sd"),
    )
    given = config.model_id is not None
    of_what = f"model {config.model_id}" if given else f"{(config.archs or ('',))[0]} as initialised"
    spread = "" if given else f", mean ± standard deviation over {len(config.seeds)} seeds"
    sorted_ = " Control: each layer's weights are sorted." if config.control != "none" else ""
    caption = (
        f"Variance of the layers' outputs by eq. 8 (convolution) and eq. 9 (adder), and as measured; {of_what}, inputs "
        f"N(0, 1) and what reaches the layer from images of {config.dataset.name}{spread}.{sorted_}"
    )
    return Report(caption, Table(columns, rows), _verdict(rows), _picture(rows), (8.0, 4.0))


def _rows(key: str, findings: list[Finding]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for layer, first in findings[0].facts["layers"].items():
        row: dict[str, Any] = {"network": key, "layer": layer, "kind": first["kind"]}
        for kind, prefix in zip(INPUTS, ("", "real_"), strict=True):
            parts = [finding.facts["layers"][layer][kind] for finding in findings]
            for what in ("predicted", "measured"):
                row[prefix + what] = mean_of([part[what] for part in parts]).value
            ratio = mean_of([part["measured"] / part["predicted"] if part["predicted"] else 0.0 for part in parts])
            row |= {f"{prefix}ratio": ratio.value, f"{prefix}ratio_sd": ratio.sd}
        rows.append(row)
    return rows


_EQUATIONS: Final = {"adder": "eq. 9 (adder)", "conv": "eq. 8 (convolution)"}


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    """Whether the measured variance of every layer is as predicted, for the inputs that the equations assume."""
    parts: list[str] = []
    reasons: list[str] = []
    answers: list[bool] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in rows if row["kind"] == kind]
        off = [row for row in mine if abs(row["ratio"] - 1) > TOLERANCE]
        ratios, real = ([row[key] for row in mine] for key in ("ratio", "real_ratio"))
        what = f"measured / predicted {min(ratios):.3g} to {max(ratios):.3g} with N(0, 1) inputs"
        parts.append(
            f"{_EQUATIONS[kind]} {'holds' if not off else 'does not hold'} within {100 * TOLERANCE:.0f} %: {what}, "
            f"{min(real):.3g} to {max(real):.3g} with real ones."
        )
        reasons += [f"{row['network']}, {row['layer']}: {row['ratio']:.3g} with N(0, 1) inputs" for row in off]
        answers.append(not off)
    return Verdict(" ".join(part[0].upper() + part[1:] for part in parts), all(answers), reasons)


def _picture(rows: list[dict[str, Any]]) -> "Callable[[Figure], None]":
    """Draws measured / predicted variance of each layer, with a panel for each network."""

    def draw(figure: "Figure") -> None:
        networks = list(dict.fromkeys(row["network"] for row in rows))
        panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
        for axes, network in zip(panels, networks, strict=True):
            mine = [row for row in rows if row["network"] == network]
            colour = METHOD_COLOURS.get(network if network != MODEL else mine[-1]["kind"], "black")
            places = range(len(mine))
            axes.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color="0.9", label=f"within {100 * TOLERANCE:.0f} %", zorder=0)
            axes.axhline(1, color="0.5", linewidth=0.8, zorder=1)
            for prefix, marker, fill, label in (
                ("", "o", "full", "N(0, 1) inputs"),
                ("real_", "s", "none", "real inputs"),
            ):
                ratios = [row[f"{prefix}ratio"] for row in mine]
                spread = [row[f"{prefix}ratio_sd"] or 0.0 for row in mine]
                axes.errorbar(
                    places, ratios, yerr=spread, fmt=marker, fillstyle=fill, color=colour, capsize=3, label=label
                )
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_title(METHOD_NAMES.get(network, network))
            axes.set_xticks(places, [row["layer"] for row in mine], rotation=90 if len(mine) > 8 else 0)
            axes.set_xlabel("layer")
            light_grid(axes, "y")
        panels[0].set_ylabel("Var Y, measured / predicted")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)

    return draw
