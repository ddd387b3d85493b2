"""`python -m addercore.train.rank_process < ORDER`: rank 1 or higher of a training, see `addercore.train.ranks`."""

import io
import json
import mmap
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from addercore.config import DATASETS, DatasetInfo, TrainConfig, register
from addercore.data import opened
from addercore.errors import RankLost
from addercore.lifeline import die_when_closed
from addercore.networks import build_for
from addercore.train.batches import Batches, Shard
from addercore.train.distillation import load_teacher
from addercore.train.exchange import Exchange
from addercore.train.isolation import isolated
from addercore.train.loader import FAILED, OUT_OF_MEMORY, Loader
from addercore.train.ranks import PEER_LOST
from addercore.train.stepping import Stepper


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # rank 0's business: this ends with it
        signal.signal(number, signal.SIG_IGN)
    order = json.load(sys.stdin)
    die_when_closed(order["lifeline"], group=False)
    try:
        _train(order)
    except RankLost:
        return PEER_LOST
    except MemoryError:
        traceback.print_exc()
        return OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001  (told to rank 0, whose error it becomes)
        traceback.print_exc()
        return _failed(order, error)
    return 0


def _tell(order: dict[str, Any], said: dict[str, Any]) -> None:
    os.write(order["tell"], json.dumps(said).encode() + b"\n")


def _failed(order: dict[str, Any], error: Exception) -> int:
    number = error.errno if isinstance(error, OSError) else None
    told = str(error) if number is None else f"{os.strerror(number)}: {getattr(error, 'filename', None)}"
    _tell(order, {"kind": type(error).__name__, "message": f"rank {order['rank']}: {told}", "errno": number})
    return FAILED


def _train(order: dict[str, Any]) -> None:
    info = DatasetInfo.from_dict(order["dataset"])
    if info.name not in DATASETS:
        register(info)
    config = TrainConfig.from_dict(order["config"])
    rank, processes = order["rank"], order["processes"]
    device = torch.device("cuda", rank) if order["device"] == "cuda" else torch.device("cpu")
    with isolated(config.seed, device, order["threads"]):
        stepper = _stepper(order, config, device, Shard(rank, processes))
        _tell(order, {"ready": True})
        stepper.join(Exchange(rank, processes, Path(order["meet"]), device))
        _steps(stepper, order["epoch"], order["step_in_epoch"], order["loader_workers"])
        signal.pause()  # rank 0 ends this process; until then its connections stay open


def _stepper(order: dict[str, Any], config: TrainConfig, device: torch.device, shard: Shard) -> Stepper:
    backend = order["backend"]
    model = build_for(config, backend).to(device)
    teacher = load_teacher(config, None if order["teacher"] is None else Path(order["teacher"]), device, backend)
    images = opened(order["source"])
    batches = Batches(images if order["loader_workers"] else images.to(device), config, device, shard)
    stepper = Stepper(config, model, batches, device, teacher)
    # The ranks inherit one descriptor with one place in the file, so each maps the file for itself.
    with mmap.mmap(order["state"], 0, access=mmap.ACCESS_READ) as content:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    stepper.optimizer.load_state_dict(state["optimizer"])
    return stepper


def _steps(stepper: Stepper, epoch: int, step: int, loader_workers: int) -> None:
    """All steps from the given one of an epoch to the last one of the run."""
    config, batches = stepper.config, stepper.batches
    loader = None
    if loader_workers:
        loader = Loader.of_training(batches, loader_workers, epoch, step * config.optimizer.accumulate)
    take = None if loader is None else loader.take
    for later in range(epoch, config.epochs):
        order = batches.permutation(later)
        for number in range(step if later == epoch else 0, batches.steps_per_epoch):
            stepper.step(later, number, order, take)


if __name__ == "__main__":
    sys.exit(main())
