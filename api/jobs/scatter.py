"""A scatter plot of two columns of the table of jobs, with the Pareto front: the jobs that no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.jobs.columns import Column
from api.web.figures import Axis, element, joined
from api.web.formats import is_number, metric
from jobs.sweeps.summary import is_share
from jobs.tables import Job

WIDTH, HEIGHT = 760, 440  # px
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 34, 52
CHARACTER = 7.0  # px
COLOURS = 8


@dataclass(frozen=True)
class Dot:
    job: str
    """Its id."""
    name: str
    group: str
    """What it is coloured by."""
    x: float
    y: float


@dataclass(frozen=True)
class Side:
    """One axis."""

    column: Column
    log: bool = False
    most: bool = False
    """Whether more is better."""

    def text(self, value: float) -> str:
        return metric(value, self.column.title)


def dots(
    jobs: Sequence[Job], x: Column, y: Column, measured: Mapping[str, Mapping[str, float]] | None = None
) -> list[Dot]:
    """The jobs that have a number in both columns, by the method of their network.

    `measured`: of columns that are none of the table, the numbers by the id of a job.
    """
    measured = measured or {}
    found = []
    for job in jobs:
        one, other = (
            measured[side.name].get(job.id) if side.name in measured else side.value(job, {}) for side in (x, y)
        )
        if is_number(one) and is_number(other):
            model = job.spec.get("model")
            method = model.get("method") if isinstance(model, dict) else None
            found.append(Dot(job.id, job.name or f"…{job.id[-8:]}", str(method or job.kind), float(one), float(other)))
    return found


def front(found: Sequence[Dot], x: Side, y: Side) -> set[str]:
    """Ids of the jobs that no other job beats: at least as good in both columns, and better in one."""
    sign_x, sign_y = (-1 if x.most else 1), (-1 if y.most else 1)
    best: tuple[float, float] | None = None
    kept = set()
    for at, other, job in sorted((sign_x * dot.x, sign_y * dot.y, dot.job) for dot in found):
        if best is None or other < best[1] or (at, other) == best:
            best = (at, other)
            kept.add(job)
    return kept


def draw(found: Sequence[Dot], x: Side, y: Side, best: set[str]) -> Markup:
    """The plot. Where the axis is logarithmic, numbers that are not above 0 are left out."""
    shown = [dot for dot in found if (not x.log or dot.x > 0) and (not y.log or dot.y > 0)]
    if not shown:
        return Markup("")
    across = Axis([dot.x for dot in shown], LEFT, WIDTH - RIGHT, log=x.log)
    up = Axis([dot.y for dot in shown], HEIGHT - BOTTOM, TOP, log=y.log)
    groups = sorted({dot.group for dot in shown})
    marks = [_mark(dot, x, y, (across(dot.x), up(dot.y)), groups.index(dot.group), dot.job in best) for dot in shown]
    label = f"{y.column.title} over {x.column.title}, {len(shown)} jobs; the table below has them all"
    parts = [*_axes(x, y, across, up), _stairs(shown, best, across, up), *marks, *_legend(groups)]
    return element(
        "svg", *parts, class_="chart figure", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="group", aria_label=label
    )


def _mark(dot: Dot, x: Side, y: Side, at: tuple[float, float], group: int, best: bool) -> Markup:
    colour = f"dot s{group % COLOURS + 1}{' front' if best else ''}"
    title = element("title", _said(dot, x, y))
    circle = element("circle", title, cx=at[0], cy=at[1], r=5.5 if best else 4, class_=colour)
    return element("a", circle, href=f"/jobs/{dot.job}", tabindex=-1)  # keys reach the same links in the table


def _said(dot: Dot, x: Side, y: Side) -> str:
    return f"{dot.name}: {y.column.title} {y.text(dot.y)}, {x.column.title} {x.text(dot.x)}"


def _axes(x: Side, y: Side, across: Axis, up: Axis) -> list[Markup]:
    bottom, parts, last = HEIGHT - BOTTOM, [], 0.0
    for value in up.ticks(6):
        at = up(value)
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        text = f"{100 * value:.5g} %" if is_share(y.column.title) else f"{value:.4g}"
        parts.append(element("text", text, x=LEFT - 8, y=at + 4, text_anchor="end"))
    for value in across.ticks(7):
        text = f"{100 * value:.5g} %" if is_share(x.column.title) else f"{value:.4g}"
        at, half = across(value), CHARACTER * len(text) / 2
        parts.append(element("line", class_="grid", x1=at, x2=at, y1=TOP, y2=bottom))
        if at - half > last and at + half < WIDTH:
            parts.append(element("text", text, x=at, y=bottom + 18, text_anchor="middle"))
            last = at + half + 4
    middle = (TOP + bottom) / 2
    name_x, name_y = (f"{one.column.title}{' (log)' if one.log else ''}" for one in (x, y))
    parts.append(
        element("text", name_x, class_="axis", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 10, text_anchor="middle")
    )
    turned = f"rotate(-90 16 {middle:.0f})"
    parts.append(element("text", name_y, class_="axis", x=16, y=middle, text_anchor="middle", transform=turned))
    return parts


def _stairs(shown: Sequence[Dot], best: set[str], across: Axis, up: Axis) -> Markup:
    """The line through the front: to its right, and on its worse side, every job is beaten."""
    places = sorted((across(dot.x), up(dot.y)) for dot in shown if dot.job in best)
    path = "".join(f"{'M' if at == 0 else 'L'}{px:.1f} {py:.1f}" for at, (px, py) in enumerate(places))
    return element("path", class_="pareto", d=path) if len(places) > 1 else Markup("")


def _legend(groups: Sequence[str]) -> list[Markup]:
    at, parts = float(LEFT), []
    for number, name in enumerate(groups[:COLOURS]):
        parts.append(element("circle", class_=f"dot s{number + 1}", cx=at, cy=14, r=4))
        parts.append(element("text", name, x=at + 10, y=18))
        at += 30 + CHARACTER * len(name)
    return (
        [*parts, element("text", "ringed: Pareto front", x=WIDTH - RIGHT, y=18, text_anchor="end")]
        if parts
        else [joined(())]
    )
