"""Containers that compute an adder layer and the layers after it in one fused call, with the same result."""

from collections.abc import Sequence

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


def _is_plain(module: nn.Module) -> bool:
    """Whether `module` has no hooks. A module with hooks is called by itself, so that they see its input and output."""
    return not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _no_global_hooks() -> bool:
    """Whether no global module hooks are registered."""
    return not _has_any_global_hook()  # type: ignore[no-untyped-call]


def _is_relu(modules: Sequence[nn.Module], at: int) -> bool:
    return at < len(modules) and type(modules[at]) is nn.ReLU and _is_plain(modules[at])


def _is_normalized_adder(modules: Sequence[nn.Module], at: int) -> bool:
    """Whether an adder layer and its batch normalisation are at `at`. Subclasses do not count: they may differ."""
    norms = _NORMS.get(type(modules[at]), ())
    following = modules[at + 1] if norms and at + 1 < len(modules) else None
    return following is not None and type(following) in norms and _is_plain(modules[at]) and _is_plain(following)


def _is_pooling(modules: Sequence[nn.Module], at: int) -> bool:
    """Whether the maximum of 2×2 windows that do not overlap is at `at`."""
    module = modules[at] if at < len(modules) else None
    if type(module) is not nn.MaxPool2d or not _is_plain(module) or module.return_indices or module.ceil_mode:
        return False
    return (
        module.kernel_size in (2, (2, 2))
        and module.stride in (2, (2, 2))
        and module.padding in (0, (0, 0))
        and module.dilation in (1, (1, 1))
    )


def _run(modules: Sequence[nn.Module], x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
    """act(modules(x) + residual), with one fused call for each adder layer, its normalisation and what may follow."""
    at, fusing = 0, _no_global_hooks()
    while at < len(modules):
        module = modules[at]
        if fusing and _is_normalized_adder(modules, at):
            norm, act = modules[at + 1], _is_relu(modules, at + 2)
            at += 3 if act else 2
            pool = type(module) is Adder2d and _is_pooling(modules, at)
            at += 1 if pool else 0
            if (
                at == len(modules) and not act and not pool
            ):  # the addition and the ReLU behind the last normalisation join it
                return adder_norm(module, norm, x, residual, relu)  # type: ignore[arg-type]
            x = adder_norm(module, norm, x, None, act, pool)  # type: ignore[arg-type]
        elif fusing and type(module) is ResidualBlock and _is_plain(module):
            act = _is_relu(modules, at + 1)
            at += 2 if act else 1
            x = module.compute(x, act)
        else:
            at += 1
            x = module(x)
    if residual is not None:
        x = x + residual
    return torch.relu(x) if relu else x


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

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, relu=False)

    def compute(self, x: Tensor, relu: bool) -> Tensor:
        """act(body(x) + shortcut(x)); the addition joins the body's last layer where that is an adder's."""
        kept = x if self._shortcut is None else self.get_submodule(self._shortcut)(x)
        body = self.get_submodule(self._body)
        if type(body) is FusingSequential and _is_plain(body) and _no_global_hooks():
            return _run(tuple(body), x, kept, relu)
        total: Tensor = body(x) + kept
        return torch.relu(total) if relu else total
