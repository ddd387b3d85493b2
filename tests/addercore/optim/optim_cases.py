"""What the tests of the optimizer share: a small float64 network, batches, eq. 13 by hand, the authors' placement."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore import Adder2d, AdderLinear

FILTERS = ("0.weight", "4.weight")  # names of the adder filters of `small`
Values = dict[str, Tensor]


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        Adder2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), AdderLinear(3 * 4 * 4, 4), nn.BatchNorm1d(4)
    ).double()


def batch(seed: int, count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(4, (count,), generator=generator)


def freeze_norms(model: nn.Module) -> None:
    """Batch statistics depend on the batch; with frozen ones a large batch is the sum of its parts.

    Frozen at those of some batch: at their initial 0 and 1 every adder output, ≤ 0, would die in the ReLU.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(batch(99, 32)[0])
    for norm in norms:
        norm.eval()


def values(model: nn.Module) -> Values:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def mean_gradients(model: nn.Module, shards: Iterable[tuple[Tensor, Tensor]]) -> Values:
    """ΔL of the mean over all images, as float64 sums of the shards' gradients."""
    parts = [(x, y) for x, y in shards]
    images = sum(len(x) for x, _ in parts)
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()}
    for x, y in parts:
        loss = nnf.cross_entropy(model(x), y)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        for name, grad in zip(total, grads, strict=True):
            total[name] += grad.double() * len(x) / images
    return total


def eq13(before: Values, gradients: Values, lr: float, eta: float = 0.1) -> Values:
    """Eqs. 12 and 13 on the whole gradient, without weight decay and momentum."""
    result = {}
    for name, value in before.items():
        update = gradients[name].double()
        if name in FILTERS:
            norm = math.sqrt(math.fsum((update * update).flatten().tolist()))
            update = eta * math.sqrt(update.numel()) / norm * update
        result[name] = value.double() - lr * update
    return result


def inside_backward(model: nn.Module, eta: float = 0.1) -> torch.optim.SGD:
    """Eq. 13 where the authors' code has it: on every gradient that backward delivers, before anything adds it up."""

    def normalised(grad: Tensor) -> Tensor:
        return eta * grad.numel() ** 0.5 * grad / grad.norm().clamp_min(1e-12)

    for name, parameter in model.named_parameters():
        if name.removeprefix("module.") in FILTERS:
            parameter.register_hook(normalised)
    return torch.optim.SGD(model.parameters(), lr=0.1)


def assert_close(got: Values, want: Values, rtol: float = 1e-9) -> None:
    for name, value in want.items():
        torch.testing.assert_close(got[name].double(), value.double(), rtol=rtol, atol=1e-12, msg=name)


def furthest(got: Values, want: Values, before: Values) -> float:
    """How far the filters' update is from the wanted one, relative to the wanted one's size; the worst layer's."""
    return max(((got[name] - want[name]).norm() / (want[name] - before[name]).norm()).item() for name in FILTERS)
