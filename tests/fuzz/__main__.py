"""`python -m tests.fuzz` (`make fuzz`): requests and mutated uploads against the API and the intake.

Exit code 1 when an answer is of 5xx, nothing comes, an upload ends its reader, `/healthz` is late, or something is
stored that cannot be read. All follows from the seed; `--only N` makes one upload again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz import objects, requests, two_projects, uploads
from tests.fuzz.server import api_server, nice
from tests.fuzz.watch import Watch

SEED = 11
SHOWN = 40


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in all (%(default)s)")
    parser.add_argument("--uploads", type=int, default=5_000, help="mutated uploads (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="all choices come from it (%(default)s)")
    parser.add_argument("--health-ms", type=float, default=200, help="longest answer of /healthz (%(default)s)")
    parser.add_argument("--only", type=int, metavar="N", help="only the upload of this number, which is kept")
    parser.add_argument(
        "--two-projects",
        action="store_true",
        help="only requests with keys of two projects",
    )
    options = parser.parse_args(arguments)
    if options.two_projects:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            return _told(two_projects.run(Path(folder), options.requests, options.seed))
    numbers = range(options.uploads) if options.only is None else range(options.only, options.only + 1)
    if options.only is not None:
        kept = Path(f"fuzz-{options.seed}-{options.only}")
        kept.write_bytes(uploads.case(options.seed, options.only)[1])
        print(f"{kept}: {uploads.case(options.seed, options.only)[0]}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        number = 0 if options.only is not None else options.requests
        found = run(Path(folder), number, numbers, options.seed, options.health_ms / 1000)
        if options.only is not None:
            print((Path(folder) / "intake/intake.log").read_text(errors="replace"))
    return _told(found)


def _told(found: list[str]) -> int:
    """Prints what is wrong. Returns the exit code."""
    for wrong in found[:SHOWN]:
        print(f"WRONG {wrong}")
    print(f"{len(found)} wrong" if found else "nothing is wrong")
    return 1 if found else 0


def run(folder: Path, number: int, numbers: range, seed: int, most: float) -> list[str]:
    """Does all of it on a server of its own, and prints what was done. Returns what is wrong.

    Args:
        folder: for the server's files.
        number: of requests.
        numbers: of the uploads.
        seed: all choices come from it.
        most: seconds of the longest answer of `/healthz` that is right.
    """
    found: list[str] = []
    answers: Counter[int] = Counter()
    became: Counter[str] = Counter()
    began = time.monotonic()
    with api_server(folder) as server:
        watch = Watch(server.address, server.pid, most)
        nice(5)  # the API and the watch are not slowed down by the fuzzer's own work
        if number:
            found += requests.send(server, watch, number, seed, answers)
            print(f"{sum(answers.values())} requests: {_counts(answers)}", flush=True)
        found += uploads.send(server, watch, numbers, seed, folder / "intake", became)
        print(f"{len(numbers)} uploads: {_counts(became)}", flush=True)
        health = watch.stop()
        found += health.slow
        print(
            f"/healthz was asked {health.asked} times; the slowest answer took {health.slowest * 1000:.0f} ms "
            f"({health.slowest_seen * 1000:.0f} ms with what it waited for a core)"
        )
        found += objects.unreadable(server)
        found += [line for line in server.log().splitlines() if "Traceback" in line]
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    return found


def _counts(counter: Counter[int] | Counter[str]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in sorted(counter.items(), key=lambda item: str(item[0])))


if __name__ == "__main__":
    sys.exit(main())
