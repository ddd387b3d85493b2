"""Eq. 13 under gradient accumulation, loss scaling, autocast and clipping: always on the whole, unscaled gradient.

Beside each stands what the authors' placement, inside backward, makes of it.
"""

import math

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore import AdderSGD
from tests.addercore.optim.optim_cases import (
    FILTERS,
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

PLAIN = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
PARTS = ((0, 5), (5, 10), (10, 12))


def plain(model: nn.Module, **options: object) -> AdderSGD:
    return AdderSGD(model, 0.1, **(PLAIN | options))  # type: ignore[arg-type]


def parts() -> list[tuple[Tensor, Tensor]]:
    x, y = batch(0, 12)
    return [(x[begin:end], y[begin:end]) for begin, end in PARTS]


def accumulate(model: nn.Module) -> None:
    for x, y in parts():
        (nnf.cross_entropy(model(x), y) * len(x) / 12).backward()


def test_in_plain_training_both_placements_agree() -> None:
    ours, theirs = small(), small()
    for model, optimizer in ((ours, plain(ours)), (theirs, inside_backward(theirs))):
        x, y = batch(0)
        nnf.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert_close(values(ours), values(theirs))


@pytest.mark.parametrize("frozen", [True, False])
def test_accumulation_is_eq_13_on_the_sum(frozen: bool) -> None:
    model, reference = small(), small()
    if frozen:
        freeze_norms(model)
        freeze_norms(reference)
    before = values(model)
    want = eq13(before, mean_gradients(reference, parts()), 0.1)
    accumulate(model)
    plain(model).step()
    assert_close(values(model), want)

    whole = small()
    if frozen:
        freeze_norms(whole)
    x, y = batch(0, 12)
    nnf.cross_entropy(whole(x), y).backward()
    plain(whole).step()
    if frozen:
        assert_close(values(whole), want)
    else:  # other batches, other statistics: no sum of parts equals the whole
        assert furthest(values(whole), want, before) > 0.01


def test_inside_backward_accumulation_is_wrong() -> None:
    model, reference = small(), small()
    before = values(model)
    want = eq13(before, mean_gradients(reference, parts()), 0.1)
    optimizer = inside_backward(model)
    accumulate(model)
    optimizer.step()
    assert furthest(values(model), want, before) > 0.2
    for name in FILTERS:  # pieces of length η√k do not add up to that length
        moved = (values(model)[name] - before[name]).norm().item() / 0.1
        assert abs(moved / (0.1 * math.sqrt(before[name].numel())) - 1) > 0.2


def scaled_step(model: nn.Module, optimizer: torch.optim.Optimizer, unscale: bool, scale: float = 2.0**14) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    x, y = batch(0)
    scaler.scale(nnf.cross_entropy(model(x), y)).backward()
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}])
def test_a_loss_scaler_changes_nothing(unscale: bool, options: dict[str, object]) -> None:
    model, reference = small(), small()
    scaled_step(model, plain(model, **options), unscale)
    x, y = batch(0)
    nnf.cross_entropy(reference(x), y).backward()
    plain(reference, **options).step()
    assert all(map(torch.equal, model.parameters(), reference.parameters()))  # powers of two scale exactly


def test_inside_backward_the_scaler_shrinks_the_update_to_nothing() -> None:
    model, reference = small(), small()
    before = values(model)
    want = eq13(before, mean_gradients(reference, [batch(0)]), 0.1)
    scaled_step(model, inside_backward(model), unscale=False)
    for name in FILTERS:
        moved, wanted = values(model)[name] - before[name], want[name] - before[name]
        assert (moved.norm() / wanted.norm()).item() == pytest.approx(2.0**-14, rel=1e-6)


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_step_with_infinite_gradients_is_left_out(bad: float, unscale: bool) -> None:
    model = small()
    optimizer = AdderSGD(model, 0.1)
    x, y = batch(0)
    nnf.cross_entropy(model(x), y).backward()
    optimizer.step()
    before = values(model)
    velocity = {p: optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()}
    optimizer.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(nnf.cross_entropy(model(x), y)).backward()
    model[0].weight.grad[0, 0, 0, 0] = bad  # type: ignore[union-attr,index]
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], kept) for p, kept in velocity.items())


def test_under_autocast_the_update_is_eq_13_on_the_gradients() -> None:
    model = small().float()
    before = values(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    optimizer = plain(model)
    x, y = batch(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nnf.cross_entropy(model(x.float()), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    scaler.step(optimizer)
    assert_close(values(model), eq13(before, gradients, 0.1), rtol=1e-6)


def test_clipping_comes_after_the_local_rates() -> None:
    model, reference = small(), small()
    before = values(model)
    whole = eq13(before, mean_gradients(reference, [batch(0)]), 1.0)
    updates = {name: before[name] - whole[name] for name in before}
    norm = math.sqrt(sum((update.norm() ** 2).item() for update in updates.values()))
    x, y = batch(0)
    nnf.cross_entropy(model(x), y).backward()
    plain(model, clip_norm=norm / 4).step()
    assert_close(values(model), {name: before[name] - 0.1 * update / 4 for name, update in updates.items()})


def test_clipping_the_raw_gradient_does_nothing_to_adder_filters() -> None:
    clipped, free = small(), small()
    for model in (clipped, free):
        x, y = batch(0)
        nnf.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(clipped.parameters(), 1e-3)
    for model in (clipped, free):
        plain(model).step()
    for name in FILTERS:
        torch.testing.assert_close(values(clipped)[name], values(free)[name], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(values(clipped)["5.bias"], values(free)["5.bias"], rtol=1e-3)
