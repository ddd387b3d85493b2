"""`python -m benchmarks.kernels`: measures, prints tables; with --write appends rows to `benchmarks/results/`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from addercore.ops import get
from benchmarks import rows
from benchmarks.kernels import evaluation, kernels, overhead, peaks, report, training
from benchmarks.kernels.shapes import Group, groups

PARTS = ("peaks", "kernels", "overhead", "training", "evaluation")
ROUNDS = 9
QUICK_ROUNDS = 2
PEAK_ROUNDS = 15
VERSIONS = ("python", "adderworks", "torch", "numpy")
"""Of the row's versions; the C compiler's is in its settings."""


def main() -> int:
    arguments = _parser().parse_args()
    chosen = tuple(dict.fromkeys(get(name).name for name in arguments.backend or kernels.backends()))
    parts: dict[str, Callable[[], list[rows.Row]]] = {
        "peaks": lambda: _peaks(arguments.quick),
        "kernels": lambda: _kernels(arguments, chosen),
        "overhead": lambda: _overhead(arguments.quick, chosen[0]),
        "training": lambda: _training(arguments, chosen[0]),
        "evaluation": lambda: _evaluation(arguments.quick, chosen[0]),
    }
    found: list[rows.Row] = []
    for name in arguments.only:
        found += parts[name]()
    if arguments.write:
        rows.write(found, arguments.out, VERSIONS)
    return 0


def _peaks(quick: bool) -> list[rows.Row]:
    measured = list(peaks.measure(QUICK_ROUNDS if quick else PEAK_ROUNDS))
    _show(report.peaks(measured))
    return measured


def _kernels(arguments: argparse.Namespace, chosen: Sequence[str]) -> list[rows.Row]:
    wanted = _wanted(arguments.shape, arguments.quick)
    if not wanted:
        there = "\n  ".join(f"{group.title}: {layer}" for group in groups() for layer in group.layers)
        raise SystemExit(f"no layer matches --shape {arguments.shape!r}; there are:\n  {there}")
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    measured = list(kernels.measure(wanted, chosen, rounds, _say))
    results = [result for result, _ in measured]
    _show(report.kernels(results, chosen[0]))
    _show(report.verdicts(results, chosen[0]))
    return [row for _, row in measured]


def _overhead(quick: bool, backend: str) -> list[rows.Row]:
    measured = list(overhead.measure(backend, quick))
    _show(report.overhead(measured))
    return measured


def _training(arguments: argparse.Namespace, backend: str) -> list[rows.Row]:
    measured = list(training.measure(backend, arguments.quick, _say))
    _show(report.training([found for found, _ in measured if found is not None]))
    return [row for _, row in measured]


def _evaluation(quick: bool, backend: str) -> list[rows.Row]:
    measured = list(evaluation.measure(backend, quick, _say))
    _show(report.evaluation(measured))
    return measured


def _show(table: str) -> None:
    print(table, end="\n\n", flush=True)


def _wanted(shape: str | None, quick: bool) -> list[Group]:
    """Layers whose name (with the network's in front) the pattern matches; in a quick run the small ones only."""
    found = []
    for group in groups():
        if quick and shape is None and ("resnet18" in group.title or "mobilenet" in group.title):
            continue
        layers = {
            layer: count
            for layer, count in group.layers.items()
            if shape is None or re.search(shape, f"{group.title}: {layer}")
        }
        if layers:
            found.append(Group(group.title, layers))
    return found


def _say(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--only", type=_some_of(PARTS), default=PARTS, metavar="NAME[,NAME]",
                        help=f"some of {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--backend", type=lambda text: text.split(","), metavar="NAME[,NAME]",
                        help="backends to measure, the first one in full (default: all of this machine)")  # fmt: skip
    parser.add_argument("--shape", metavar="PATTERN",
                        help="only layers that match a regular expression, 'resnet20.*3x3 s2' say")  # fmt: skip
    parser.add_argument("--rounds", type=int, help=f"rounds of the kernels (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="tiny amounts, to see that it works")
    parser.add_argument("--write", action="store_true", help="append the rows to --out")
    parser.add_argument("--out", type=Path, default=rows.RESULTS / "kernels.jsonl", help="default: %(default)s")
    return parser


def _some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}; known: {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
