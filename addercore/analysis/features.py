"""Figure 1: features in the plane of a last hidden layer with two units."""

from collections.abc import Callable
from math import hypot, pi, sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from addercore.analysis.context import Context
from addercore.analysis.figures import METHOD_NAMES, light_grid
from addercore.analysis.findings import Finding
from addercore.analysis.images import Images
from addercore.analysis.report import Column, Report, Table, Verdict, plain
from addercore.analysis.statistics import MIN_PAIRS, NORMAL_LIMIT, mean_of
from addercore.config import AnalyzeConfig, Run, dataset
from addercore.io import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYER = "feature_bn"
"""The layer of `lenet5_bn_2d` whose output is the plane."""

SHOWN = 2000
"""Points that are drawn, at most."""


def measure(context: Context, run: Run | None, model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Accuracy of classifying validation images by the nearest class centre, and by the nearest class direction.

    Centres and directions come from the training images, with the labels that the training had.
    """
    train, labels = _plane(model, context.images("train", run=run))
    points, truth = _plane(model, context.images("validation", run=run))
    classes = len(model.classes)
    centre = _nearest_centre(train, labels, points, classes) == truth
    angle = _nearest_direction(train, labels, points, classes) == truth
    facts = {
        "images": len(truth),
        "by_centre": centre.double().mean().item(),
        "by_angle": angle.double().mean().item(),
        "advantage_se": _paired_error(centre, angle),
        "within": _within(points, truth, classes),
        "between": _between(points, truth, classes),
        "angle_within": _angle_within(points, truth, classes),
    }
    return facts, {"points": points[:SHOWN].float(), "labels": truth[:SHOWN]}


def _plane(model: Model, images: Images) -> tuple[Tensor, Tensor]:
    """Points (N, 2) float64 and labels (N,)."""
    found: list[Tensor] = []
    layer = model.module.get_submodule(LAYER)
    hook = layer.register_forward_hook(lambda _m, _i, out: found.append(out.detach().cpu().double()))
    labels = []
    with torch.inference_mode():
        for batch, truth in images.batches():
            model.module(batch)
            labels.append(truth.cpu())
    hook.remove()
    return torch.cat(found), torch.cat(labels)


def _present(labels: Tensor, classes: int) -> list[int]:
    return [c for c in range(classes) if bool((labels == c).any())]


def _centres(points: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(classes, 2): the median of each class, which minimises the sum of L1 distances; infinite without images."""
    centres = torch.full((classes, 2), torch.inf, dtype=torch.float64)
    for c in _present(labels, classes):
        centres[c] = points[labels == c].median(0).values
    return centres


def _nearest_centre(train: Tensor, labels: Tensor, points: Tensor, classes: int) -> Tensor:
    centres = _centres(train, labels, classes)
    return (points[:, None] - centres).abs().sum(2).argmin(1)


def _directions(points: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(classes, 2): the direction of the mean unit vector of each class."""
    units = torch.nn.functional.normalize(points, dim=1)
    sums = torch.zeros(classes, 2, dtype=torch.float64).index_add_(0, labels, units)
    return torch.nn.functional.normalize(sums, dim=1)


def _nearest_direction(train: Tensor, labels: Tensor, points: Tensor, classes: int) -> Tensor:
    return (points @ _directions(train, labels, classes).T).argmax(1)


def _paired_error(first: Tensor, second: Tensor) -> float:
    """Standard error of the difference of two shares of the same images."""
    difference = first.double() - second.double()
    return difference.std(correction=0).item() / sqrt(len(difference))


def _within(points: Tensor, labels: Tensor, classes: int) -> float:
    """Mean L1 distance between an image and the centre of its class."""
    return (points - _centres(points, labels, classes)[labels]).abs().sum(1).mean().item()


def _between(points: Tensor, labels: Tensor, classes: int) -> float:
    """Mean L1 distance between a class's centre and the nearest other centre."""
    centres = _centres(points, labels, classes)[_present(labels, classes)]
    apart = (centres[:, None] - centres).abs().sum(2)
    apart.fill_diagonal_(torch.inf)
    return apart.min(1).values.mean().item()


def _angle_within(points: Tensor, labels: Tensor, classes: int) -> float:
    """Mean angle in degrees between an image and the direction of its class."""
    units = torch.nn.functional.normalize(points, dim=1)
    cosines = (units * _directions(points, labels, classes)[labels]).sum(1).clamp(-1, 1)
    return (cosines.acos() * 180 / pi).mean().item()


def report(config: AnalyzeConfig, findings: list[Finding]) -> Report:
    rows = [_row(key, [f for f in findings if f.row == key]) for key in dict.fromkeys(f.row for f in findings)]
    columns = (
        Column("network", "network"),
        Column("accuracy", "accuracy, %", "percent", "accuracy_sd"),
        Column("by_centre", "told by nearest centre (L1), %", "percent"),
        Column("by_angle", "told by angle alone, %", "percent"),
        Column("advantage", "centre − angle ± 95 % interval, points", "points", "advantage_margin"),
        Column("within", "L1 distance to the own centre", "number"),
        Column("between", "between neighbouring centres", "number"),
        Column("angle_within", "angle to the own direction, °", "number"),
        Column("note", "note"),
    )
    classes = len(dataset(config.dataset.name).classes)
    control = "" if config.control == "none" else " Control: the training labels are shuffled."
    caption = (
        f"Validation images of {config.dataset.name} in the plane of the last hidden layer (after its normalisation); "
        f"{len(config.seeds)} seed{'s' if len(config.seeds) > 1 else ''}. Centres and directions of the {classes} "
        f"classes come from the training images.{control}"
    )
    verdict = _verdict(rows, 1 / classes)
    return Report(caption, Table(columns, rows), verdict, _picture(config, findings), (9.0, 4.6))


def _row(key: str, findings: list[Finding]) -> dict[str, Any]:
    good = [finding for finding in findings if finding.diverged is None]
    lost = len(findings) - len(good)
    row: dict[str, Any] = {"network": METHOD_NAMES.get(key, key), "method": key}
    row["note"] = f"diverged with {lost} of {len(findings)} seeds" if lost else None
    if not good:
        return row
    for fact in ("by_centre", "by_angle", "within", "between", "angle_within"):
        row[fact] = mean_of([finding.facts[fact] for finding in good]).value
    accuracy = mean_of([finding.facts["metrics"]["val/accuracy"] for finding in good])
    row |= {"accuracy": accuracy.value, "accuracy_sd": accuracy.sd, "images": good[0].facts["images"]}
    row["advantage"], row["advantage_margin"] = _advantage(good)
    return row


def _advantage(findings: list[Finding]) -> tuple[float, float]:
    """Accuracy by centre minus accuracy by angle: the mean over trainings, and half of its 95 % interval.

    With three trainings or more the interval is Student's, over the trainings. With fewer it comes from the number of
    validation images; two trainings see the same images, so they do not make it narrower.
    """
    found = mean_of([finding.facts["by_centre"] - finding.facts["by_angle"] for finding in findings])
    if found.n >= MIN_PAIRS and found.margin is not None:
        return found.value, found.margin
    return found.value, NORMAL_LIMIT * mean_of([finding.facts["advantage_se"] for finding in findings]).value


def _verdict(rows: list[dict[str, Any]], chance: float) -> Verdict:
    """Tests the paper's contrast with 95 % intervals.

    Adder features should be classified better by the nearest centre than by the angle, those of other networks as well
    by the angle. If centres are better in both, but by less in the CNN, the contrast is there in part (None).
    """
    parts: list[str] = []
    reasons: list[str] = []
    answers: list[bool | None] = []
    adder = next((row for row in rows if row["method"] == "adder" and "advantage" in row), None)
    for row in rows:
        words, answer = _judged(row, adder, chance)
        parts.append(words)
        answers.append(answer)
        if "advantage" in row:
            reasons.append(
                f"{row['network']}: nearest centre {100 * row['by_centre']:.1f} %, angle alone "
                f"{100 * row['by_angle']:.1f} %; images lie {plain(row['within'], 3)} from their own centre, centres "
                f"{plain(row['between'], 3)} apart (L1)"
            )
    holds = False if False in answers else None if None in answers else True
    return Verdict(" ".join(parts), holds, reasons).after(sum("advantage" in row for row in rows))


def _judged(row: dict[str, Any], adder: dict[str, Any] | None, chance: float) -> tuple[str, bool | None]:
    """The sentence about one network, and whether it is as in the paper."""
    name = row["network"]
    if "advantage" not in row:
        return f"{name} diverged.", False
    limit = chance + 3 * sqrt(chance * (1 - chance) / row["images"])
    if max(row["by_centre"], row["by_angle"]) <= limit:
        return f"The features of {name} tell the classes no better than guessing.", False
    clear = row["advantage"] > row["advantage_margin"]
    if row["method"] == "adder":
        words = "cluster round class centres" if clear else "are told by angle as well as by class centres"
        return f"{name} features {words}.", clear
    if not clear:
        return f"{name} features separate by angle.", True
    gap = 0.0 if adder is None else adder["advantage"] - row["advantage"]
    if adder is not None and gap > hypot(adder["advantage_margin"], row["advantage_margin"]):
        return f"{name} features separate by angle more than AdderNet's, but centres tell them still better.", None
    return f"{name} features are told better by class centres than by angle.", False


def _picture(config: AnalyzeConfig, findings: list[Finding]) -> "Callable[[Figure], None]":
    first = [finding for finding in findings if finding.seed == config.seeds[0] and finding.diverged is None]
    names = dataset(config.dataset.name).classes

    def draw(figure: "Figure") -> None:
        from matplotlib import colormaps

        panels = figure.subplots(1, max(1, len(first)), squeeze=False)[0]
        colours = colormaps["tab10" if len(names) <= 10 else "turbo"].resampled(len(names))
        for axes, finding in zip(panels, first, strict=False):
            points, labels = finding.tensors["points"], finding.tensors["labels"]
            for c in range(len(names)):
                mine = points[labels == c]
                axes.plot(mine[:, 0], mine[:, 1], "o", color=colours(c), markersize=3.2, alpha=0.75, markeredgewidth=0)
                if len(mine) and len(names) <= 20:
                    x, y = mine.median(0).values.tolist()
                    style = {"facecolor": "white", "edgecolor": colours(c), "boxstyle": "round,pad=0.2"}
                    axes.text(x, y, names[c], ha="center", va="center", fontsize=8, bbox=style)
            axes.plot(0, 0, "+", color="black", markersize=10)
            axes.set(title=METHOD_NAMES.get(finding.row, finding.row), xlabel="feature 1", ylabel="feature 2")
            axes.set_aspect("equal", "datalim")
            light_grid(axes)

    return draw
