"""Eqs. 12 and 13 against Algorithm 1 written out in float64, and what the optimizer owes its users."""

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore import Adder2d, AdderLinear, AdderSGD, build
from addercore.spec import network


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        Adder2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), AdderLinear(3 * 4 * 4, 4), nn.BatchNorm1d(4)
    ).double()


def batch(seed: int, images: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, 1, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(4, (images,), generator=generator)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adaptive", ["alr", "ilr", "none"])
def test_twenty_steps_of_algorithm_1(adaptive: str, nesterov: bool) -> None:
    lr, momentum, decay, eta = 0.01, 0.9, 5e-4, 0.2
    model, by_hand = small(), small()
    optimizer = AdderSGD(model, lr, momentum, nesterov, decay, adaptive, eta)  # type: ignore[arg-type]
    velocity: dict[str, Tensor] = {}
    for step in range(20):
        x, y = batch(step)
        optimizer.zero_grad()
        nnf.cross_entropy(model(x), y).backward()
        optimizer.step()

        by_hand.zero_grad()
        nnf.cross_entropy(by_hand(x), y).backward()
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                assert parameter.grad is not None
                update = parameter.grad.clone()
                if name in ("0.weight", "4.weight"):
                    norm = math.sqrt(sum(v * v for v in update.flatten().tolist()))
                    rates = {"alr": eta * math.sqrt(update.numel()) / max(norm, 1e-12), "ilr": 100.0, "none": 1.0}
                    update *= rates[adaptive]
                update += decay * parameter
                velocity[name] = momentum * velocity[name] + update if name in velocity else update.clone()
                parameter -= lr * (update + momentum * velocity[name] if nesterov else velocity[name])
    for (name, a), b in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=name)


def freeze_norms(model: nn.Module) -> None:
    """Batch statistics depend on the batch; with frozen ones a large batch is the sum of its parts."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()


def test_accumulated_gradients_equal_one_large_batch() -> None:
    x, y = batch(0, images=12)
    whole, parts = small(), small()
    freeze_norms(whole)
    freeze_norms(parts)
    optimizers = [AdderSGD(model, 0.1) for model in (whole, parts)]
    for _ in range(5):
        for optimizer in optimizers:
            optimizer.zero_grad()
        nnf.cross_entropy(whole(x), y).backward()
        for begin, end in ((0, 5), (5, 10), (10, 12)):
            (nnf.cross_entropy(parts(x[begin:end]), y[begin:end]) * (end - begin) / 12).backward()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


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


def test_state_and_schedulers_are_torch_s() -> None:
    model, other = small(), small()
    first, second = one_step(model), AdderSGD(other, 0.5, eta=0.9)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    assert second.param_groups[1]["eta"] == 0.1
    schedules = [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5) for optimizer in (first, second)]
    for candidate, optimizer, schedule in zip((model, other), (first, second), schedules, strict=True):
        optimizer.zero_grad()
        x, y = batch(1)
        nnf.cross_entropy(candidate(x), y).backward()
        optimizer.step()
        schedule.step()
        assert optimizer.param_groups[0]["lr"] == 0.05
    assert all(map(torch.equal, model.parameters(), other.parameters()))


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
