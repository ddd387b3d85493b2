"""Maximum-likelihood fits of Laplace and Gaussian distributions, in closed form and float64."""

from dataclasses import dataclass
from math import e, log, pi, sqrt
from typing import Final, Literal

import torch
from torch import Tensor

from addercore.analysis.statistics import NORMAL_LIMIT

Family = Literal["laplace", "gaussian"]
FAMILIES: Final[tuple[Family, ...]] = ("laplace", "gaussian")


@dataclass(frozen=True, slots=True)
class Fit:
    """`location` is the median (Laplace) or mean (Gaussian), `scale` b or σ; `log_likelihood` of all n values."""

    family: Family
    location: float
    scale: float
    log_likelihood: float
    ks: float  # Kolmogorov–Smirnov distance: the largest gap between the distributions' functions


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both fits. `z` is Vuong's statistic, the log-likelihood ratio over its standard error: > 0 favours Laplace."""

    laplace: Fit
    gaussian: Fit
    z: float
    n: int

    @property
    def better(self) -> Family | None:
        """The family with the larger likelihood; None if the 95 % interval of the ratio contains zero."""
        return None if abs(self.z) <= NORMAL_LIMIT else "laplace" if self.z > 0 else "gaussian"


def parameters(values: Tensor, family: Family) -> tuple[float, float]:
    """Maximum-likelihood location and scale: median and mean |x − median|, or mean and √mean (x − mean)²."""
    if family == "laplace":
        location = values.quantile(0.5).item() if values.numel() < 2**24 else values.median().item()
        return location, (values - location).abs().mean().item()
    location = values.mean().item()
    return location, sqrt((values - location).square().mean().item())


def log_density(values: Tensor, family: Family, location: float, scale: float) -> Tensor:
    """Laplace: −log 2b − |x − μ|/b. Gaussian: −log σ√(2π) − (x − μ)²/(2σ²)."""
    if family == "laplace":
        return -log(2 * scale) - (values - location).abs() / scale
    return -log(scale * sqrt(2 * pi)) - ((values - location) / scale).square() / 2


def distribution(values: Tensor, family: Family, location: float, scale: float) -> Tensor:
    """P(X ≤ x) for each value."""
    standard = (values - location) / scale
    if family == "gaussian":
        below: Tensor = torch.special.ndtr(standard)
        return below
    tail = torch.exp(-standard.abs()) / 2
    return torch.where(standard < 0, tail, 1 - tail)


def quantile(probabilities: Tensor, family: Family, location: float, scale: float) -> Tensor:
    """The inverse of `distribution`, for probabilities between 0 and 1."""
    if family == "gaussian":
        standard: Tensor = torch.special.ndtri(probabilities)
        return location + scale * standard
    centred = probabilities - 0.5
    return location - scale * centred.sign() * torch.log1p(-2 * centred.abs())


def fit(values: Tensor, family: Family) -> Fit:
    """`values` (n,) float64, not all equal."""
    location, scale = parameters(values, family)
    n = values.numel()
    likelihood = -n * log(2 * scale * e) if family == "laplace" else -n / 2 * log(2 * pi * e * scale**2)
    function = distribution(values.sort().values, family, location, scale)
    below = torch.arange(n, dtype=torch.float64) / n
    gap = torch.maximum(function - below, below + 1 / n - function).max().item()
    return Fit(family, location, scale, likelihood, gap)


def compare(weights: Tensor) -> Comparison:
    """Both fits of a layer's weights. Vuong, Econometrica 57 (1989): z = Σd / (√n · sd d), d = log f_L − log f_G."""
    values = weights.detach().cpu().double().flatten()
    laplace, gaussian = (fit(values, family) for family in FAMILIES)
    gain = log_density(values, "laplace", laplace.location, laplace.scale)
    gain = gain - log_density(values, "gaussian", gaussian.location, gaussian.scale)
    n = values.numel()
    spread = gain.std(correction=0).item()
    z = gain.sum().item() / (sqrt(n) * spread) if spread > 0 else 0.0
    return Comparison(laplace, gaussian, z, n)


def reshaped(weights: Tensor, family: Family) -> Tensor:
    """Replaces each weight by the value of the same rank in the fitted distribution of `family`; the order stays."""
    values = weights.detach().cpu().double().flatten()
    location, scale = parameters(values, family)
    ranks = torch.empty_like(values)
    ranks[values.argsort(stable=True)] = torch.arange(values.numel(), dtype=torch.float64)
    probabilities = (ranks + 0.5) / values.numel()
    return quantile(probabilities, family, location, scale).view(weights.shape).to(weights.dtype)
