"""Distillation by kernels, after PKKD (Xu et al. 2020, https://arxiv.org/abs/2009.13044): `distill.kind` kernels, pkkd.

For each adder layer m of the network and the teacher's layer of the same place,

    h = exp(−e^a · ‖X − F‖₁ / K),   g = exp(−e^c · ‖X' − F'‖₂² / K),   L_m = mean (ρ_a(h) − ρ_c(g))²

with K taps, learned widths a and c (2σ² = K · e^−a) and learned 1×1 maps ρ_a, ρ_c over the channels. The teacher's part
of the loss is T² · KL + φ · Σ_m L_m (φ: `features`). The teacher learns from the labels alone; L_m trains the network,
the maps and the widths. Division by K, the form of the widths and the maps' first weights are this project's: the
paper's whole text was not at hand, so this is after it and not a reproduction.
"""

from collections.abc import Iterable
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.nn import AdderLayer


class Kernels(nn.Module):
    """The maps and widths of all layers, and L_m of the last batch.

    Args:
        student: the network that learns; its adder layers are compared.
        teacher: a convolutional network with layers of the same names.
        seed: of the maps' first weights.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, seed: int) -> None:
        super().__init__()
        its = dict(teacher.named_modules())
        self.names = [name for name, layer in student.named_modules() if isinstance(layer, AdderLayer)]
        if not self.names:
            raise ValueError("the network has no adder layer whose kernels could be compared")
        self._last: dict[str, dict[str, tuple[nn.Module, Tensor, Tensor]]] = {"student": {}, "teacher": {}}
        mine = dict(student.named_modules())
        for name in self.names:
            mine[name].register_forward_hook(partial(self._keep, "student", name))
            its[name].register_forward_hook(partial(self._keep, "teacher", name))
        channels = [_filters(mine[name]).shape[0] for name in self.names]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.maps = nn.ModuleList(nn.Conv2d(one, one, 1, bias=False) for one in channels)
            self.its_maps = nn.ModuleList(nn.Conv2d(one, one, 1, bias=False) for one in channels)
        self.widths = nn.Parameter(torch.zeros(len(channels)))
        self.its_widths = nn.Parameter(torch.zeros(len(channels)))

    def _keep(self, who: str, name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._last[who][name] = (layer, inputs[0], output)

    def loss(self) -> Tensor:
        """Σ_m L_m of the last batch of both networks. Forgets it."""
        total = torch.zeros((), device=self.widths.device)
        for at, name in enumerate(self.names):
            _, _, y = self._last["student"].pop(name)
            layer, x, z = self._last["teacher"].pop(name)
            taps = prod(_filters(layer).shape[1:])
            h = torch.exp(self.widths[at].exp() * y.float() / taps)
            with torch.no_grad():
                apart = squared_distance(layer, x.float(), z.float()) / taps
            g = torch.exp(-self.its_widths[at].exp() * apart)
            total = total + (self.maps[at](_images(h)) - self.its_maps[at](_images(g))).square().mean()
        return total


def squared_distance(layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """‖X − F‖₂² at every output of a convolution or linear layer: ‖X‖² + ‖F‖² − 2 X·F, with X·F its output `y`."""
    filters = _filters(layer)
    sizes = filters.square().flatten(1).sum(1)
    if isinstance(layer, nn.Conv2d):
        ones = x.new_ones((layer.groups, *filters.shape[1:]))
        own = nnf.conv2d(x.square(), ones, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        own = own.repeat_interleave(filters.shape[0] // layer.groups, 1)
        return (own + sizes[:, None, None] - 2 * y).clamp_min(0)
    return (x.square().sum(-1, keepdim=True) + sizes - 2 * y).clamp_min(0)


def _filters(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _images(values: Tensor) -> Tensor:
    """(N, F) → (N, F, 1, 1)."""
    return values if values.dim() == 4 else values[:, :, None, None]


class Companion:
    """What learns beside the network: the kernels' maps and, with `pkkd`, the teacher. All of it is state of the run.

    Args:
        optimizers: one for each part, stepped with the network's learning rate.
        parts: modules by the name under which their state is kept.
    """

    def __init__(self, parts: dict[str, nn.Module], lr: float, momentum: float, nesterov: bool, decay: float) -> None:
        self.parts = parts
        self.optimizers = {
            name: torch.optim.SGD(part.parameters(), lr, momentum, nesterov=nesterov, weight_decay=decay)
            for name, part in parts.items()
        }

    def _each(self) -> Iterable[torch.optim.SGD]:
        return self.optimizers.values()

    def zero_grad(self) -> None:
        for one in self._each():
            one.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        for one in self._each():
            for group in one.param_groups:
                group["lr"] = lr
            one.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            name: {"module": part.state_dict(), "optimizer": self.optimizers[name].state_dict()}
            for name, part in self.parts.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name]["module"])
            self.optimizers[name].load_state_dict(state[name]["optimizer"])
