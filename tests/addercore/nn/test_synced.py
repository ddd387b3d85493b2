"""Batch normalisation over several ranks: the statistics, outputs and gradients of the whole batch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addercore.nn import Adder2d, FusingSequential, ResidualBlock
from addercore.nn.synced import combine, synchronise
from addercore.train.batches import Shard
from tests.support.ranks import Seat, Table

IMAGES = 12


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alone() -> nn.Module:
    """A convolution and its normalisation, which is called by itself, and then linear ones."""
    torch.manual_seed(0)
    parts = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5))
    return nn.Sequential(*parts).double()


def fused() -> nn.Module:
    """Adder layers, whose normalisations are parts of fused calls, one of them at the end of a residual block."""
    torch.manual_seed(0)
    body = FusingSequential(Adder2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
    first = (Adder2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    net = FusingSequential(*first, ResidualBlock(("body", body), None), nn.ReLU(), nn.Flatten())
    return net.double()


def learn(model: nn.Module, x: Tensor, wanted: Tensor, total: int) -> dict[str, Tensor]:
    """What comes out of a part of a batch, its gradients, and the running statistics afterwards."""
    x = x.clone().requires_grad_()
    z = model.train()(x)
    ((z - wanted) ** 2).sum().div(total).backward()
    assert x.grad is not None
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"z": z.detach(), "x": x.grad, **grads, **dict(model.named_buffers())}


@pytest.mark.parametrize("make", [alone, fused])
@pytest.mark.parametrize("ranks", [2, 3, 5])  # 12 images: equal parts, and of 2, 2, 3, 2 and 3
def test_parts_give_what_the_whole_batch_gives(make: Any, ranks: int) -> None:
    x = seeded(IMAGES, 2, 6, 6)
    whole = make()
    wanted = seeded(*whole(x).shape, seed=1)
    expected = learn(make(), x, wanted, IMAGES)
    table = Table(ranks)
    models = [make() for _ in range(ranks)]

    def work(rank: int) -> dict[str, Tensor]:
        seat, shard = Seat(table, rank), Shard(rank, ranks)
        seat.shares = shard.sizes(IMAGES)
        synchronise(models[rank], seat)
        return learn(models[rank], x[shard.part(IMAGES)], wanted[shard.part(IMAGES)], IMAGES)

    found = table.run(work)
    parameters = dict(whole.named_parameters())
    for name, value in expected.items():
        if name in ("z", "x"):
            got = torch.cat([part[name] for part in found])
        elif name in parameters:
            got = torch.stack([part[name] for part in found]).sum(0)
        else:
            got = found[0][name]
            assert all(torch.equal(got, part[name]) for part in found), f"{name} is the same on all ranks"
        torch.testing.assert_close(got, value, rtol=1e-10, atol=1e-10, msg=lambda said, name=name: f"{name}: {said}")
    for model in models:
        assert model.state_dict().keys() == whole.state_dict().keys()


def test_a_batch_of_one_rank_alone_asks_nobody() -> None:
    x = seeded(3, 2, 6, 6)
    plain, mine = alone(), alone()
    seat = Seat(Table(2), 0)  # of two, and the other one never comes
    seat.shares = Shard(0, 2).sizes(3)
    assert seat.shares == [3]
    synchronise(mine, seat)
    assert torch.equal(mine.train()(x), plain.train()(x))
    seat.shares = (2, 2)
    assert torch.equal(mine.eval()(x), plain.eval()(x)), "nor does an evaluation"


def test_moments_are_combined_by_the_number_of_images() -> None:
    values = seeded(7, 3)
    parts = values.split([2, 5])
    moments = torch.stack([torch.stack([part.mean(0), part.var(0, correction=0)]) for part in parts])
    mean, variance = combine(moments, [2, 5])
    torch.testing.assert_close(mean, values.mean(0))
    torch.testing.assert_close(variance, values.var(0, correction=0))
