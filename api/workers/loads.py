"""Figures of what a worker and its jobs used over the last hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.figures import Axis, element
from api.web.formats import size
from jobs.system_metrics import Sample, samples_of
from jobs.tables import Worker

WIDTH, HEIGHT = 460, 150  # px
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 10, 38
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Load:
    """One figure."""

    title: str
    now: str
    """Its newest value."""
    figure: Markup


def loads_of(worker: Worker) -> list[Load]:
    """CPU and memory, and where there are GPUs theirs; none before the second sample."""
    samples = samples_of(worker.stats)
    if len(samples) < 2:
        return []
    asked: list[tuple[str, Callable[[Sample], float | None], Callable[[float], str]]] = [
        ("CPU cores in use", lambda one: one.cpu, _plain),
        ("Memory", lambda one: one.memory_bytes, _size),
        ("GPUs in use", lambda one: one.gpu, _plain),
        ("GPU memory", lambda one: one.gpu_memory_bytes, _size),
    ]
    found = []
    for title, value, text in asked:
        points = [(one.time, float(y)) for one in samples if (y := value(one)) is not None]
        if len(points) > 1:
            found.append(Load(title, text(points[-1][1]), _draw(f"{title} of {worker.hostname}", points, text)))
    return found


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _size(value: float) -> str:
    return size(int(value))


def _draw(title: str, points: Sequence[tuple[int, float]], text: Callable[[float], str]) -> Markup:
    """A line over the minutes before the newest sample, from zero on."""
    end, most = points[-1][0], max(y for _, y in points)
    minutes = [(at - end) / MINUTE_MS for at, _ in points]
    across = Axis(minutes, LEFT, WIDTH - RIGHT, log=False, room=0)
    up = Axis([0.0, most or 1.0], HEIGHT - BOTTOM, TOP, log=False, room=0)
    parts = []
    for part in range(3):
        value = (most or 1.0) * part / 2
        at = up(value)
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        parts.append(element("text", text(value), x=LEFT - 8, y=at + 4, text_anchor="end"))
    for minute in across.ticks(5):
        at = across(minute)
        name = "now" if minute == 0 else f"{-minute:g} min ago"
        anchor = "end" if at > WIDTH - 40 else "start" if at < LEFT + 30 else "middle"
        parts.append(element("text", name, x=at, y=HEIGHT - BOTTOM + 18, text_anchor=anchor))
    line = "".join(
        f"{'L' if n else 'M'}{across(x):.1f} {up(y):.1f}"
        for n, (x, (_, y)) in enumerate(zip(minutes, points, strict=True))
    )
    label = f"{title}: {text(points[-1][1])} now, at most {text(most)} in the last {-minutes[0]:.0f} minutes"
    return element(
        "svg", *parts, element("path", class_="curve s1", d=line), class_="chart load", viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img", aria_label=label,
    )  # fmt: skip
