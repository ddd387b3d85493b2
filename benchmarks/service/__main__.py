"""`python -m benchmarks.service`: measures, prints a table, appends rows to `benchmarks/results/service.jsonl`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import fields, replace
from pathlib import Path

from benchmarks import rows
from benchmarks.service import (
    access,
    claims,
    clients,
    drain,
    latency,
    lists,
    overhead,
    points,
    ready,
    soak,
    start,
    throughput,
    upkeep,
)
from benchmarks.service.setup import DATABASES, QUICK, STORES, Amounts, Deployment, Setup, prepared

BENCHMARKS: dict[str, Callable[[Setup], Iterator[rows.Row]]] = {
    "latency": latency.measure,
    "throughput": throughput.measure,
    "overhead": overhead.measure,
    "claims": claims.measure,
    "queue": drain.measure_tiny,
    "real": drain.measure_real,
    "ready": ready.measure,
    "start": start.measure,
    "sweep": start.measure_sweep,
    "points": points.measure,
    "lists": lists.measure,
    "clients": clients.measure,
    "access": access.measure,
    "upkeep": upkeep.measure,
    "soak": soak.measure,
}
USUAL = ("latency", "throughput", "overhead")
"""What runs when nothing is named: the others load the machine for long."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--only", type=_some_of(BENCHMARKS), default=USUAL, metavar="NAME[,NAME]",
                        help=f"some of {', '.join(BENCHMARKS)} (default: {', '.join(USUAL)})")  # fmt: skip
    parser.add_argument("--databases", type=_some_of(DATABASES), default=DATABASES, metavar="NAME[,NAME]",
                        help=f"some of {', '.join(DATABASES)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny amounts, to see that it works; the rows say so")
    parser.add_argument("--out", type=Path, help="rows are appended here (default: benchmarks/results/service.jsonl; "
                        "with --quick nowhere)")  # fmt: skip
    parser.add_argument("--scratch", type=Path, help="folder for databases and data (default: the system's temporary "
                        "one); its file system is what fsync costs")  # fmt: skip
    for amount in fields(Amounts):
        parser.add_argument(f"--{amount.name.replace('_', '-')}", type=type(amount.default), metavar="N",
                            help=f"how much the load benchmarks do (default: {amount.default}; "
                            f"quick: {getattr(QUICK, amount.name)})")  # fmt: skip
    usual = Deployment()
    parser.add_argument("--apis", type=_some, default=usual.apis, metavar="N",
                        help="API processes of `queue` and `real`; clients take turns (%(default)s)")  # fmt: skip
    parser.add_argument("--workers", type=_some, default=usual.workers, metavar="N",
                        help="workers of `queue` and `real` (%(default)s)")  # fmt: skip
    parser.add_argument("--store", choices=STORES, default=usual.store,
                        help="where their artifacts lie: a folder that all processes share, or an S3 server (moto's), "
                        "each process with a data folder of its own (%(default)s)")  # fmt: skip
    arguments = parser.parse_args()
    given = {f.name: value for f in fields(Amounts) if (value := getattr(arguments, f.name)) is not None}
    amounts = replace(QUICK if arguments.quick else Amounts(), **given)
    deployment = Deployment(arguments.apis, arguments.workers, arguments.store)
    out: Path | None = arguments.out or (None if arguments.quick else rows.RESULTS / "service.jsonl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    rows.machine()  # names the commit that is measured, whatever happens to the checkout meanwhile
    found: list[rows.Row] = []
    try:
        with prepared(arguments.databases, arguments.scratch, arguments.quick, amounts, deployment) as setup:
            for name in arguments.only:
                print(f"{name} …", file=sys.stderr, flush=True)
                for row in BENCHMARKS[name](setup):
                    if out is not None:
                        rows.write([row], out)
                    found.append(row)
    finally:
        print(rows.table(found), flush=True)
    return 0


def _some(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes; 1 is the least")
    return int(text)


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
