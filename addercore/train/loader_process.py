"""`python -m addercore.train.loader_process < ORDER`: makes every n-th batch of a run, see `addercore.train.loader`."""

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from addercore.config import DATASETS, DatasetInfo, TrainConfig, register
from addercore.data import opened
from addercore.errors import BadData
from addercore.train.batches import Batches, Shard
from addercore.train.loader import FAILED, OUT_OF_MEMORY


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # the training's business: this ends with its pipe
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    order = json.load(sys.stdin)
    try:
        _write(order)
    except BrokenPipeError:
        return 0  # the training has ended
    except MemoryError:
        return OUT_OF_MEMORY
    except BadData as error:
        return _failed(order, str(error), None)
    except OSError as error:
        return _failed(order, f"{error.strerror or error}: {error.filename}", error.errno)
    return 0


def _failed(order: dict[str, Any], message: str, errno: int | None) -> int:
    os.write(order["tell"], json.dumps({"message": message, "errno": errno}).encode())
    return FAILED


def _write(order: dict[str, Any]) -> None:
    made = _training(order) if "config" in order else _of_evaluation(order)
    with open(order["pipe"], "wb", buffering=0) as pipe:
        for batch in made:
            left = batch.contiguous().numpy().data.cast("B")
            while left:
                left = left[pipe.write(left) :]


def _mine(order: dict[str, Any], batches: Iterator[Any]) -> Iterator[Any]:
    return itertools.islice(batches, order["number"], None, order["workers"])


def _training(order: dict[str, Any]) -> Iterator[Tensor]:
    info = DatasetInfo.from_dict(order["dataset"])
    if info.name not in DATASETS:
        register(info)
    config = TrainConfig.from_dict(order["config"])
    batches = Batches(opened(order["source"]), config, torch.device("cpu"), Shard(*order["shard"]))
    permuted, permutation = -1, torch.empty(0)
    for epoch, index in _mine(order, batches.from_position(*order["place"])):
        if epoch != permuted:
            permuted, permutation = epoch, batches.permutation(epoch)
        yield batches.pixels(epoch, permutation, index)


def _of_evaluation(order: dict[str, Any]) -> Iterator[Tensor]:
    source = opened(order["source"])
    for chosen in _mine(order, iter(torch.split(torch.arange(len(source)), order["size"]))):
        yield source.pixels(chosen)


if __name__ == "__main__":
    sys.exit(main())
