"""How long a person waits after `adder up`: until it says that it is ready, and for the first prediction.

`python -m benchmarks.service.ready --adder OLD/.venv/bin/adder --adder NEW/.venv/bin/adder` compares installed
versions, turn by turn.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import addercore
from adderclient import Client
from addercore.config import TrainConfig
from benchmarks import rows
from benchmarks.programs import log_end, program, server_environment
from benchmarks.rows import Row
from benchmarks.service.drain import REAL_SPEC
from benchmarks.service.setup import Setup

TURNS = 8
QUICK_TURNS = 2
READY = "Adderworks is ready at "
END_SECONDS = 120.0
POLL = 0.01
"""Seconds between two looks at what it says."""


def measure(setup: Setup) -> Iterator[Row]:
    """`adder up` of this checkout, on SQLite and an empty folder each time."""
    yield from compared(
        [Path(sys.executable).with_name("adder")], QUICK_TURNS if setup.quick else TURNS, setup.folder(), setup.quick
    )


def compared(commands: Sequence[Path], turns: int, scratch: Path, quick: bool = False) -> Iterator[Row]:
    """The rows of each installed `adder`, measured in turns."""
    load = os.getloadavg()
    model = _model(scratch)
    digit = scratch / "digit.png"
    addercore.sample_image("digits", 0).save(digit)
    found: dict[Path, list[tuple[float, float, float]]] = defaultdict(list)
    for turn in range(turns):
        for number, command in enumerate(commands):
            folder = scratch / f"{turn}-{number}"
            folder.mkdir()
            found[command].append(_one(command, folder, model, digit))
    for command, times in found.items():
        commit = rows.commit(command.absolute().parents[2])["commit"]
        for what, values in zip(
            ("adder up until it is ready", "first prediction after that", "second prediction"),
            zip(*times, strict=True),
            strict=True,
        ):
            about = {"database": "sqlite", "quick": quick, "commit_measured": commit, "in_turns": len(commands)}
            yield Row("ready", f"{what}, {str(commit)[:7]}", "s", values, load, about)


def _model(folder: Path) -> Path:
    addercore.fit(TrainConfig.from_dict(REAL_SPEC), workdir=folder, device="cpu")
    return folder / "model.safetensors"


def _one(command: Path, folder: Path, model: Path, digit: Path) -> tuple[float, float, float]:
    """Seconds until it is ready, of the first prediction, and of the second."""
    log = folder / "up.log"
    began = time.monotonic()
    with program([command, "up", "--port", "0", "--data", folder / "data"], server_environment(), log):
        url = _ready(log)
        ready = time.monotonic() - began
        with Client(url, timeout=END_SECONDS) as client:
            model_id = client.models.import_(model).id
            predictions = []
            for _ in range(2):
                asked = time.monotonic()
                client.models.predict(model_id, digit)
                predictions.append(time.monotonic() - asked)
    return ready, predictions[0], predictions[1]


def _ready(log: Path) -> str:
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        time.sleep(POLL)
    raise RuntimeError(f"the service did not get ready; {log_end(log)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service.ready", description=__doc__)
    parser.add_argument("--adder", type=Path, action="append", required=True, help="an installed command; repeatable")
    parser.add_argument("--turns", type=int, default=TURNS, help="of each (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = list(compared(arguments.adder, arguments.turns, Path(folder)))
    rows.write(found, rows.RESULTS / "service.jsonl")
    print(rows.table(found))


if __name__ == "__main__":
    main()
