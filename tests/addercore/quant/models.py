"""Small models with normalisations that have seen images, and images for them. Nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from addercore.arch import network
from addercore.io import Model
from addercore.networks import build
from addercore.quant.graph import Layer
from addercore.runtime.program import Adder, Program, Window

SHAPES: dict[str, tuple[int, int, int]] = {
    "lenet5_bn": (1, 32, 32),
    "lenet5_bn_2d": (1, 32, 32),
    "vgg_small": (3, 8, 8),
    "resnet20": (3, 8, 8),
    "resnet32": (3, 8, 8),
    "resnet18": (3, 32, 32),
    "resnet50": (3, 32, 32),
    "resnet50_v1.5": (3, 32, 32),
    "alexnet": (3, 21, 21),
    "mobilenet_v2": (3, 32, 32),
    "custom": (1, 16, 16),
}


OWN: list[dict[str, Any]] = [
    {"kind": "conv", "filters": 8},
    {"kind": "max_pool", "size": 2},
    {"kind": "residual", "layers": [{"kind": "depthwise", "stride": 2}, {"kind": "conv", "filters": 12, "kernel": 1}]},
    {"kind": "residual", "layers": [{"kind": "conv", "filters": 12, "groups": 4, "relu": False}]},
    {"kind": "avg_pool"},
    {"kind": "linear", "features": 9},
]
"""A network with every kind of layer."""


def images_for(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def model_of(
    arch: str = "lenet5_bn",
    method: str = "adder",
    first_last: str = "adder",
    classes: int = 4,
    shape: tuple[int, int, int] | None = None,
    seen: int = 4,
) -> Model:
    """A model with drawn weights, whose running statistics are those of `seen` noise images, and some γ < 0."""
    shape = SHAPES[arch] if shape is None else shape
    layers = OWN if arch == "custom" else None
    net = network(arch, shape, classes, layers)
    module = build(net, method, first_last, seed=1)
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None
            with torch.no_grad():
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * 0.3 + 1)
                part.weight[0] *= -1
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.3)
    channels = shape[0]
    manifest = {
        "format": 1,
        "network": {
            "arch": arch, "method": method, "first_last": first_last, "gradient": "full_precision",
            "input_shape": list(shape), **({} if layers is None else {"layers": layers}),
        },
        "preprocessing": {
            "channels": channels, "resize": list(shape[1:]), "interpolation": "bilinear", "range": [0.0, 1.0],
            "mean": [0.4] * channels, "std": [0.25] * channels,
        },
        "classes": [str(number) for number in range(classes)],
        "dataset": "digits", "config": {}, "metrics": {},
    }  # fmt: skip
    model = Model(net, module, manifest)
    pixels = torch.from_numpy(images_for(shape, seen, seed=9)).float() / 255
    module.train()
    with torch.no_grad():
        module((pixels - 0.4) / 0.25)
    module.eval()
    return model


def layer_of(weight: torch.Tensor, window: Window | None = None, kind: Any = "adder") -> Layer:
    """One layer with a normalisation that changes nothing."""
    ones = torch.ones(len(weight), dtype=torch.float64)
    found = Window((weight.shape[2], weight.shape[3])) if window is None else window
    return Layer("layer", kind, 0, 1, weight, found, ones, torch.zeros_like(ones))


def only_powers_of_two(program: Program) -> None:
    """No multiplier of the program is anything else, and no operation is without one."""
    for operation in program.operations:
        rescale = getattr(operation, "rescale", None)
        if rescale is None:
            continue
        factors = [*rescale.multiplier.tolist(), rescale.residual_multiplier]
        if isinstance(operation, Adder) and operation.clipping is not None:
            factors += operation.clipping.excess_multiplier.tolist()
        for factor in factors:
            assert abs(factor) & (abs(factor) - 1) == 0, f"{operation.name}: {factor}"
        assert any(factors)
