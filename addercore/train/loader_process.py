"""`python -m addercore.train.loader_process ORDER`: makes every n-th batch of a run, see `addercore.train.loader`."""

import itertools
import json
import signal
import sys
from typing import Any

import torch

from addercore.spec import TrainConfig
from addercore.train.batches import Batches
from addercore.train.loader import OUT_OF_MEMORY, shared


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # the training's business: this ends with its pipe
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        _make(json.loads(sys.argv[1]))
    except BrokenPipeError:
        return 0  # the training has ended
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


def _make(order: dict[str, Any]) -> None:
    batches = Batches(shared(order["examples"], tuple(order["shape"])), TrainConfig.from_dict(order["config"]))
    permuted, permutation = -1, torch.empty(0)
    with open(order["pipe"], "wb", buffering=0) as pipe:
        for epoch, index in itertools.islice(
            batches.from_place(*order["place"]), order["number"], None, order["workers"]
        ):
            if epoch != permuted:
                permuted, permutation = epoch, batches.permutation(epoch)
            left = batches.images(epoch, permutation, index).contiguous().numpy().data.cast("B")
            while left:
                left = left[pipe.write(left) :]


if __name__ == "__main__":
    sys.exit(main())
