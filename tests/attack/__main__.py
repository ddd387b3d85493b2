"""`python -m tests.attack`: starts a service and tries every line; exit status 1 where one did not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attack.service import running
from tests.attack.table import chosen, tried


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--only", default="", metavar="ROWS", help="rows, comma separated, such as 1,12,threat")
    parser.add_argument("--short", action="store_true", help="leave out what trains, waits or sends much")
    parser.add_argument("--list", action="store_true", help="print the lines and try none")
    arguments = parser.parse_args()
    lines = chosen(filter(None, arguments.only.split(",")), short=arguments.short)
    if arguments.list:
        print("\n".join(f"{one.row:>6}  {one.name}" for one in lines))
        return 0
    with tempfile.TemporaryDirectory(prefix="attack-") as folder, running(Path(folder)) as service:
        holes = tried(service, lines, lambda text: print(text, flush=True))
    print(f"{len(lines) - len(holes)} of {len(lines)} lines held.")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
