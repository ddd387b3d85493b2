"""DistributedDataParallel: two processes take the step that eq. 13 gives for the mean of their gradients."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as nnf
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from addercore import AdderSGD
from tests.addercore.optim.optim_cases import (
    Values,
    assert_close,
    batch,
    eq13,
    freeze_norms,
    furthest,
    inside_backward,
    mean_gradients,
    small,
    values,
)

pytestmark = pytest.mark.bits

STEPS, SHARD = 3, 6


def shards(step: int) -> list[tuple[Tensor, Tensor]]:
    x, y = batch(step, 2 * SHARD)
    return [(x[:SHARD], y[:SHARD]), (x[SHARD:], y[SHARD:])]


def train(rank: int, folder: str, frozen: bool, authors: bool, steps: int) -> None:
    """One of the two processes; writes the parameters that it ends with."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = small()
    if frozen:
        freeze_norms(model)
    parallel = DistributedDataParallel(model)
    optimizer = (
        inside_backward(parallel)
        if authors
        else AdderSGD(parallel, 0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    )
    for step in range(steps):
        x, y = shards(step)[rank]
        optimizer.zero_grad()
        nnf.cross_entropy(parallel(x), y).backward()
        optimizer.step()
    torch.save(values(model), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def in_parallel(folder: Path, frozen: bool = False, authors: bool = False, steps: int = STEPS) -> Values:
    torch.multiprocessing.spawn(train, (str(folder), frozen, authors, steps), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first), "the processes drifted apart"
    return dict(first)


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.long("two processes import torch"))])
def test_two_processes_follow_eq_13_on_their_mean_gradient(tmp_path: Path, frozen: bool) -> None:
    reference, whole = small(), small()
    for model in (reference, whole):
        if frozen:
            freeze_norms(model)
    before = values(reference)
    for step in range(STEPS):
        for model, parts in ((reference, shards(step)), (whole, [batch(step, 2 * SHARD)])):
            after = eq13(values(model), mean_gradients(model, parts), 0.1)
            model.load_state_dict(after, strict=False)
    got = in_parallel(tmp_path, frozen)
    assert_close(got, values(reference))
    # One large batch is the same only where the statistics do not depend on the batch. (Synchronised ones would do as
    # well; torch's SyncBatchNorm needs a GPU.)
    if frozen:
        assert_close(got, values(whole))
    else:
        assert furthest(got, values(whole), before) > 0.01


@pytest.mark.long("two processes import torch")
def test_inside_backward_two_processes_average_normalised_pieces(tmp_path: Path) -> None:
    reference = small()
    before = values(reference)
    want = eq13(before, mean_gradients(reference, shards(0)), 0.1)
    assert furthest(in_parallel(tmp_path, authors=True, steps=1), want, before) > 0.1
