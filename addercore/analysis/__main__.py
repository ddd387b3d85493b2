"""Runs recipes without a service: `python -m addercore.analysis figure4 table1 --out results`."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from addercore.analysis.run import analyze
from addercore.config import RECIPES, AnalyzeConfig, InvalidConfig
from addercore.errors import AdderError
from addercore.train.callbacks import Callbacks


class _PrintEvents(Callbacks):
    """Prints events on stderr."""

    def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
        print(message, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m addercore.analysis", description=__doc__)
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help=f"all, or of {', '.join(RECIPES)}")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path, help="folder of the dataset's files, where it needs any")
    parser.add_argument("--out", type=Path, required=True, help="results go to OUT/RECIPE; begun ones go on")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=JSON", help="a field of the spec: seeds=[0]"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    try:
        changes = {name: json.loads(value) for name, _, value in (item.partition("=") for item in options.set)}
        names = list(RECIPES) if options.recipes == ["all"] else options.recipes
        specs = [{"recipe": name, "dataset": {"name": options.dataset}, **changes} for name in names]
        configs = [AnalyzeConfig.from_dict(spec) for spec in specs]
    except (InvalidConfig, json.JSONDecodeError) as error:
        parser.error(str(error))
    try:
        for config in configs:
            _run(config, options)
    except AdderError as error:
        print(f"{config.recipe}: {error}", file=sys.stderr)
        return 1
    return 0


def _run(config: AnalyzeConfig, options: argparse.Namespace) -> None:
    began = time.monotonic()
    folder = options.out / config.recipe
    checkpoints = folder / "checkpoints"
    result = analyze(
        config,
        workdir=folder,
        data_dir=options.data_dir,
        device=options.device,
        threads=options.threads,
        callbacks=_PrintEvents(),
        resume_from=checkpoints if any(checkpoints.glob("*.adderck")) else None,
    )
    print((folder / "table.md").read_text())
    print(f"{config.recipe}: {time.monotonic() - began:.0f} s, holds: {result.result['holds']}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
