"""Parallel coordinates of a sweep: an axis for each field and for the objective, a line for each trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from api.web.figures import Axis, element, spans_decades
from api.web.formats import is_number, metric
from jobs.sweeps.spec import SweepSpec
from jobs.sweeps.summary import shown
from jobs.tables import Trial

GAP, HEIGHT, TOP, BOTTOM, EDGE = 150, 330, 44, 26, 80  # px
SHADES = 5
MOST_AXES = 10
MOST_LINES = 500


def draw(spec: SweepSpec, trials: Sequence[Trial]) -> Markup:
    """The figure of the trials that have a value, the newest 500 of them; empty for fewer than two trials or fields."""
    known = [trial for trial in trials if trial.value is not None][-MOST_LINES:]
    fields = list(spec.fields)[: MOST_AXES - 1]
    if len(known) < 2 or len(fields) < 2:
        return Markup("")
    sign = 1 if spec.direction == "maximize" else -1
    ordered = sorted(known, key=lambda trial: sign * (trial.value or 0.0))  # the best on top
    columns = [[trial.parameters.get(name) for trial in ordered] for name in fields] + [[t.value for t in ordered]]
    drawn = [_column(values) for values in columns]
    names = [name.rpartition(".")[2] for name in fields] + [spec.objective]
    parts: list[Markup] = []
    for at, trial in enumerate(ordered):
        path = "L".join(f"{EDGE + GAP * number} {places[at]:.1f}" for number, (places, _) in enumerate(drawn))
        said = ", ".join(f"{name} {shown(trial.parameters.get(name))}" for name in fields)
        title = element("title", f"trial {trial.number}: {metric(trial.value, spec.objective)} with {said}")
        shade = at * SHADES // len(ordered)
        best = " best" if at == len(ordered) - 1 else ""
        parts.append(element("path", title, class_=f"trial q{shade}{best}", d=f"M{path}"))
    for number, (name, (_, marks)) in enumerate(zip(names, drawn, strict=True)):
        x = EDGE + GAP * number
        parts.append(element("line", class_="grid base", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM))
        parts.append(element("text", name, class_="axis", x=x, y=18, text_anchor="middle"))
        for y, value in marks:
            text = metric(value, spec.objective) if number == len(fields) else shown(value)
            last = number == len(fields)  # there, lines come from the left alone
            anchor, by = ("start", 8) if last else ("end", -6)
            parts.append(element("text", text, x=x + by, y=y + 4, text_anchor=anchor))
    width = 2 * EDGE + GAP * len(fields)
    label = f"{spec.objective} and the fields of {len(known)} trials; the table of trials below has them all"
    return element(
        "svg", *parts, class_="chart figure parallel", viewBox=f"0 0 {width} {HEIGHT}", role="img", aria_label=label
    )


def _column(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, Any]]]:
    """Where each value lies, and the marks of the axis as (y, value): the ends of numbers, or every other value."""
    if all(is_number(value) for value in values):
        numbers = [float(value) for value in values]
        axis = Axis(numbers, HEIGHT - BOTTOM, TOP, log=spans_decades(numbers), room=0.0)
        few = sorted(set(values))
        marks = few if len(few) <= 5 else [few[0], *axis.ticks(3)[1:-1], few[-1]]
        return [axis(value) for value in numbers], [(axis(float(value)), value) for value in marks]
    kinds = sorted({shown(value) for value in values})
    step = (HEIGHT - BOTTOM - TOP) / max(1, len(kinds) - 1)
    place = {name: HEIGHT - BOTTOM - step * at for at, name in enumerate(kinds)}
    return [place[shown(value)] for value in values], [(y, name) for name, y in place.items()]
