"""`make faults`, `python -m tests.faults`: causes every fault, prints what it cost. Exit code 1: something is wrong."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults import table
from tests.faults.fault import Fault
from tests.faults.faults import ALL
from tests.faults.plan import strikes
from tests.faults.runner import run, say
from tests.faults.servers import open_servers

MISSED = "attempts were lost although nothing was done to them (a busy machine misses leases) and went on elsewhere"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    plan = [(fault, times(fault, options)) for fault in chosen(options)]
    say(f"seed {options.seed}: {', '.join(f'{fault.name} × {n}' for fault, n in plan)}")
    if options.plan:
        show(plan, options.seed)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="adder-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        with open_servers(folder) as servers:
            for number, (fault, n) in enumerate(plan):
                say(f"{fault.name} × {n}")
                row = run(fault, n, options.seed, servers, folder / f"{number}", fenced=not options.without_fence)
                say(f"  {row.seconds:.0f} s, {row.confirmed} of {row.tried} confirmed")
                for sentence in row.sentences[:20]:
                    say(f"  {sentence}")
                if not row.green:
                    say(f"  {kept(folder / f'{number}', fault, options.keep)}")
                rows.append(row)
    say(f"\n{table.text(rows)}\n\n{time.monotonic() - began:.0f} s; {table.total(rows).missed} {MISSED}")
    if options.markdown:
        options.markdown.write_text(f"{table.markdown(rows)}\n{described(plan)}")
    return 0 if all(row.green for row in rows) else 1


def kept(logs: Path, fault: Fault, where: Path | None) -> str:
    """Where the logs of a red row are."""
    if where is None:
        return "its logs go; --keep FOLDER keeps them"
    return f"its logs: {shutil.copytree(logs, where / fault.name, dirs_exist_ok=True)}"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=4, help="every instant and choice comes from it (%(default)s)")
    parser.add_argument("--short", action="store_true", help="the form that is part of the tests: some, a few times")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults whose name holds one of these words")
    parser.add_argument("--times", type=int, help="how often each fault is caused, instead of its own number")
    parser.add_argument("--plan", action="store_true", help="print all injections that the seed leads to, and stop")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy the logs of red rows into this folder")
    parser.add_argument("--without-fence", action="store_true", help="workers ignore their fence: must end red")
    return parser


def chosen(options: argparse.Namespace) -> list[Fault]:
    """Raises SystemExit where a word names no fault."""
    words = options.only or [""]
    for word in words:
        if not any(word in fault.name for fault in ALL):
            raise SystemExit(f"no fault is named {word!r}; there are: {', '.join(fault.name for fault in ALL)}")
    return [
        fault
        for fault in ALL
        if any(word in fault.name for word in words) and (options.only or not options.short or fault.short)
    ]


def times(fault: Fault, options: argparse.Namespace) -> int:
    return options.times or (fault.short if options.short and fault.short else fault.times)


def described(plan: Sequence[tuple[Fault, int]]) -> str:
    """What each fault does and where that is seen, as a table of the docs."""
    lines = [("fault", "what is done", "where the system says so"), ("---", "---", "---")]
    lines += [(fault.name, fault.about, fault.proof) for fault, _ in plan]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(plan: Sequence[tuple[Fault, int]], seed: int) -> None:
    for fault, n in plan:
        for strike in strikes(seed, fault.name, n):
            say(f"{fault.name} #{strike.number}: pause {strike.pause:.3f}, pick {strike.pick:.3f}")


if __name__ == "__main__":
    sys.exit(main())
