"""Builds torch modules from a network's one definition (`addercore.arch`), with the layers of any method."""

from collections import OrderedDict

import torch
from torch import nn

from addercore.arch import Network
from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Linear, MaxPool, Node, ReLU, Residual, Sequential
from addercore.arch.methods import check_method, realisation, realised
from addercore.config import TrainConfig
from addercore.nn import Adder2d, AdderLayer, AdderLinear, Binary2d, BinaryLinear, FusingSequential, ResidualBlock
from addercore.ops import GRADIENTS, Gradient


class _Builder:
    """Builds the modules of one network. `flat` says whether the values at this point are (N, features)."""

    def __init__(self, method: str, first_last: str, gradient: Gradient, backend: str | None) -> None:
        self.method, self.first_last, self.gradient, self.backend = method, first_last, gradient, backend

    def conv(self, layer: Conv) -> nn.Module:
        shape = (layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding, layer.dilation)
        kind = realisation(layer, self.method, self.first_last)
        if kind == "adder":
            return Adder2d(*shape, layer.groups, backend=self.backend, gradient=self.gradient)
        if kind == "conv":
            return nn.Conv2d(*shape, layer.groups, bias=False)
        return Binary2d(*shape, layer.groups, binary=kind)

    def linear(self, layer: Linear) -> nn.Module:
        kind = realisation(layer, self.method, self.first_last)
        if kind == "adder":
            return AdderLinear(layer.in_features, layer.out_features, backend=self.backend, gradient=self.gradient)
        if kind == "conv":
            return nn.Linear(layer.in_features, layer.out_features, bias=False)
        return BinaryLinear(layer.in_features, layer.out_features, binary=kind)

    def build(self, node: Node, flat: bool) -> tuple[nn.Module, bool]:
        """Returns the module, and whether its output is (N, features) rather than (N, c, H, W)."""
        match node:
            case Sequential():
                modules: OrderedDict[str, nn.Module] = OrderedDict()
                for child in node.children:
                    modules[child.name], flat = self.build(child, flat)
                return FusingSequential(modules), flat
            case Residual():
                body, after = self.build(node.body, flat)
                shortcut = None if node.shortcut is None else (node.shortcut.name, self.build(node.shortcut, flat)[0])
                return ResidualBlock((node.body.name, body), shortcut), after
            case Conv():
                return self.conv(node), False
            case Linear():
                return self.linear(node), True
            case BatchNorm():
                return (nn.BatchNorm1d if flat else nn.BatchNorm2d)(node.features), flat
            case ReLU():
                return nn.ReLU(), flat
            case MaxPool():
                return nn.MaxPool2d(node.size, node.stride, node.padding), flat
            case AvgPool():
                return nn.AdaptiveAvgPool2d(1), flat
            case Flatten():
                return nn.Flatten(), True


def build(
    net: Network,
    method: str = "adder",
    first_last: str = "adder",
    gradient: Gradient = "full_precision",
    backend: str | None = None,
    seed: int | None = None,
    *,
    init_scale: float = 1.0,
    batchnorm_momentum: float = 0.1,
) -> nn.Module:
    """Builds the torch module of a network, with freshly drawn weights.

    Adder filters are drawn from N(0, 1) and multiplied by `init_scale`. Convolutions, linear layers and the float
    weights of binary layers get torch's usual initialisation.

    Args:
        net: its definition, from `addercore.arch.network`.
        method: "adder", "conv", "bnn", "xnor" or "bwn": what computes in the place of each convolution and linear
            layer.
        first_last: layers at both ends: "adder" gives them the method's kind, "conv" keeps them as convolutions.
        gradient: "full_precision" (eq. 5) or "sign" (eq. 4), for the filters of adder layers.
        backend: name of the kernels of adder layers, as for `adder_conv2d`.
        seed: draws the weights from a generator of its own and leaves torch's as it was; None draws from torch's.
        init_scale: standard deviation of adder filters, > 0.
        batchnorm_momentum: share of a batch in the running statistics of batch normalisation, 0 to 1.

    Returns:
        A module that takes images (N, c, h, w) and gives class scores (N, classes).

    Raises:
        ValueError: an unknown method, gradient or backend, a method that does not go with `first_last`, or a number
            out of range.
    """
    check_method(method, first_last)
    if gradient not in GRADIENTS:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(GRADIENTS)}")
    if not init_scale > 0:
        raise ValueError(f"init_scale must be > 0, got {init_scale}")
    if not 0 <= batchnorm_momentum <= 1:
        raise ValueError(f"batchnorm_momentum must be 0 to 1, got {batchnorm_momentum}")
    builder, tree = _Builder(method, first_last, gradient, backend), realised(net, method, first_last).body
    if seed is None:
        module = builder.build(tree, False)[0]
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = builder.build(tree, False)[0]
    for part in module.modules():
        if isinstance(part, AdderLayer):
            part.weight.detach().mul_(init_scale)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = batchnorm_momentum
    return module


def build_for(config: TrainConfig, backend: str | None = None, seed: int | None = None) -> nn.Module:
    """The network that a training has before its first step.

    Args:
        config: the training; `init_from` is not read.
        backend: as for `build`.
        seed: as for `build`; `config.seed` is not looked at.

    Returns:
        As `build`.

    Raises:
        ValueError: an unknown backend.
    """
    part = config.model
    return build(
        config.network(),
        part.method,
        part.first_last,
        part.gradient,
        backend,
        seed,
        init_scale=part.init_scale,
        batchnorm_momentum=part.batchnorm_momentum,
    )
