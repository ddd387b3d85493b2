"""Plots the results of a sweep as SVG. It is written by hand, as the API loads no plotting library.

A grid gives the objective over one field, with a line for each combination of the others and bars of ± one standard
deviation over the seeds. A search gives the trials in order with the best so far, then the objective over each field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from jobs.states import TrialStatus
from jobs.sweeps.spec import FloatRange, IntRange, SweepSpec
from jobs.sweeps.summary import SEED, Table, is_share, shown, tabulate
from jobs.tables import Trial

COLOURS = ("#2563b8", "#d2691e", "#2a8a5f", "#8e44ad", "#b0891a", "#c2385f", "#3a8fa6", "#6b6f6d")
INK, SOFT, LINE = "#1d1f1e", "#5c615e", "#e4e4de"
WIDTH, HEIGHT = 640, 400  # px of a picture with one panel
SMALL = (430, 290)
MOST_SERIES = 8
MOST_PANELS = 8
LOG_RATIO = 20.0
"""Ratio of the largest to the smallest value of a field from which its axis is logarithmic."""
CHARACTER = 6.3  # px of one at 12 px


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    spread: float | None = None
    faint: bool = False


@dataclass(frozen=True)
class Series:
    name: str
    points: Sequence[Point]
    line: bool = True
    dots: bool = True
    steps: bool = False


@dataclass(frozen=True)
class Panel:
    x_name: str
    y_name: str
    series: Sequence[Series]
    share: bool = False
    """Whether y is shown in per cent."""
    log: bool = False
    names: Sequence[str] = ()
    """Labels of the positions 0, 1, … where x is not a number."""
    note: str = ""
    at: Sequence[float] = field(default=())
    """Positions of ticks on x; by default round numbers."""


def draw(spec: SweepSpec, trials: Sequence[Trial]) -> str:
    """The plot as an SVG document. If no trial has a value yet, it says so."""
    if spec.grid is None:
        panels = _search_panels(spec, trials)[:MOST_PANELS]
        columns = 1 if len(panels) == 1 else 2
        size = (WIDTH, HEIGHT) if columns == 1 else SMALL
    else:
        panels, columns, size = [_grid_panel(spec, trials)], 1, (WIDTH, HEIGHT)
    parts = [
        f'<g transform="translate({size[0] * (at % columns)} {size[1] * (at // columns)})">{_panel(panel, *size)}</g>'
        for at, panel in enumerate(panels)
    ]
    width, height = size[0] * columns, size[1] * math.ceil(len(panels) / columns)
    title = f"{spec.name or 'Sweep'}: {spec.objective} over {', '.join(spec.fields)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label={quoteattr(title)} font-family="system-ui, Helvetica, Arial, sans-serif" '
        f'font-size="12" fill="{INK}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _grid_panel(spec: SweepSpec, trials: Sequence[Trial]) -> Panel:
    table = tabulate(spec, [(trial, None) for trial in trials])
    if not table.fields:  # seeds alone
        values = list((spec.grid or {})[SEED])
        points = [
            Point(values.index(trial.parameters[SEED]), trial.value)
            for trial in trials
            if trial.status == TrialStatus.SUCCEEDED and trial.value is not None
        ]
        names = [shown(value) for value in values]
        return Panel(SEED, spec.objective, [Series("", points, line=False)], is_share(spec.objective), False, names)
    grid = spec.grid or {}
    across = _across(table, grid)
    values = grid[across]
    numeric = _numeric(values)
    lines: dict[str, list[Point]] = {}
    for row in table.rows:
        name = ", ".join(f"{_short(key)} {shown(row.parameters[key])}" for key in table.fields if key != across)
        points = lines.setdefault(name, [])
        if row.mean is not None:
            value = row.parameters[across]
            points.append(Point(float(value) if numeric else float(_place(values, value)), row.mean, row.std))
    series = [Series(name, sorted(points, key=lambda p: p.x), line=numeric) for name, points in lines.items()]
    note = f"{len(series) - MOST_SERIES} further combinations are not drawn" if len(series) > MOST_SERIES else ""
    log = numeric and min(values) > 0 and max(values) / min(values) >= LOG_RATIO
    return Panel(
        across,
        spec.objective,
        series[:MOST_SERIES],
        is_share(spec.objective),
        log,
        () if numeric else [shown(value) for value in values],
        note,
        sorted(map(float, values)) if numeric and len(values) <= MOST_SERIES else (),
    )


def _across(table: Table, grid: dict[str, list[Any]]) -> str:
    """The field of the x axis: the numeric one with the most values, else the first field."""
    numeric = [name for name in table.fields if _numeric(grid[name])]
    return max(numeric, key=lambda name: len(grid[name])) if numeric else table.fields[0]


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) and len(values) > 1


def _place(values: Sequence[Any], value: Any) -> int:
    return next(at for at, one in enumerate(values) if type(one) is type(value) and one == value)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _search_panels(spec: SweepSpec, trials: Sequence[Trial]) -> list[Panel]:
    known = [trial for trial in trials if trial.value is not None]
    share = is_share(spec.objective)
    best: list[Point] = []
    for trial in known:
        if trial.status == TrialStatus.SUCCEEDED and trial.value is not None:
            better = max if spec.direction == "maximize" else min
            best.append(Point(trial.number, better(trial.value, best[-1].y) if best else trial.value))
    if best:
        best.append(Point(max(trial.number for trial in known), best[-1].y))
    every = [(trial.number, trial) for trial in known]
    history = [_dots("trial", every), Series("best so far", best, dots=False, steps=True)]
    panels = [Panel("trial", spec.objective, history, share, note=_pruned_note(known))]
    for name, space in (spec.search or {}).items():
        if isinstance(space, FloatRange | IntRange):
            at = [(trial.parameters[name], trial) for trial in known]
            panels.append(Panel(name, spec.objective, [_dots("", at)], share, space.log))
        else:
            at = [(_place(space.choices, trial.parameters[name]), trial) for trial in known]
            names = [shown(choice) for choice in space.choices]
            panels.append(Panel(name, spec.objective, [_dots("", at)], share, False, names))
    return panels


def _dots(name: str, found: Sequence[tuple[float, Trial]]) -> Series:
    points = [
        Point(float(x), trial.value, faint=trial.status != TrialStatus.SUCCEEDED)
        for x, trial in found
        if trial.value is not None
    ]
    return Series(name, points, line=False)


def _pruned_note(trials: Sequence[Trial]) -> str:
    return "hollow: pruned" if any(trial.status == TrialStatus.PRUNED for trial in trials) else ""


class _Scale:
    """Maps a value to a pixel."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        place = math.log if log else float
        self._place = place
        self._low, self._span = place(low), (place(high) - place(low)) or 1.0
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (self._place(value) - self._low) / self._span * (self._end - self._start)


def _panel(panel: Panel, width: float, height: float) -> str:
    named = [one for one in panel.series if one.name]
    legend, rows = _legend(named if len(panel.series) > 1 else [], width)
    top = 18 + 18 * rows
    points = [point for one in panel.series for point in one.points]
    label = escape(panel.y_name + (", %" if panel.share else ""))
    head = f'<text x="16" y="{top + (height - top - 48) / 2:.0f}" fill="{SOFT}" text-anchor="middle" '
    head += f'transform="rotate(-90 16 {top + (height - top - 48) / 2:.0f})">{label}</text>{legend}'
    foot = f'<text x="{(64 + width - 16) / 2:.0f}" y="{height - 10}" fill="{SOFT}" text-anchor="middle">'
    foot += f"{escape(panel.x_name)}</text>"
    if panel.note:
        foot += f'<text x="{width - 16}" y="{height - 10}" fill="{SOFT}" font-size="11" text-anchor="end">'
        foot += f"{escape(panel.note)}</text>"
    if not points:
        return f'{head}{foot}<text x="{width / 2:.0f}" y="{height / 2:.0f}" fill="{SOFT}" text-anchor="middle">no trial has a value yet</text>'  # noqa: E501
    y_low = min(point.y - (point.spread or 0) for point in points)
    y_high = max(point.y + (point.spread or 0) for point in points)
    pad = 0.08 * (y_high - y_low) or abs(y_high) * 0.05 or 1.0
    y_low, y_high = y_low - pad, y_high + pad
    if panel.share:
        y_low, y_high = max(0.0, y_low), min(1.0, y_high) if y_low < 1 else y_high
    x_low, x_high = _x_range(panel, points)
    x = _Scale(x_low, x_high, 64, width - 16, panel.log)
    y = _Scale(y_low, y_high, height - 48, top, log=False)
    body = _axes(panel, x, y, (x_low, x_high), (y_low, y_high), width)
    for at, one in enumerate(panel.series):
        body += _curve(one, COLOURS[at % len(COLOURS)], x, y)
    return head + body + foot


def _x_range(panel: Panel, points: Sequence[Point]) -> tuple[float, float]:
    if panel.names:
        return -0.5, len(panel.names) - 0.5
    low, high = min([*panel.at, *(p.x for p in points)]), max([*panel.at, *(p.x for p in points)])
    if panel.log:
        by = (high / low) ** 0.04 if high > low else 2.0
        return low / by, high * by
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def _axes(panel: Panel, x: _Scale, y: _Scale, xs: tuple[float, float], ys: tuple[float, float], width: float) -> str:
    parts = []
    for value in ticks(*ys, 5):
        at = y(value)
        text = f"{100 * value:.4g}" if panel.share else f"{value:.4g}"
        parts.append(f'<line x1="64" x2="{width - 16}" y1="{at:.1f}" y2="{at:.1f}" stroke="{LINE}"/>')
        parts.append(f'<text x="58" y="{at + 4:.1f}" fill="{SOFT}" text-anchor="end">{text}</text>')
    bottom = y(ys[0])
    if panel.names:
        places = [(float(at), name) for at, name in enumerate(panel.names)]
    else:
        values = panel.at or (log_ticks(*xs) if panel.log else ticks(*xs, 6))
        places = [(value, f"{value:.4g}") for value in values]
    last = -math.inf
    for value, name in places:
        at = x(value)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{bottom:.1f}" y2="{bottom + 5:.1f}" stroke="{SOFT}"/>')
        half = CHARACTER * len(name) / 2
        if at - half > last + 4:  # labels do not run into each other
            text = f'<text x="{at:.1f}" y="{bottom + 18:.1f}" fill="{SOFT}" text-anchor="middle">{escape(name)}</text>'
            parts.append(text)
            last = at + half
    parts.append(f'<line x1="64" x2="{width - 16}" y1="{bottom:.1f}" y2="{bottom:.1f}" stroke="{SOFT}"/>')
    return "".join(parts)


def _curve(one: Series, colour: str, x: _Scale, y: _Scale) -> str:
    parts = []
    places = [(x(point.x), y(point.y), point) for point in one.points]
    if one.line and len(places) > 1:
        path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
        for px, py, _ in places[1:]:
            path += f"H{px:.1f}V{py:.1f}" if one.steps else f"L{px:.1f} {py:.1f}"
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>')
    for px, py, point in places:
        if point.spread:
            low, high = y(point.y - point.spread), y(point.y + point.spread)
            bar = f"M{px:.1f} {low:.1f}V{high:.1f}M{px - 4:.1f} {low:.1f}h8M{px - 4:.1f} {high:.1f}h8"
            parts.append(f'<path d="{bar}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        if one.dots:
            fill = "#ffffff" if point.faint else colour
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{fill}" stroke="{colour}"/>')
    return "".join(parts)


def _legend(series: Sequence[Series], width: float) -> tuple[str, int]:
    """The legend above the panel, and its number of lines."""
    left, parts, row, at = 64.0, [], 0, 64.0
    for number, one in enumerate(series):
        need = 26 + CHARACTER * len(one.name) + 14
        if at > left and at + need > width - 8:
            row, at = row + 1, left
        y = 20 + 18 * row
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{at:.0f}" y="{y - 6}" width="16" height="3" rx="1.5" fill="{colour}"/>')
        parts.append(f'<text x="{at + 22:.0f}" y="{y}">{escape(one.name)}</text>')
        at += need
    return "".join(parts), row + 1 if series else 0


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round values within the range, about `count` of them."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times those where they are few."""
    factors = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [value for value in found if low <= value <= high]
