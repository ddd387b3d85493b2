"""Tables for people: figures by network, targets beside them, and at the end whether each target is reached."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kernels import targets
from benchmarks.kernels.kernels import Result
from benchmarks.kernels.operations import CONV, OPERATIONS
from benchmarks.kernels.targets import Target
from benchmarks.kernels.training import Found
from benchmarks.rows import Row

REACHED, MISSED = "reached", "MISSED"


def columns(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned cells; the first `left` columns to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def peaks(rows: Sequence[Row]) -> str:
    lines = [("peak, one thread, G elements/s", "median", "min", "max")]
    lines += [(row.variant, number(row.median), number(min(row.values)), number(max(row.values))) for row in rows]
    return columns(lines)


def kernels(results: Sequence[Result], best: str) -> str:
    """One table a network: `best` in full, of the other backends the share of their peak, or G elements/s."""
    judged = targets.kernel_targets(best)
    return "\n\n".join(
        _group([result for result in results if result.group == title], best, judged)
        for title in dict.fromkeys(result.group for result in results)
    )


def _group(results: Sequence[Result], best: str, judged: list[Target]) -> str:
    found = {(r.layer, r.operation, r.backend, r.threads): r for r in results}
    others = [name for name in dict.fromkeys(r.backend for r in results) if name not in (best, CONV)]
    speed = [f"{name} {'% peak' if _has_peak(results, name) else 'G/s'}" for name in others]
    header = (
        f"{results[0].group}, {best}",
        "layers",
        "operation",
        "ms",
        "G/s",
        "% peak",
        "asked",
        "/conv",
        "2 thr x",
        "conv 2 thr x",
        *speed,
    )
    lines: list[tuple[str, ...]] = [header]
    for layer, count in dict.fromkeys((r.layer, r.count) for r in results):
        for operation in OPERATIONS:
            one, two = found.get((layer, operation, best, 1)), found.get((layer, operation, best, 2))
            if one is None:
                continue
            conv = found.get((layer, operation, CONV, 2))
            rest = [found.get((layer, operation, name, 1)) for name in others]
            lines.append((
                str(layer), f"x{count}", operation, number(1e3 * one.seconds), number(one.rate), number(one.percent),
                _asked(one, judged), number(one.to_conv), "-" if two is None else _marked(two, two.speedup, judged),
                number(None if conv is None else conv.speedup),
                *("-" if r is None else _marked(r, r.rate if r.percent is None else r.percent, judged) for r in rest),
            ))  # fmt: skip
    return columns(lines, left=3) + "\n" + _totals(results, best)


def _has_peak(results: Sequence[Result], backend: str) -> bool:
    return any(result.percent is not None for result in results if result.backend == backend)


def _asked(result: Result, judged: list[Target]) -> str:
    target = targets.of(result, judged)
    figure = None if target is None else target.figure(result)
    if target is None or figure is None:
        return ""
    return f"{target.bound} {REACHED if target.bound.reached(figure) else MISSED}"


def _marked(result: Result, figure: float | None, judged: list[Target]) -> str:
    target = targets.of(result, judged)
    missed = target is not None and figure is not None and not target.bound.reached(figure)
    return number(figure) + ("!" if missed else "")


def _totals(results: Sequence[Result], best: str) -> str:
    """All layers of the network together, by operation: sums over its layers, one thread."""
    lines = [("all layers", "ms", "G/s", "conv ms", "/conv")]
    for operation in OPERATIONS:
        mine = [r for r in results if (r.operation, r.backend, r.threads) == (operation, best, 1)]
        conv = [r for r in results if (r.operation, r.backend, r.threads) == (operation, CONV, 1)]
        if not mine:
            continue
        seconds, theirs = (sum(r.count * r.seconds for r in some) for some in (mine, conv))
        rate = sum(r.count * r.layer.elements for r in mine) / seconds / 1e9
        ratio = seconds / theirs if conv else None
        lines.append((operation, number(1e3 * seconds), number(rate), number(1e3 * theirs), number(ratio)))
    return columns(lines)


def overhead(rows: Sequence[Row]) -> str:
    lines = [["call on a layer of one element, us, less the kernel's time", "median", "min", "max", "kernel's"]]
    for row in rows:
        figures = (row.median, min(row.values), max(row.values), row.settings["less_kernel_us"])
        lines.append([row.variant, *map(number, figures)])
    return columns(lines)


def training(found: Sequence[Found]) -> str:
    lines = [("training steps", "", "asked", "", "")]
    for one in found:
        outcome = REACHED if targets.reached(one) else MISSED
        lines.append((one.title, number(one.figure), str(targets.TRAINING[one.key]), outcome, one.about))
    return columns(lines)


def evaluation(rows: Sequence[Row]) -> str:
    lines = [("evaluation of a network, ms", "median", "min", "max", "clock", "times the plan's")]
    for row in rows:
        figures = (row.median, min(row.values), max(row.values))
        ratio = row.settings.get("times_the_plan")
        lines.append((row.variant, *map(number, figures), row.settings["clock"], number(ratio)))
    return columns(lines)


def verdicts(results: Sequence[Result], best: str) -> str:
    """Each target with its worst and best figure, and what misses it."""
    lines = [("target", "asked", "worst", "best", "")]
    missed: list[str] = []
    for target in targets.kernel_targets(best):
        pairs = [(figure, r) for r in results if target.meant(r) and (figure := target.figure(r)) is not None]
        pairs.sort(key=lambda pair: pair[0], reverse=target.bound.relation == targets.AT_MOST)
        short = [(figure, r) for figure, r in pairs if not target.bound.reached(figure)]
        outcome = "not measured" if not pairs else f"{MISSED} by {len(short)} of {len(pairs)}" if short else REACHED
        worst, top = (number(pairs[0][0]), number(pairs[-1][0])) if pairs else ("-", "-")
        lines.append((target.title, str(target.bound), worst, top, outcome))
        if short:
            missed.append(f"{target.title}, asked {target.bound}")
            missed += [f"    {number(figure)} at {r.layer}, {r.operation}" for figure, r in short]
    return "\n\n".join([columns(lines), *(["missed:\n" + "\n".join(missed)] if missed else [])])
