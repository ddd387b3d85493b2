"""`python -m benchmarks.quantisation`: what integers cost LeNet-5-BN in accuracy, over seeds and bits.

Trains float networks (the spec of `adder demo --epochs 30`), quantises each at 8, 6, 5 and 4 bits with and without
fine-tuning, and compares the answers of both on the validation images. `--choose` does the same without those images:
it trains on four fifths of the training images and compares on the last fifth; settings are chosen by that.
`--variant NAME=JSON` compares other options of `addercore.quant.quantize`. Networks are kept in `--scratch`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch

from addercore import Model, TrainConfig, fit, load
from addercore.analysis.statistics import changed_answers
from addercore.config import DATASETS, dataset, register
from addercore.data import source
from addercore.quant import Accuracy, accuracy_of, as_bytes, changes, evaluate, float_scores, quantize
from benchmarks.rows import RESULTS, machine

BITS: Final = (8, 6, 5, 4)
FINETUNE: Final = {"epochs": 2, "lr": 0.01}
PART: Final = 5
"""`--choose` compares on one of so many parts of the training images."""


@dataclass(frozen=True, slots=True)
class Data:
    """Names and images (uint8, at the network's size) of one experiment."""

    name: str
    folder: Path | None
    train: np.ndarray[Any, np.dtype[np.uint8]]
    train_labels: np.ndarray[Any, np.dtype[np.int64]]
    test: np.ndarray[Any, np.dtype[np.uint8]]
    test_labels: np.ndarray[Any, np.dtype[np.int64]]


def variants(names: list[str], method: str) -> dict[str, dict[str, Any]]:
    """Name → options of `quantize`."""
    if names:
        return {name: json.loads(options) for name, _, options in (text.partition("=") for text in names)}
    found: dict[str, dict[str, Any]] = {}
    for bits in BITS:
        found[f"{bits} bits"] = {"bits": bits}
        found[f"{bits} bits, fine-tuned"] = {"bits": bits, "finetune": FINETUNE}
    for bits in (8, 4):
        found[f"{bits} bits, shift"] = {"bits": bits, "rescale": "shift"}
        found[f"{bits} bits, shift, fine-tuned"] = {"bits": bits, "rescale": "shift", "finetune": FINETUNE}
    if method == "adder":
        found["4 bits, 4 groups"] = {"bits": 4, "groups": 4}
    return found


def held_out(name: str, data_dir: Path | None, scratch: Path) -> str:
    """Registers the training images of `name` as a dataset of their own: the last fifth validates."""
    whole = source(name, "train", data_dir)
    pixels, labels = whole.pixels(torch.arange(len(whole))), whole.labels
    size = len(labels) // PART
    own = f"{name}-held-out"
    info = replace(DATASETS[name], name=own, files=(), checksums=(), archive="")
    info = replace(info, train_size=len(labels) - size, validation_size=size)
    register(info)
    parts = {"train": slice(0, -size), "validation": slice(-size, None)}
    tensors = {f"{split}_images": pixels[part].contiguous() for split, part in parts.items()}
    tensors |= {f"{split}_labels": labels[part].contiguous() for split, part in parts.items()}
    safetensors.torch.save_file(tensors, scratch / f"{own}.safetensors")
    return own


def data_of(name: str, data_dir: Path | None) -> Data:
    info = dataset(name)
    found = []
    for split in ("train", "validation"):
        part = source(name, split, data_dir)
        pixels = part.pixels(torch.arange(len(part))).float() / info.top
        found += [as_bytes(pixels, info.input_shape[1:]), part.labels.numpy()]
    return Data(name, data_dir, *found)


def trained(data: Data, arch: str, method: str, epochs: int, seed: int, scratch: Path) -> Model:
    """The float network of a seed, from the scratch folder where it is there."""
    folder = scratch / f"{data.name}-{arch}-{method}-{epochs}-{seed}"
    path = folder / "model.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        spec = {"model": {"arch": arch, "method": method}, "dataset": {"name": data.name}, "epochs": epochs}
        if data.name.startswith("digits"):
            spec |= {"batch_size": 128}
        fit(TrainConfig.from_dict(spec | {"seed": seed}), workdir=folder, data_dir=data.folder, device="cpu", threads=1)
    return load(path)


def compared(
    data: Data, models: dict[int, Model], options: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, int, Accuracy, Accuracy]]:
    """(variant, seed, float, integer) of every quantisation."""
    for seed, model in models.items():
        exact = accuracy_of(float_scores(model, data.test), data.test_labels)
        for name, chosen in options.items():
            made = quantize(model, data.train, labels=data.train_labels, seed=seed, **chosen)
            yield name, seed, exact, evaluate(made.program, data.test, data.test_labels)


def row(name: str, options: dict[str, Any], found: list[tuple[int, Accuracy, Accuracy]], labels: Any) -> dict[str, Any]:
    """What is kept of a variant: all seeds pooled, and each one's accuracies."""
    lost = gained = 0
    for _, exact, integer in found:
        one = changes(exact.answers, integer.answers, labels)
        lost, gained = lost + one[0], gained + one[1]
    images = sum(one.images for _, _, one in found)
    difference = changed_answers(lost, gained, images)
    return {
        "benchmark": "quantisation",
        "variant": name,
        "options": options,
        "images": images,
        "float_accuracy": [exact.accuracy for _, exact, _ in found],
        "integer_accuracy": [integer.accuracy for _, _, integer in found],
        "float_loss": [exact.loss for _, exact, _ in found],
        "integer_loss": [integer.loss for _, _, integer in found],
        "seeds": [seed for seed, _, _ in found],
        "answers_lost": lost,
        "answers_gained": gained,
        "net": gained - lost,
        "points": 100 * difference.mean,
        "margin_points": 100 * difference.margin,
        "agreement": float(np.mean([(exact.answers == integer.answers).mean() for _, exact, integer in found])),
    }


def line(one: dict[str, Any]) -> str:
    """A row of the table that is printed."""
    means = [100 * float(np.mean(one[key])) for key in ("float_accuracy", "integer_accuracy")]
    losses = [float(np.mean(one[key])) for key in ("float_loss", "integer_loss")]
    return (
        f"| {one['variant']} | {means[0]:.2f} | {means[1]:.2f} | {one['points']:+.2f} ± {one['margin_points']:.2f} | "
        f"{one['net']:+d} (−{one['answers_lost']}, +{one['answers_gained']}) | {losses[0]:.4f} | {losses[1]:.4f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantisation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--arch", default="lenet5_bn")
    parser.add_argument("--method", default="adder", choices=("adder", "conv"))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path, help="folder of the dataset's files, where it needs any")
    parser.add_argument("--choose", action="store_true", help="without the validation images")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--scratch", type=Path, help="keeps the float networks here")
    parser.add_argument("--write", action="store_true", help=f"appends rows to {RESULTS.name}/quantisation.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        name, folder = options.dataset, options.data_dir
        if options.choose:
            name, folder = held_out(name, folder, scratch), scratch
        data = data_of(name, folder)
        models = {
            seed: trained(data, options.arch, options.method, options.epochs, seed, scratch)
            for seed in range(options.seeds)
        }
        report(data, models, variants(options.variant, options.method), options)


def report(data: Data, models: dict[int, Model], chosen: dict[str, dict[str, Any]], options: Any) -> None:
    """Prints the table, and writes the rows if that is asked for."""
    found: dict[str, list[tuple[int, Accuracy, Accuracy]]] = {name: [] for name in chosen}
    for name, seed, exact, integer in compared(data, models, chosen):
        found[name].append((seed, exact, integer))
    print("| | float % | integer % | points, 95 % | answers, net | float loss | integer loss |")
    print("|---" * 7 + "|")
    for name, results in found.items():
        one = row(name, chosen[name], results, data.test_labels)
        print(line(one), flush=True)
        if options.write:
            about = {"dataset": data.name, "arch": options.arch, "method": options.method, "epochs": options.epochs}
            with (RESULTS / "quantisation.jsonl").open("a", encoding="utf-8") as sink:
                sink.write(json.dumps(one | about | machine(), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
