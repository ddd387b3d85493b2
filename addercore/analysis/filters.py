"""Figure 2: the filters of the first layer, and whether neighbouring taps are alike."""

from collections.abc import Callable
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from addercore.analysis.context import MODEL, Context, similarity_layers, weight_of
from addercore.analysis.figures import METHOD_NAMES
from addercore.analysis.findings import Finding
from addercore.analysis.report import Column, Report, Table, Verdict
from addercore.config import AnalyzeConfig, Run
from addercore.errors import BadModel
from addercore.io import Model
from addercore.train.batches import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHUFFLES: Final = 500
"""Random orders of the taps whose correlation is the baseline."""

SIGNIFICANT: Final = 3.0
"""Standard deviations above the baseline from which filters count as spatially ordered."""

MAX_SHOWN: Final = 64


def measure(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The first layer's filters (c_out, c_in, kh, kw) and the correlation of their neighbouring taps."""
    name, layer = next(iter(similarity_layers(model.module).items()))
    filters = weight_of(layer).detach().cpu().double()
    if filters.ndim != 4 or min(filters.shape[2:]) < 2:
        raise BadModel(f"the model's first layer {name} has filters {tuple(filters.shape)}: they are no images")
    if context.config.control == "permuted_weights":
        filters = _shuffled(filters, generator("figure2", "control"))
    source = generator("figure2", "shuffles")
    found = neighbours(filters)
    null = torch.tensor([neighbours(_shuffled(filters, source)) for _ in range(SHUFFLES)], dtype=torch.float64)
    facts = {
        "layer": name,
        "method": model.manifest["network"]["method"],
        "shape": list(filters.shape),
        "correlation": found,
        "null_mean": null.mean().item(),
        "null_sd": null.std().item(),
        "least": filters.min().item(),
        "largest": filters.max().item(),
    }
    return facts, {"filters": filters.float()}


def _shuffled(filters: Tensor, source: torch.Generator) -> Tensor:
    """Shuffles the taps of each filter and channel."""
    flat = filters.flatten(2)
    order = torch.rand(flat.shape, generator=source).argsort(2)
    return flat.gather(2, order).view(filters.shape)


def neighbours(filters: Tensor) -> float:
    """Pearson's correlation between horizontal or vertical neighbours; each filter and channel has its mean removed."""
    centred = filters - filters.mean((2, 3), keepdim=True)
    first = torch.cat([centred[..., :-1].flatten(), centred[..., :-1, :].flatten()])
    second = torch.cat([centred[..., 1:].flatten(), centred[..., 1:, :].flatten()])
    scale = sqrt(first.square().mean().item() * second.square().mean().item())
    return (first * second).mean().item() / scale if scale > 0 else 0.0


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    rows = [_row(finding) for finding in findings]
    columns = (
        Column("network", "network"),
        Column("seed", "seed", "text"),
        Column("filters", "filters"),
        Column("correlation", "correlation of neighbouring taps", "number"),
        Column("null_mean", "with shuffled taps", "number", "null_sd"),
        Column("z", "standard deviations apart", "number"),
        Column("range", "weights from … to"),
        Column("note", "note"),
    )
    control = {
        "none": "",
        "permuted_labels": " Control: the training labels are shuffled.",
        "permuted_weights": " Control: the taps of each filter are shuffled.",
    }[config.control]
    whose = f"model {config.model_id}" if config.model_id else f"{(config.archs or ('',))[0]} on {config.dataset.name}"
    caption = (
        f"Filters of the first layer, {whose}; each on its own scale of grey from its least to its largest weight."
    )
    shown = [f for f in findings if f.diverged is None and f.seed == findings[0].seed]
    return Report(caption + control, Table(columns, rows), _verdict(rows), _picture(shown), _size(shown))


def _row(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {"network": METHOD_NAMES.get(finding.row, finding.row), "seed": finding.seed}
    if finding.diverged is not None:
        return row | {"note": "diverged"}
    facts = finding.facts
    z = (facts["correlation"] - facts["null_mean"]) / facts["null_sd"] if facts["null_sd"] else 0.0
    return row | {
        "filters": "×".join(map(str, facts["shape"])),
        "correlation": facts["correlation"],
        "null_mean": facts["null_mean"],
        "null_sd": facts["null_sd"],
        "z": z,
        "range": f"{facts['least']:.2f} … {facts['largest']:.2f}".replace("-", "−"),
    }


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    """Whether the filters of each network are more ordered than the same taps shuffled."""
    parts: list[str] = []
    answers: list[bool] = []
    for network in dict.fromkeys(row["network"] for row in rows):
        mine = [row["z"] for row in rows if row["network"] == network and "z" in row]
        ordered = sum(z > SIGNIFICANT for z in mine)
        answers.append(bool(mine) and ordered == len(mine))
        who = "The model's" if network == MODEL else f"{network}'s"
        if not mine:
            parts.append(f"{network} diverged.")
        elif ordered == len(mine):
            parts.append(f"{who} first filters have a spatial order ({min(mine):.1f} standard deviations from chance).")
        elif ordered:
            parts.append(f"{who} first filters have a spatial order with {ordered} of {len(mine)} seeds.")
        else:
            parts.append(
                f"{who} first filters have no spatial order ({max(mine):.1f} standard deviations from chance)."
            )
    compared = sum("z" in row for row in rows)
    note = f"{compared} layers were compared with {SHUFFLES} shufflings of their taps, at {SIGNIFICANT:g} deviations."
    return Verdict(" ".join(parts), all(answers), [note] if compared > 1 else [])


def _grid(finding: Finding) -> tuple[list[Tensor], int]:
    """The filters of one network as images (kh, kw) or (kh, kw, 3), and the number of columns of their grid."""
    filters = finding.tensors["filters"][:MAX_SHOWN]
    images = []
    for one in filters:
        low, high = one.min(), one.max()
        scaled = (one - low) / (high - low) if high > low else one * 0
        images.append(scaled.permute(1, 2, 0) if scaled.shape[0] == 3 else scaled.mean(0))
    return images, min(8, max(3, ceil(sqrt(len(images)))))


def _size(findings: list[Finding]) -> tuple[float, float]:
    if not findings:
        return (6.0, 3.0)
    grids = [_grid(finding) for finding in findings]
    height = max(ceil(len(images) / columns) / columns for images, columns in grids)
    width = 3.4 * len(grids)
    return width, max(1.8, 3.2 * height + 0.5)


def _picture(findings: list[Finding]) -> "Callable[[Figure], None]":
    def draw(figure: "Figure") -> None:
        if not findings:
            figure.text(0.5, 0.5, "every training diverged", ha="center")
            return
        parts = figure.subfigures(1, len(findings), squeeze=False)[0]
        for part, finding in zip(parts, findings, strict=True):
            images, columns = _grid(finding)
            method = finding.facts["method"]
            part.suptitle(METHOD_NAMES.get(method, method), fontsize=10)
            panels = part.subplots(ceil(len(images) / columns), columns, squeeze=False)
            for axes in panels.flat:
                axes.axis("off")
            for axes, image in zip(panels.flat, images, strict=False):
                axes.imshow(image.numpy(), cmap="gray", interpolation="nearest", vmin=0, vmax=1)

    return draw
