"""`python -m benchmarks.data [--write]`: whether data keep up with training.

- `decoding`: a folder of synthetic photographs, 500×375 as ImageNet's mostly are, read as a training of ImageNet reads
  it (random part, 224×224), by no, one, two and four loader processes.
- `augmenting`: batches of CIFAR's size made on the device from bytes that live there.
- `training`: how long a step of ResNet-18 (photographs) and ResNet-20 (CIFAR's size) waits for its images.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch
import torch.nn.functional as nnf

from addercore import TrainConfig, build
from addercore.config.train import Augment
from addercore.data import Source, Stored
from addercore.data.folder import scan
from addercore.devices import resolve_device
from addercore.train.batches import Batches
from addercore.train.loader import Loader
from benchmarks.rows import RESULTS, Row, table, write

PHOTOGRAPH: Final = (500, 375)  # width, height
PROCESSES: Final = (0, 1, 2, 4)
NETWORKS: Final = {"resnet18": ("imagenet", 16), "resnet20": ("cifar10", 128)}
"""Dataset whose images it is trained on, images in a batch."""
VERSIONS: Final = ("python", "adderworks", "torch", "numpy")


def photographs(folder: Path, images: int) -> Source:
    """Smooth noise with some grain, so that a JPEG is of a photograph's size (some 50 KiB)."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "class").mkdir()
    for number in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(PHOTOGRAPH, Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-12, 13, smooth.shape, dtype=np.int16)
        picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / "class" / f"{number}.JPEG", quality=85)
    return scan(folder, ["class"], (3, 224, 224))


def cifar(images: int) -> Source:
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    return Stored(pixels, torch.randint(0, 10, (images,)))


def config(arch: str, **changes: object) -> TrainConfig:
    dataset, batch = NETWORKS[arch]
    spec = {"model": {"arch": arch, "method": "conv"}, "dataset": {"name": dataset}, "batch_size": batch}
    return TrainConfig.from_dict({**spec, "epochs": 1000, **changes})


class Feed:
    """Batches for a training, one after the other, and the time that was spent waiting for each."""

    def __init__(self, batches: Batches, processes: int) -> None:
        self.batches, self.places = batches, batches.from_position(0, 0)
        self.loader = Loader.of_training(batches, processes, 0, 0) if processes else None
        self.epoch, self.order = -1, torch.empty(0)

    def pixels(self) -> tuple[torch.Tensor, int, int]:
        epoch, index = next(self.places)
        if self.loader is not None:
            return self.loader.take(), epoch, index
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self.batches.permutation(epoch)
        return self.batches.pixels(epoch, self.order, index), epoch, index

    def close(self) -> None:
        if self.loader is not None:
            self.loader.close()


def decoding(source: Source, rounds: int, seconds: float) -> Iterator[Row]:
    settings = {"batch": 32, "image": list(PHOTOGRAPH), "gives": [224, 224], "pillow": version("pillow")}
    for processes in PROCESSES:
        load = os.getloadavg()
        feed = Feed(Batches(source, config("resnet18", batch_size=32), torch.device("cpu")), processes)
        rates, costs = [], []
        try:
            for _ in range(1 + 2 * max(processes, 1)):
                feed.pixels()  # what was made ahead of time before anybody asked
            for _ in range(rounds):
                began, spent, images = time.perf_counter(), time.process_time(), 0
                while time.perf_counter() - began < seconds:
                    images += len(feed.pixels()[0])
                rates.append(images / (time.perf_counter() - began))
                costs.append(1e3 * (time.process_time() - spent) / images)
        finally:
            feed.close()
        yield Row("decoding", f"{processes} loader processes", "images/s", rates, load, settings)
        # Without processes this one decodes; with them it only takes the bytes over.
        what = "taking over an image" if processes else "decoding an image"
        yield Row("CPU of the training process", f"{what}, {processes} loader processes", "ms", costs, load, settings)


def augmenting(device: torch.device, rounds: int, seconds: float) -> Iterator[Row]:
    source = cifar(10_000).to(device)
    for augment in get_args(Augment):
        load = os.getloadavg()
        batches = Batches(source, config("resnet20", batch_size=256, augment=augment), device)
        order = batches.permutation(0)
        rates = []
        for _ in range(rounds):
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                batches.images(batches.pixels(0, order, done % batches.per_epoch), 0, done)
                done += 1
                _synchronise(device)
            rates.append(256 * done / (time.perf_counter() - began))
        settings = {"batch": 256, "threads": torch.get_num_threads(), "on": device.type}
        yield Row("augmenting", augment, "images/s", rates, load, settings)


def training(arch: str, source: Source, device: torch.device, rounds: int, seconds: float) -> Iterator[Row]:
    """Speed, and the share of its time that a training spends until it has its next batch on the device."""
    chosen = config(arch)
    for processes in PROCESSES[:3]:
        load = os.getloadavg()
        model = build(chosen.network(), "conv", seed=0).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        batches = Batches(source if processes else source.to(device), chosen, device)
        feed = Feed(batches, processes)
        rates, shares = [], []
        try:
            _step(model, optimizer, feed, device)
            for _ in range(rounds):
                began, waited, images = time.perf_counter(), 0.0, 0
                while time.perf_counter() - began < seconds:
                    waited += _step(model, optimizer, feed, device)
                    images += chosen.batch_size
                took = time.perf_counter() - began
                rates.append(images / took)
                shares.append(100 * waited / took)
        finally:
            feed.close()
        settings = {"batch": chosen.batch_size, "threads": torch.get_num_threads(), "on": device.type}
        variant = f"{arch} conv, {processes} loader processes"
        yield Row("training", variant, "images/s", rates, load, settings)
        yield Row("training waits for data", variant, "%", shares, load, settings)


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, feed: Feed, device: torch.device) -> float:
    """One step; the seconds until its images lay on the device, augmented."""
    began = time.perf_counter()
    images = feed.batches.images(*feed.pixels())
    _synchronise(device)
    waited = time.perf_counter() - began
    optimizer.zero_grad(set_to_none=True)
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)  # any will do: only time is looked at
    nnf.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    _synchronise(device)
    return waited


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="append rows to benchmarks/results/data.jsonl")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each round")
    parser.add_argument("--images", type=int, default=500, help="photographs made for it")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, rounds, seconds = resolve_device(arguments.device), arguments.rounds, arguments.seconds
    with tempfile.TemporaryDirectory(prefix="photographs-") as name:
        folder = photographs(Path(name), arguments.images)
        rows = [
            *decoding(folder, rounds, seconds),
            *augmenting(device, rounds, seconds),
            *training("resnet18", folder, device, rounds, seconds),
            *training("resnet20", cifar(10_000), device, rounds, seconds),
        ]
    print(table(rows))
    if arguments.write:
        write(rows, RESULTS / "data.jsonl", VERSIONS)


if __name__ == "__main__":
    main()
