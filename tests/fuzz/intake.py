"""`python -m tests.fuzz.intake FOLDER`: takes uploads in, one after the other, and says what became of each.

It reads a path a line and answers a line of JSON. A process of its own: a decoder that crashes or takes too long ends
this one, and the fuzzer starts another.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from pathlib import Path

from addercore.config.uploads import IntakeOptions
from addercore.data.intake import BadDataset, take_in

MEMORY = 2 * 2**30
"""Bytes that reading a small upload may take, whatever it says of itself."""


def outcome(upload: Path, folder: Path) -> str:
    """`ready`, or `refused` with words. Everything else is an exception."""
    target = folder / "ds_fuzz.safetensors"
    try:
        made = take_in(upload, target, "ds_fuzz", IntakeOptions(), preview=folder / "preview.png")
    except BadDataset as error:
        if not error.problems or not all(len(problem) > 10 for problem in error.problems):
            raise ValueError(f"refused without words: {error.problems}") from error
        return "refused"
    if made.info.train_size < 1 or not target.stat().st_size:
        raise ValueError("ready, but empty")
    return "ready"


def main() -> int:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        began = time.monotonic()
        try:
            what = outcome(Path(line.rstrip("\n")), folder)
        except MemoryError:
            what = "out of memory"
        except Exception as error:  # noqa: BLE001  (a finding, whatever it is)
            traceback.print_exc()
            what = f"{type(error).__name__}: {error}"
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"what": what, "seconds": time.monotonic() - began, "mib": used}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
