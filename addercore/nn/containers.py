"""Containers that compute an adder layer and the layers after it in one fused call, with the same result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from addercore.nn.fusion import adder_norm
from addercore.nn.layers import Adder2d, AdderLinear
from addercore.nn.synced import SyncedNorm1d, SyncedNorm2d

_NORMS: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    Adder2d: (nn.BatchNorm2d, SyncedNorm2d),
    AdderLinear: (nn.BatchNorm1d, SyncedNorm1d),
}


def hooks_of(module: nn.Module) -> tuple[Mapping[int, object], ...]:
    """The hooks of a module itself, by kind."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def is_plain(module: nn.Module) -> bool:
    """Whether `module` has no hooks. A module with hooks is called by itself, so that they see its input and output."""
    return not any(hooks_of(module))


def no_global_hooks() -> bool:
    """Whether no global module hooks are registered."""
    return not _has_any_global_hook()  # type: ignore[no-untyped-call]


def _is_relu(modules: Sequence[nn.Module], at: int) -> bool:
    return at < len(modules) and type(modules[at]) is nn.ReLU and is_plain(modules[at])


def _is_normalized_adder(modules: Sequence[nn.Module], at: int) -> bool:
    """Whether an adder layer and its batch normalisation are at `at`. Subclasses do not count: they may differ."""
    norms = _NORMS.get(type(modules[at]), ())
    following = modules[at + 1] if norms and at + 1 < len(modules) else None
    return following is not None and type(following) in norms and is_plain(modules[at]) and is_plain(following)


def _is_pooling(modules: Sequence[nn.Module], at: int) -> bool:
    """Whether the maximum of 2×2 windows that do not overlap is at `at`."""
    module = modules[at] if at < len(modules) else None
    if type(module) is not nn.MaxPool2d or not is_plain(module) or module.return_indices or module.ceil_mode:
        return False
    return (
        module.kernel_size in (2, (2, 2))
        and module.stride in (2, (2, 2))
        and module.padding in (0, (0, 0))
        and module.dilation in (1, (1, 1))
    )


class Normalized(NamedTuple):
    """An adder layer with its normalisation, and with ReLU and 2×2 pooling where they follow: one fused call."""

    layer: Adder2d | AdderLinear
    norm: nn.BatchNorm1d | nn.BatchNorm2d
    relu: bool
    pool: bool


class Added(NamedTuple):
    """A residual block, and the ReLU where one follows."""

    block: "ResidualBlock"
    relu: bool


Part = Normalized | Added | nn.Module
"""What is computed at once; a module is called by itself."""


def parts(modules: Sequence[nn.Module]) -> Iterator[Part]:
    """What `modules` are computed as, in order."""
    at, fusing = 0, no_global_hooks()
    while at < len(modules):
        module = modules[at]
        at += 1
        if fusing and _is_normalized_adder(modules, at - 1):
            norm, relu = modules[at], _is_relu(modules, at + 1)
            at += 2 if relu else 1
            pool = type(module) is Adder2d and _is_pooling(modules, at)
            at += 1 if pool else 0
            yield Normalized(module, norm, relu, pool)  # type: ignore[arg-type]
        elif fusing and type(module) is ResidualBlock and is_plain(module):
            relu = _is_relu(modules, at)
            at += 1 if relu else 0
            yield Added(module, relu)
        else:
            yield module


def ends_open(part: Part) -> bool:
    """Whether an addition and a ReLU behind `part` can join its call: it ends with its normalisation."""
    return isinstance(part, Normalized) and not part.relu and not part.pool


def _run(modules: Sequence[nn.Module], x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
    """act(modules(x) + residual), with one fused call for each adder layer, its normalisation and what may follow."""
    *first, last = parts(modules) if modules else (nn.Identity(),)
    for part in first:
        x = computed(part, x)
    if isinstance(last, Normalized) and ends_open(last):
        return adder_norm(last.layer, last.norm, x, residual, relu)
    x = computed(last, x)
    if residual is not None:
        x = x + residual
    return torch.relu(x) if relu else x


def computed(part: Part, x: Tensor) -> Tensor:
    """The result of one part."""
    match part:
        case Normalized():
            return adder_norm(part.layer, part.norm, x, None, part.relu, part.pool)
        case Added():
            return part.block.compute(x, part.relu)
        case _:
            y: Tensor = part(x)
            return y


class FusingSequential(nn.Sequential):
    """An nn.Sequential that computes adder layer, batch normalisation, ReLU and 2×2 max pooling in one call.

    The end of a `ResidualBlock` and the ReLU after it are fused, too. Names, parameters and results (but for rounding)
    are those of nn.Sequential. Modules with hooks and modules of other types are called by themselves.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _run(tuple(self), x)


class ResidualBlock(nn.Module):
    """body(x) + shortcut(x); without a shortcut, body(x) + x."""

    def __init__(self, body: tuple[str, nn.Module], shortcut: tuple[str, nn.Module] | None) -> None:
        super().__init__()
        self._body, self._shortcut = body[0], None if shortcut is None else shortcut[0]
        for name, module in filter(None, (body, shortcut)):
            self.add_module(name, module)

    def branches(self) -> tuple[nn.Module, nn.Module | None]:
        """(body, shortcut)"""
        return self.get_submodule(self._body), None if self._shortcut is None else self.get_submodule(self._shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, relu=False)

    def compute(self, x: Tensor, relu: bool) -> Tensor:
        """act(body(x) + shortcut(x)); the addition joins the body's last layer where that is an adder's."""
        body, shortcut = self.branches()
        kept = x if shortcut is None else shortcut(x)
        if type(body) is FusingSequential and is_plain(body) and no_global_hooks():
            return _run(tuple(body), x, kept, relu)
        total: Tensor = body(x) + kept
        return torch.relu(total) if relu else total
