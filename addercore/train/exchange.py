"""What the processes (ranks) of one training say to each other: gloo on processors, NCCL on GPUs, on one machine.

Everything is added up in the order of ranks, so that all ranks get the same bits, each time. The process group is this
run's own: torch's global one stays free for whoever calls `fit`.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from addercore.errors import RankLost

MEET_SECONDS: Final = 300
"""How long ranks that are ready wait for each other."""
PATIENCE: Final = timedelta(days=30)
"""Ranks wait while rank 0 validates, or is stopped by a debugger. One that ends closes its connections, which all
notice at once."""


class Exchange:
    """One rank's place among all. `addercore.nn.synced.Peers` for its normalisations.

    Attributes:
        rank: number of this process, from 0.
        ranks: how many there are.
        shares: images that each rank has of the batch at hand.
    """

    def __init__(self, rank: int, ranks: int, meet: Path, device: torch.device) -> None:
        """Waits for the others. `meet` is a file that they all name and that is not there yet; afterwards nobody needs
        it."""
        self.rank, self.ranks = rank, ranks
        self.shares: Sequence[int] = (1,)
        store = dist.FileStore(str(meet), ranks)  # type: ignore[attr-defined]
        store.set_timeout(timedelta(seconds=MEET_SECONDS))
        self._group = _safely(lambda: _group(store, rank, ranks, device))
        self.gather(torch.zeros(1, device=device))  # all have met

    def gather(self, values: Tensor) -> Tensor:
        """(ranks, *shape): the tensors `values` of all ranks, in the order of ranks."""
        flat = values.contiguous().view(-1)
        found = flat.new_empty(self.ranks * flat.numel())
        _safely(lambda: self._group._allgather_base(found, flat).wait())
        return found.view(self.ranks, *values.shape)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors of one type by their sums over all ranks: ((rank 0 + rank 1) + rank 2) + …

        Each rank adds up one part of the values and sends the others its sums.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        size = flat.numel()
        part = -(-size // self.ranks)
        mine = torch.nn.functional.pad(flat, (0, part * self.ranks - size))
        theirs = torch.empty_like(mine)
        _safely(lambda: self._group.alltoall_base(theirs, mine, [], []).wait())
        pieces = theirs.view(self.ranks, part)
        total = pieces[0].clone()
        for piece in pieces[1:]:
            total += piece
        _safely(lambda: self._group._allgather_base(mine, total).wait())
        parts = torch.split(mine[:size], [one.numel() for one in tensors])
        for tensor, values in zip(tensors, parts, strict=True):
            tensor.copy_(values.view(tensor.shape))


def _group(store: Any, rank: int, ranks: int, device: torch.device) -> Any:
    if device.type == "cuda":
        options = dist.ProcessGroupNCCL.Options()
        options._timeout = PATIENCE
        torch.cuda.set_device(device)
        return dist.ProcessGroupNCCL(store, rank, ranks, options)
    options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [dist.ProcessGroupGloo.create_device(interface="lo")]
    options._timeout = PATIENCE
    return dist.ProcessGroupGloo(store, rank, ranks, options)


def _safely(call: Callable[[], Any]) -> Any:
    """What `call` returns; a connection that breaks is a `RankLost`."""
    try:
        return call()
    except RuntimeError as error:
        raise RankLost(f"the connection between the processes of the training broke: {error}") from error
