"""`python -m benchmarks.gap [--write]`: a look inside an adder network and its convolutional twin while they train.

Both are trained at equal seeds by the dataset's recipe, with what `--adder` and `--conv` change in it. A share of the
training images is held out and validates; the published test images are not looked at. At the end of each epoch
`addercore.analysis.inside` looks at the checkpoint, and its rows go to results/gap.jsonl. With `--checkpoints` nothing
is trained: those are looked at, of as many trainings as they are of.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from addercore import TrainConfig, fit
from addercore.analysis.inside import Inside, Moment, look_inside, table
from addercore.config import merge
from addercore.train import checkpoint
from benchmarks.rows import RESULTS, machine

METHODS: Final = ("adder", "conv")
VERSIONS: Final = ("python", "torch")
Found = dict[str, list[Moment]]
"""What was seen of a seed, by method."""


def configuration(method: str, options: argparse.Namespace, seed: int) -> TrainConfig:
    """The training of one method. Raises `InvalidConfig` if the changes make no spec."""
    base = {
        "model": {"arch": options.arch, "method": method},
        "dataset": {"name": options.dataset, "holdout": options.holdout},
        "epochs": options.epochs,
        "seed": seed,
        "checkpoint": {"every_epochs": 1, "every_seconds": None, "keep": min(options.epochs, 100)},
    }
    return TrainConfig.from_dict(merge(base, getattr(options, method)))


def trained(config: TrainConfig, options: argparse.Namespace) -> list[Moment]:
    """Trains, and looks at each epoch's checkpoint."""
    with tempfile.TemporaryDirectory(prefix="gap-") as folder:
        work = Path(folder)
        fit(config, workdir=work, data_dir=options.data, device="cpu", threads=options.threads, curves=False)
        paths = [path for path in sorted((work / "checkpoints").iterdir()) if "unvalidated" not in path.name]
        return look_inside(paths, options.data, options.images)


def pairs(options: argparse.Namespace) -> Iterator[tuple[TrainConfig, list[Moment]]]:
    """Trains adder network and twin for each seed, in turn."""
    planned = [configuration(method, options, seed) for seed in options.seeds for method in METHODS]
    for config in planned:
        yield config, trained(config, options)


def stored(options: argparse.Namespace) -> Iterator[tuple[TrainConfig, list[Moment]]]:
    """Looks at checkpoints that are there. Raises `CheckpointError` where a file is none."""
    for path in options.checkpoints:
        config = TrainConfig.from_dict(checkpoint.load(path).state["config"])
        yield config, look_inside([path], options.data, options.images)


def rows(config: TrainConfig, moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    """One for each moment."""
    about = machine()
    about = {**about, "versions": {name: about["versions"][name] for name in VERSIONS}}
    for moment in moments:
        yield {
            "benchmark": "gap",
            "method": config.model.method,
            "seed": config.seed,
            "spec": config.to_dict(),
            **_six_digits(moment.to_dict()),
            **about,
        }


def _six_digits(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _six_digits(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_six_digits(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def compared(found: Found) -> str:
    """For people: what was seen last of each method, side by side; a pair of numbers for each quantity."""
    adder, conv = (found[method][-1] for method in METHODS)
    lines = [
        f"{'':24}{'adder':>10}{'conv':>10}",
        *(
            f"{name:24}{getattr(adder, field):>10.2%}{getattr(conv, field):>10.2%}"
            for name, field in (
                ("train", "train_accuracy"),
                ("validation", "validation_accuracy"),
                ("train, by batch", "train_by_batch"),
                ("validation, by batch", "validation_by_batch"),
            )
        ),
        "",
        f"{'adder / conv':24}{'‖ΔL‖':>24}{'step/‖F‖':>24}{'moving':>24}{'gain':>24}{'beyond':>24}{'dead':>24}",
    ]
    for one, other in zip(adder.layers, conv.layers, strict=True):
        lines.append(f"{one.layer:24}" + "".join(f"{cell:>24}" for cell in _pairs(one, other)))
    return "\n".join(lines)


def _pairs(one: Inside, other: Inside) -> Iterator[str]:
    for field in ("grad_norm", "relative_step", "moving", "gain", "beyond", "dead"):
        values = (getattr(layer, field) for layer in (one, other))
        yield " / ".join("–" if value is None else f"{value:.3g}" for value in values)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--data", type=Path, help="folder with the datasets' files (DATA/datasets of a service)")
    parser.add_argument("--arch", default="lenet5_bn")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--holdout", type=float, default=0.1, help="share of the training images that validates (0.1)")
    parser.add_argument("--adder", type=json.loads, default={}, metavar="JSON", help="changes of the adder's spec")
    parser.add_argument("--conv", type=json.loads, default={}, metavar="JSON", help="changes of the twin's spec")
    parser.add_argument("--checkpoints", type=Path, nargs="+", metavar="FILE", help="look at these; train nothing")
    parser.add_argument("--images", type=int, default=1024, help="of each side that are looked at (1024)")
    parser.add_argument("--threads", type=int, default=1, help="of each training (1)")
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/gap.jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows")
    options = parser.parse_args(arguments)
    found: dict[int, Found] = defaultdict(dict)
    for config, moments in pairs(options) if options.checkpoints is None else stored(options):
        method, seed = config.model.method, config.seed
        found[seed].setdefault(method, []).extend(moments)
        print(f"{method}, seed {seed}\n{table(moments)}\n", flush=True)
        if options.write:
            with (options.results / "gap.jsonl").open("a", encoding="utf-8") as sink:
                sink.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(config, moments))
    for seed, both in found.items():
        if both.keys() >= set(METHODS):
            print(f"seed {seed}\n{compared(both)}\n", flush=True)


if __name__ == "__main__":
    main()
