"""Twenty steps of Algorithm 1, written out from the paper's equations in float64: no autograd, nothing of the library.

The network is the paper's pattern at its smallest: adder layer, batch normalisation, ReLU, fully connected adder layer,
batch normalisation, softmax and cross entropy.
"""

import math
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore import Adder2d, AdderLinear, AdderSGD

pytestmark = pytest.mark.bits

CLASSES, SIZE, FILTERS, WINDOW = 4, 6, 3, 3
PLACES = SIZE - WINDOW + 1
EPS = 1e-5  # batch normalisation
Values = dict[str, Tensor]


def adder(x: Tensor, filters: Tensor) -> Tensor:
    """Eq. 2: Y(n, f, i, j) = −Σ_cab |X(n, c, i + a, j + b) − F(f, c, a, b)|."""
    y = torch.zeros(len(x), len(filters), PLACES, PLACES, dtype=torch.float64)
    for a in range(WINDOW):
        for b in range(WINDOW):
            difference = x[:, None, :, a : a + PLACES, b : b + PLACES] - filters[None, :, :, a, b, None, None]
            y -= difference.abs().sum(2)
    return y


def adder_filter_gradient(g: Tensor, x: Tensor, filters: Tensor, sign: bool) -> Tensor:
    """Eq. 5, ∂Y/∂F = X − F, or eq. 4, sgn(X − F), and the chain rule."""
    result = torch.zeros_like(filters)
    for a in range(WINDOW):
        for b in range(WINDOW):
            difference = x[:, None, :, a : a + PLACES, b : b + PLACES] - filters[None, :, :, a, b, None, None]
            result[:, :, a, b] = (g[:, :, None] * (difference.sign() if sign else difference)).sum((0, 3, 4))
    return result


def linear(x: Tensor, filters: Tensor) -> Tensor:
    return -(x[:, None] - filters[None]).abs().sum(2)


def linear_filter_gradient(g: Tensor, x: Tensor, filters: Tensor, sign: bool) -> Tensor:
    difference = x[:, None] - filters[None]
    return (g[:, :, None] * (difference.sign() if sign else difference)).sum(0)


def linear_input_gradient(g: Tensor, x: Tensor, filters: Tensor) -> Tensor:
    """Eqs. 6 and 7: ∂Y/∂X = HT(F − X)."""
    return (g[:, :, None] * (filters[None] - x[:, None]).clamp(-1, 1)).sum(1)


def normalise(y: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (m, channels) → (γ x̂ + β, x̂, 1/σ), statistics over the rows."""
    mean = y.sum(0) / len(y)
    scale = 1 / (((y - mean) ** 2).sum(0) / len(y) + EPS).sqrt()
    centred = (y - mean) * scale
    return gamma * centred + beta, centred, scale


def normalise_backward(g: Tensor, centred: Tensor, scale: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(∂y, ∂γ, ∂β) of `normalise`."""
    d_gamma, d_beta = (g * centred).sum(0), g.sum(0)
    return gamma * scale * (g - d_beta / len(g) - centred * d_gamma / len(g)), d_gamma, d_beta


def rows(y: Tensor) -> Tensor:
    """(N, F, i, j) → (N·i·j, F)."""
    return y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])


def images(y: Tensor, count: int) -> Tensor:
    return y.reshape(count, PLACES, PLACES, -1).permute(0, 3, 1, 2)


def gradients(p: Values, x: Tensor, labels: Tensor, sign: bool) -> tuple[float, Values]:
    """(mean cross entropy, ΔL of every parameter)."""
    n = len(x)
    z1, centred1, scale1 = normalise(rows(adder(x, p["0.weight"])), p["1.weight"], p["1.bias"])
    hidden = images(z1.clamp_min(0), n).reshape(n, -1)
    z2, centred2, scale2 = normalise(linear(hidden, p["4.weight"]), p["5.weight"], p["5.bias"])
    exponentials = (z2 - z2.max(1, keepdim=True).values).exp()
    chances = exponentials / exponentials.sum(1, keepdim=True)
    right = torch.eye(CLASSES, dtype=torch.float64)[labels]
    loss = -(chances * right).sum(1).log().sum() / n

    d: Values = {}
    g2, d["5.weight"], d["5.bias"] = normalise_backward((chances - right) / n, centred2, scale2, p["5.weight"])
    d["4.weight"] = linear_filter_gradient(g2, hidden, p["4.weight"], sign)
    g_hidden = linear_input_gradient(g2, hidden, p["4.weight"]).reshape(n, FILTERS, PLACES, PLACES)
    g_z1 = rows(g_hidden) * (z1 > 0)
    g1, d["1.weight"], d["1.bias"] = normalise_backward(g_z1, centred1, scale1, p["1.weight"])
    d["0.weight"] = adder_filter_gradient(images(g1, n), x, p["0.weight"], sign)
    return loss.item(), d


@dataclass
class Algorithm1:
    """The update: eq. 12 with α_l by eq. 13, and SGD's weight decay and momentum behind it."""

    adaptive: str
    nesterov: bool
    eta: float = 0.2
    momentum: float = 0.9
    decay: float = 5e-4
    velocity: Values = field(default_factory=dict)

    def step(self, p: Values, d: Values, lr: float) -> None:
        for name, value in p.items():
            update = d[name]
            if name in ("0.weight", "4.weight"):
                norm = math.sqrt(math.fsum(v * v for v in update.flatten().tolist()))
                alpha = {"alr": self.eta * math.sqrt(update.numel()) / norm, "ilr": 100.0, "none": 1.0}[self.adaptive]
                update = alpha * update
            update = update + self.decay * value
            before = self.velocity.get(name)
            self.velocity[name] = update if before is None else self.momentum * before + update
            value -= lr * (update + self.momentum * self.velocity[name] if self.nesterov else self.velocity[name])


def batch(seed: int, count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (count,), generator=generator)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("gradient", ["full_precision", "sign"])
@pytest.mark.parametrize("adaptive", ["alr", "ilr", "none"])
def test_twenty_steps_follow_the_equations(adaptive: str, gradient: str, nesterov: bool) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(
        Adder2d(1, FILTERS, WINDOW, gradient=gradient),  # type: ignore[arg-type]
        nn.BatchNorm2d(FILTERS, eps=EPS),
        nn.ReLU(),
        nn.Flatten(),
        AdderLinear(FILTERS * PLACES**2, CLASSES, gradient=gradient),  # type: ignore[arg-type]
        nn.BatchNorm1d(CLASSES, eps=EPS),
    ).double()
    by_hand = {name: value.detach().clone() for name, value in model.named_parameters()}
    algorithm = Algorithm1(adaptive, nesterov)
    optimizer = AdderSGD(model, 0.01, 0.9, nesterov, 5e-4, adaptive, 0.2)  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for step in range(20):
        x, labels = batch(step)
        optimizer.zero_grad()
        loss = nnf.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        schedule.step()

        loss_by_hand, d = gradients(by_hand, x, labels, gradient == "sign")
        algorithm.step(by_hand, d, 0.01 * (1 + math.cos(math.pi * step / 20)) / 2)
        assert loss.item() == pytest.approx(loss_by_hand, rel=1e-9), step
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach(), by_hand[name], rtol=1e-9, atol=1e-11, msg=f"{step} {name}")
