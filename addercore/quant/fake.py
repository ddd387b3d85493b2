"""The integer network in floating point, with gradients: every number is rounded to what its code stands for.

Rounding passes gradients on as if it were not there (straight-through estimator, Bengio et al., arXiv:1308.3432), and
numbers outside of a range get none. An adder layer's own gradients are those of its training (eqs. 5 and 6), in the
units of the float network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.nn import Adder2d
from addercore.quant.emit import power_of_two, target_format
from addercore.quant.graph import Addition, Averaging, Graph, Layer, Node, Pooling, channelwise, similarity
from addercore.quant.operands import operand
from addercore.quant.plan import Format, Plan, nearest
from addercore.runtime.program import SCORES


class _Straight(torch.autograd.Function):
    """The value of its second argument, the gradient of its first."""

    @staticmethod
    def forward(ctx: Any, through: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight(through: Tensor, value: Tensor) -> Tensor:
    """`value`, whose gradient goes to `through`."""
    found: Tensor = _Straight.apply(through, value)  # type: ignore[no-untyped-call]
    return found


def stored(values: Tensor, found: Format) -> Tensor:
    """What the codes of `values` stand for."""
    inside = (values / found.scale + found.zero).clamp(0, found.top)
    return (straight(inside, nearest(inside)) - found.zero) * found.scale


class FakeLayer(nn.Module):
    """A layer whose weights are rounded in each forward pass.

    γ and β are those of a batch normalisation by fixed statistics, mean and spread of y, which learn at its rate.

    Args:
        layer: with the weights and the normalisation to start from.
        plan: formats and grids; they stay.
        source: of what the layer reads.
        mean, spread: float32 (F,), of y.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, layer: Layer, plan: Plan, source: Format, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        window, shape = layer.window, layer.weight.shape
        sizes = (shape[1] * window.groups, shape[0], window.kernel, window.stride, window.padding, window.dilation)
        module: Any
        if layer.kind == "adder":
            module = Adder2d(*sizes, window.groups)
        else:
            module = nn.Conv2d(*sizes, window.groups, bias=False)
        self.module = module
        self.plan, self.source = plan, source
        self.register_buffer("mean", mean.float())
        self.register_buffer("spread", spread.float())
        gain = layer.gain.float()
        with torch.no_grad():
            module.weight.copy_(layer.weight)
        self.gamma = nn.Parameter(gain * self.spread)
        self.beta = nn.Parameter(layer.offset.float() + gain * self.mean)
        self.layer = layer

    def current(self) -> Layer:
        """The layer as it is now."""
        gain = self.gamma.detach().double() / self.spread.double()
        offset = self.beta.detach().double() - gain * self.mean.double()
        return replace(self.layer, weight=self.module.weight.detach().clone(), gain=gain, offset=offset)

    def y(self, x: Tensor) -> Tensor:
        """The layer's output by its rounded weights."""
        weight = self.module.weight
        found = operand(replace(self.layer, weight=weight.detach()), self.plan, self.source)
        if self.layer.kind == "conv":
            steps = self.plan.steps(self.layer).step.view(-1, 1, 1, 1)
            return similarity(self.layer, x, straight(weight, (found.codes * steps).float()))
        lost = channelwise(found.constant.float())
        if found.clipping is None:
            rounded = straight(weight, self.source.real(found.codes))
            return similarity(self.layer, x, rounded) - lost
        return self._grouped(x, weight, found.codes) - lost

    def _grouped(self, x: Tensor, weight: Tensor, codes: Tensor) -> Tensor:
        """Each group of filters reads x on its own grid; what lies outside of it is lost alike for all of them."""
        grid = self.plan.grouping(self.layer)
        top = 2**self.plan.bits - 1
        y = torch.zeros(())
        for number, (low, step) in enumerate(zip(grid.low.tolist(), grid.step.tolist(), strict=True)):
            vertical, horizontal = self.layer.window.padding
            padded = nnf.pad(x, (horizontal, horizontal, vertical, vertical))
            inside = padded.clamp(low, low + top * step)
            seen = straight(inside, nearest((inside - low) / step) * step + low)
            mine = (grid.group == number).float()
            rounded = straight(weight, (codes * step + low).float())
            window = replace(self.layer, window=replace(self.layer.window, padding=(0, 0)))
            found = similarity(window, seen, rounded)
            lost = similarity(replace(window, kind="conv"), (padded - inside).abs(), torch.ones_like(weight.detach()))
            y = y + (found - lost) * channelwise(mine)
        return y

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """z before ReLU and rounding."""
        gain = self.gamma / self.spread
        offset = self.beta - gain * self.mean
        if self.plan.rescale == "shift":
            found = operand(replace(self.layer, weight=self.module.weight.detach()), self.plan, self.source)
            unit = (target_format(self.layer, self.plan).scale / found.step).float()
            gain = straight(gain, power_of_two(gain.detach() / unit) * unit)
        z = self.y(x) * channelwise(gain) + channelwise(offset)
        return z if residual is None else z + residual


class FakeNetwork(nn.Module):
    """The whole network; `layers` are by the names of the float network, with lines in the place of dots."""

    def __init__(self, graph: Graph, plan: Plan, images: Tensor) -> None:
        super().__init__()
        self.graph, self.plan = graph, plan
        self.layers = nn.ModuleDict()
        self.shared = graph.stored_in()
        with torch.no_grad():
            self._values(images, self._add)

    def _add(self, node: Layer, x: Tensor) -> None:
        """Adds a layer; mean and spread of y come from the images that reach it."""
        count = len(node.weight)
        source = self.plan.formats[self.shared[node.source]]
        probe = FakeLayer(node, self.plan, source, torch.zeros(count), torch.ones(count))
        y = probe.y(x)
        spread = y.var((0, 2, 3), correction=0).sqrt()
        spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        self.layers[_key(node)] = FakeLayer(node, self.plan, source, y.mean((0, 2, 3)), spread)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of uint8 images (N, C, H, W)."""
        return self._values(images)[SCORES].flatten(1)

    def values(self, images: Tensor) -> dict[int, Tensor]:
        """All values, as what their codes stand for, and the scores."""
        return self._values(images)

    def _values(self, images: Tensor, before: Callable[[Layer, Tensor], None] | None = None) -> dict[int, Tensor]:
        found = {0: stored(self.graph.normalised(images), self.plan.formats[0])}
        for node in self.graph.nodes:
            if before is not None and isinstance(node, Layer):
                before(node, found[node.source])
            found[node.target] = self.computed(node, found)
        return found

    def computed(self, node: Node, found: dict[int, Tensor]) -> Tensor:
        """The target of one operation; a value behind a ReLU has no codes below 0."""
        source = found[node.source]
        match node:
            case Pooling():
                return nnf.max_pool2d(source, node.size, node.stride, node.padding)
            case Layer():
                value = self.layers[_key(node)](source, None if node.residual is None else found[node.residual])
            case Averaging():
                value = source.mean((2, 3), keepdim=True)
            case Addition():
                value = source + found[node.residual]
        return value if node.target == SCORES else stored(value, self.plan.formats[node.target])

    def current(self) -> Graph:
        """The float network with the weights and normalisations as they are now."""
        changed = {}
        for module in self.layers.values():
            assert isinstance(module, FakeLayer)
            layer = module.current()
            changed[layer.name] = layer
        return self.graph.with_layers(changed)


def _key(layer: Layer) -> str:
    return layer.name.replace(".", "|")
