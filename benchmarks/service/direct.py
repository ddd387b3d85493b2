"""Trains by calling `addercore.fit`, without the service; a program of its own, and writes down when what happened."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import addercore


class Stamps(addercore.Callbacks):
    """Notes the time of the first metric and, at every validation, the time and this process's CPU seconds."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.validations: list[tuple[float, float]] = []

    def on_metrics(self, points: list[addercore.MetricPoint]) -> None:
        if self.first is None:
            self.first = points[0].time_ms / 1000
        self.validations += [(p.time_ms / 1000, time.process_time()) for p in points if p.name == "val/accuracy"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="training spec, JSON")
    parser.add_argument("--folder", type=Path, required=True, help="for the run's files and its report")
    arguments = parser.parse_args()
    config = addercore.TrainConfig.from_dict(json.loads(arguments.config.read_text()))
    stamps = Stamps()
    result = addercore.fit(config, workdir=arguments.folder / "run", device="cpu", threads=1, callbacks=stamps)
    report: dict[str, Any] = {
        "metrics": result.metrics, "first_metric": stamps.first, "validations": stamps.validations,
    }  # fmt: skip
    (arguments.folder / "report.json").write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
