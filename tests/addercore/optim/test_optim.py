"""What the optimizer owes its users as one of torch's: state, groups, schedules, hooks, closures, plain errors.

Its numbers: test_core_optim_algorithm1.py (the equations), _uses.py and _parallel.py (accumulation, scaling, DDP).
"""

import math
import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from addercore import AdderLinear, AdderSGD, build
from addercore.arch import network
from tests.addercore.optim.optim_cases import batch, small, values

pytestmark = pytest.mark.bits


def one_step(model: nn.Module, scale: float = 1.0, **options: object) -> AdderSGD:
    optimizer = AdderSGD(model, 0.1, **options)  # type: ignore[arg-type]
    x, y = batch(0)
    (nnf.cross_entropy(model(x), y) * scale).backward()
    optimizer.step()
    return optimizer


def test_local_rates_and_norms_are_told_and_gradients_are_left() -> None:
    model = small()
    optimizer = one_step(model, eta=0.1)
    norm = model[0].weight.grad.norm().item()  # type: ignore[union-attr]
    assert optimizer.grad_norms()["0"] == pytest.approx(norm, rel=1e-12)
    assert optimizer.local_rates()["0"] == pytest.approx(0.1 * math.sqrt(27) / norm, rel=1e-12)
    assert set(optimizer.grad_norms()) == set(optimizer.local_rates()) == {"0", "4"}


def test_vanishing_gradient_is_clamped() -> None:
    model = small()
    optimizer = AdderSGD(model, 0.1, weight_decay=0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.step()
    assert all(map(torch.equal, before, model.parameters()))
    assert optimizer.local_rates()["0"] == pytest.approx(0.1 * math.sqrt(27) / 1e-12)


def test_clipping_bounds_the_scaled_gradient() -> None:
    model, before = small(), small()
    one_step(model, clip_norm=0.01, weight_decay=0.0, momentum=0.0, nesterov=False)
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), before.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-9)


def train(model: nn.Module, optimizer: AdderSGD, steps: range, schedule: Any = None) -> None:
    for step in steps:
        optimizer.zero_grad()
        x, y = batch(step)
        nnf.cross_entropy(model(x), y).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


SCHEDULES: dict[str, Any] = {
    "none": None,
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20),
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=20),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("options", [{}, {"adaptive_lr": "ilr", "clip_norm": 0.5}])
def test_a_run_continued_from_its_state_has_the_same_bits(name: str, options: dict[str, Any]) -> None:
    make = SCHEDULES[name] or (lambda _optimizer: None)
    model, other = small(), small()
    whole, first = AdderSGD(model, 0.1, **options), AdderSGD(other, 0.1, **options)
    train(model, whole, range(20), make(whole))
    schedule = make(first)
    train(other, first, range(9), schedule)
    saved = deepcopy((other.state_dict(), first.state_dict(), schedule and schedule.state_dict()))

    fresh = small()
    second = AdderSGD(fresh, 0.7, eta=0.9, **({"clip_norm": 0.5} if "clip_norm" in options else {}))
    schedule = make(second)
    fresh.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    if schedule is not None:
        schedule.load_state_dict(saved[2])
    train(fresh, second, range(9, 20), schedule)
    assert all(map(torch.equal, model.state_dict().values(), fresh.state_dict().values()))
    assert second.param_groups[1]["eta"] == 0.1


def test_schedules_set_the_global_rate_of_both_groups() -> None:
    model = small()
    optimizer = AdderSGD(model, 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=20)
    plain = torch.optim.SGD(small().parameters(), 0.1, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(plain, 0.2, total_steps=20)
    for step in range(20):
        for key in ("lr", "momentum"):  # this schedule moves both
            assert [group[key] for group in optimizer.param_groups] == [plain.param_groups[0][key]] * 2
        train(model, optimizer, range(step, step + 1))
        plain.step()
        if step < 19:
            schedule.step()
            reference.step()


def gradients(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


def test_a_group_added_later_has_its_own_rate() -> None:
    model = small()
    added = nn.ModuleDict({"adder": AdderLinear(3, 2), "plain": nn.Linear(3, 2)}).double()
    optimizer = AdderSGD(model, 0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    optimizer.add_param_group({"params": [added["adder"].weight], "adaptive_lr": "alr", "eta": 0.3, "lr": 0.01})
    optimizer.add_param_group({"params": added["plain"].parameters()})
    assert [group["adaptive_lr"] for group in optimizer.param_groups] == ["none", "alr", "alr", "none"]
    assert optimizer.param_groups[3]["lr"] == 0.1
    before = values(added)
    gradients(model)
    gradients(added, 1)
    optimizer.step()
    after = values(added)
    assert (after["adder.weight"] - before["adder.weight"]).norm().item() == pytest.approx(0.01 * 0.3 * math.sqrt(6))
    torch.testing.assert_close(after["plain.weight"], before["plain.weight"] - 0.1 * added["plain"].weight.grad)
    assert "group 2, 0" in optimizer.local_rates()
    with pytest.raises(ValueError, match="adaptive_lr must be one of alr, ilr, none, got 'fast'"):
        optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "adaptive_lr": "fast"})
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [added["adder"].weight]})
    assert len(optimizer.param_groups) == 4


def test_a_closure_is_evaluated_once_with_gradients_on() -> None:
    model, reference = small(), small()
    optimizer = AdderSGD(model, 0.1)
    calls = 0

    def closure() -> float:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        x, y = batch(0)
        loss = nnf.cross_entropy(model(x), y)
        loss.backward()
        return loss.item()

    loss = optimizer.step(closure)
    train(reference, AdderSGD(reference, 0.1), range(1))
    assert calls == 1
    assert loss == pytest.approx(nnf.cross_entropy(small()(batch(0)[0]), batch(0)[1]).item())
    assert all(map(torch.equal, model.parameters(), reference.parameters()))


def test_hooks_of_a_step_run_once() -> None:
    plain = nn.Linear(2, 2)
    torch.optim.SGD(plain.parameters(), 0.1)  # from now on torch's own step runs hooks too
    model = small()
    optimizer = AdderSGD(model, 0.1)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    train(model, optimizer, range(1))
    assert seen == ["before", "after"]


@pytest.mark.parametrize("copy", [deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["copy", "pickle"])
def test_copies_go_on_alike(copy: Any) -> None:
    model = small()
    optimizer = AdderSGD(model, 0.1, clip_norm=0.5)
    train(model, optimizer, range(2))
    other, second = copy((model, optimizer))
    for candidate, its in ((model, optimizer), (other, second)):
        train(candidate, its, range(2, 4))
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert optimizer.local_rates() == second.local_rates()


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("decay", [0.0, 5e-4])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_gradients_stay_as_they_were(foreach: bool | None, decay: float, clip: float | None) -> None:
    model, reference = small(), small()
    optimizer, other = (AdderSGD(m, 0.1, weight_decay=decay, clip_norm=clip) for m in (model, reference))
    for group in optimizer.param_groups:
        group["foreach"] = foreach
    for step in range(3):
        gradients(model, step)
        gradients(reference, step)
        kept = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        grads = [p.grad for p in model.parameters()]
        optimizer.step()
        other.step()
        assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))
        assert all(map(torch.equal, kept, (p.grad for p in model.parameters())))
    assert all(map(torch.equal, model.parameters(), reference.parameters()))


def test_filters_of_two_layers_at_once_count_once() -> None:
    model = nn.Sequential(AdderLinear(3, 3), AdderLinear(3, 3)).double()
    model[1].weight = model[0].weight
    optimizer = AdderSGD(model, 0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    before = model[0].weight.detach().clone()
    gradients(model)
    optimizer.step()
    assert (model[0].weight - before).norm().item() == pytest.approx(0.1 * 0.1 * 3)


def test_parameters_without_a_gradient_stay() -> None:
    model = small()
    optimizer = AdderSGD(model, 0.1, clip_norm=1.0)
    before = values(model)
    optimizer.step()
    model[5].bias.grad = torch.ones_like(model[5].bias)
    optimizer.step()
    changed = [name for name, value in values(model).items() if not torch.equal(value, before[name])]
    assert changed == ["5.bias"]
    assert optimizer.local_rates() == {}


def test_the_norm_of_half_gradients_does_not_overflow() -> None:
    model = nn.Sequential(AdderLinear(64, 64)).half()
    optimizer = AdderSGD(model, 1.0, momentum=0.0, nesterov=False, weight_decay=0.0, eta=0.5)
    before = model[0].weight.detach().clone()
    model[0].weight.grad = torch.full_like(before, 3e4)  # norm 1.9e6, beyond fp16
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), before - 0.5, rtol=2e-3, atol=2e-3)
    assert optimizer.grad_norms()["0"] == pytest.approx(3e4 * 64, rel=1e-3)


def test_sparse_gradients_and_complex_parameters_are_refused() -> None:
    class WithTable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adder, self.table = AdderLinear(2, 2), nn.Embedding(5, 2, sparse=True)

    model = WithTable()
    optimizer = AdderSGD(model, 0.1)
    model.adder(model.table(torch.tensor([1, 3]))).sum().backward()
    with pytest.raises(ValueError, match=r"parameter 0 of group 0 has the layout torch\.sparse_coo"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"complex type torch\.complex64"):
        optimizer.add_param_group({"params": [torch.zeros(2, dtype=torch.complex64, requires_grad=True)]})
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize(("option", "value"), [("adaptive_lr", "best"), ("eta", 0), ("clip_norm", -1)])
def test_wrong_options_are_named(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        AdderSGD(small(), 0.1, **{option: value})  # type: ignore[arg-type]


def test_a_network_without_adders_trains_as_plain_sgd() -> None:
    net = network("lenet5_bn", (1, 32, 32), 10)
    model, plain = (build(net, "conv", seed=1) for _ in range(2))
    ours = AdderSGD(model, 0.1)
    torchs = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    x, y = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 3, 4])
    for candidate, optimizer in ((model, ours), (plain, torchs)):
        nnf.cross_entropy(candidate(x), y).backward()
        optimizer.step()
    assert all(map(torch.equal, model.parameters(), plain.parameters()))
    assert ours.local_rates() == {}
    assert list(ours.grad_norms()) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
