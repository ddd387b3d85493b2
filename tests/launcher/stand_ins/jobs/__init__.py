"""Stand-ins for the server's processes: they start and stop like them and write down when.

``STAND_IN`` in the environment says what goes wrong, as ``NAME:WHAT`` words.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

FAULTS = dict(word.split(":") for word in os.environ.get("STAND_IN", "").split())


def note(line: str) -> None:
    """A line in the journal that the test reads."""
    with (Path(os.environ["ADDER_DATA_DIR"]) / "journal").open("a") as journal:
        journal.write(f"{line} {os.getpid()}\n")


def live(name: str) -> None:
    """Runs until SIGTERM; takes a moment to stop, so that the order of stopping shows."""

    def end(number: int, frame: FrameType | None) -> None:
        if FAULTS.get(name) == "stubborn":
            note(f"{name} ignores")
            return
        time.sleep(0.2)
        note(f"{name} stops")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print(f"{name} says hello")
    if FAULTS.get(name) == "dies":
        print(f"{name} cannot go on")
        sys.exit(7)
    note(f"{name} starts")
    while True:
        time.sleep(0.05)
