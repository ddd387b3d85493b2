"""A network's evaluation as a plan: fused C calls on packed filters and buffers made once, without torch in between.

The plan has the bits of the modules. What it does not know (a convolution, a layer with hooks, a block of unknown
layers) is called as a module, in its place; `Planned.in_torch` names it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from addercore.nn.containers import (
    Added,
    FusingSequential,
    Normalized,
    Part,
    computed,
    ends_open,
    hooks_of,
    is_plain,
    no_global_hooks,
    parts,
)
from addercore.nn.fusion import folded
from addercore.nn.layers import Adder2d, AdderLinear
from addercore.nn.synced import SyncedNorm1d, SyncedNorm2d
from addercore.ops.c.backend import CBackend, Shape
from addercore.ops.c.program import ADD, LAYER, MAX_POOL, Program, Step, packed
from addercore.ops.checks import geometry_of, output_shape, pair
from addercore.ops.geometry import Geometry
from addercore.ops.registry import choose

_ADDERS: Final = (Adder2d, AdderLinear)
_SETTINGS: Final[dict[type[nn.Module], tuple[str, ...]]] = {
    **dict.fromkeys(_ADDERS, ("p", "backend")),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, SyncedNorm1d, SyncedNorm2d), ("eps",)),
}
"""Numbers of a module that a plan has in it."""
_CPU: Final = torch.device("cpu")

Call = Callable[[Tensor], Tensor]


class _Unknown(Exception):
    """What a plan cannot compute."""


class _Value(NamedTuple):
    """A value of the program, or the same numbers in another shape (C, H, W) or (features,)."""

    number: int
    shape: tuple[int, ...]


class _Draft:
    """Steps from one value on, as long as they are known."""

    def __init__(self, backend: CBackend, shape: tuple[int, ...]) -> None:
        self.backend, self.steps, self.shapes = backend, list[Step](), [shape]
        self.at = _Value(0, shape)

    def take(self, part: Part) -> bool:
        """Appends the steps of `part`; False, and nothing of it, where it is not known."""
        steps, shapes = len(self.steps), len(self.shapes)
        try:
            self.at = self._part(part, self.at)
        except _Unknown:
            del self.steps[steps:], self.shapes[shapes:]
            return False
        return True

    def _part(self, part: Part, value: _Value, residual: _Value | None = None, relu: bool = False) -> _Value:
        """act(part(value) + residual); of parts that end open where there is a residual."""
        if isinstance(part, Normalized):
            scale_shift = _affine(part.norm, part.layer.weight.shape[0])
            found = self._layer(part.layer, value, scale_shift, residual, relu or part.relu)
            return self._pool(found, 2, 2, 0) if part.pool else found
        if isinstance(part, Added):
            return self._block(part, value)
        if not is_plain(part):
            raise _Unknown
        kind = type(part)
        if kind is FusingSequential:
            for inner in parts(tuple(part)):  # type: ignore[arg-type]
                value = self._part(inner, value)
            return value
        if isinstance(part, _ADDERS) and kind in _ADDERS:
            return self._layer(part, value, None, None, False)
        if kind is nn.MaxPool2d:
            return self._max_pool(part, value)  # type: ignore[arg-type]
        if isinstance(part, nn.Flatten) and (part.start_dim, part.end_dim) == (1, -1):
            size = 1
            for extent in value.shape:
                size *= extent
            return _Value(value.number, (size,))
        raise _Unknown

    def _block(self, part: Added, value: _Value) -> _Value:
        body, shortcut = part.block.branches()
        if type(body) is not FusingSequential or not is_plain(body) or not len(body):
            raise _Unknown
        kept = value if shortcut is None else self._part(shortcut, value)
        *first, last = parts(tuple(body))
        for inner in first:
            value = self._part(inner, value)
        if ends_open(last):
            return self._part(last, value, kept, part.relu)
        value = self._part(last, value)
        if value.shape != kept.shape or len(value.shape) != 3:
            raise _Unknown
        target = self._new(value.shape)
        shape = Shape(0, *value.shape)
        self.steps.append(Step(ADD, shape, value.number, target.number, kept.number, part.relu))
        return target

    def _layer(
        self,
        layer: Adder2d | AdderLinear,
        value: _Value,
        affine: tuple[Tensor, Tensor] | None,
        residual: _Value | None,
        relu: bool,
    ) -> _Value:
        weight, flat = layer.weight.detach(), isinstance(layer, AdderLinear)
        if layer.p != 1 or not _fits(weight) or choose(_CPU, torch.float32, layer.backend) is not self.backend:
            raise _Unknown
        if len(value.shape) != (1 if flat else 3):
            raise _Unknown
        image = (*value.shape, 1, 1) if flat else value.shape
        filters = weight[:, :, None, None] if flat else weight
        geometry = geometry_of(*layer.options[:4])
        try:
            _, *outputs = output_shape((1, *image), filters.shape, geometry)
        except ValueError:  # which the module raises itself
            raise _Unknown from None
        shape = _shape(image, filters.shape, outputs, geometry)
        target = self._new(tuple(outputs[:1] if flat else outputs))
        if residual is not None and residual.shape != target.shape:
            raise _Unknown
        joined = None if residual is None else residual.number
        filters = packed(self.backend, shape, filters.contiguous())
        self.steps.append(Step(LAYER, shape, value.number, target.number, joined, relu, filters, affine))
        return target

    def _max_pool(self, pool: nn.MaxPool2d, value: _Value) -> _Value:
        size, stride, padding = (
            one if isinstance(one, int) else one[0] if one[0] == one[1] else None
            for one in (pool.kernel_size, pool.stride, pool.padding)
        )
        plain = pool.dilation in (1, (1, 1)) and not pool.return_indices and not pool.ceil_mode
        if not plain or size is None or stride is None or padding is None:
            raise _Unknown
        return self._pool(value, size, stride, padding)

    def _pool(self, value: _Value, size: int, stride: int, padding: int) -> _Value:
        if len(value.shape) != 3 or 2 * padding > size:
            raise _Unknown
        geometry = Geometry(pair("stride", stride, 1), pair("padding", padding, 0))
        outputs = (value.shape[0], *geometry.output_size((value.shape[1], value.shape[2]), (size, size)))
        if min(outputs) < 1:
            raise _Unknown
        shape = _shape(value.shape, (outputs[0], 1, size, size), outputs, geometry)
        target = self._new(outputs)
        self.steps.append(Step(MAX_POOL, shape, value.number, target.number))
        return target

    def _new(self, shape: tuple[int, ...]) -> _Value:
        self.shapes.append(shape)
        return _Value(len(self.shapes) - 1, shape)

    def finished(self) -> Call:
        """The steps as one call."""
        run = Program(self.backend, self.steps, self.shapes).run if self.steps else _same
        shape = self.at.shape
        return lambda x: run(x.contiguous()).view(-1, *shape)


def _same(x: Tensor) -> Tensor:
    return x


def _shape(image: Sequence[int], weight: Sequence[int], outputs: Sequence[int], geometry: Geometry) -> Shape:
    pairs = (*geometry.stride, *geometry.padding, *geometry.dilation)
    return Shape(1, *image, weight[0], weight[2], weight[3], outputs[1], outputs[2], *pairs, geometry.groups)


def _fits(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d, filters: int) -> tuple[Tensor, Tensor]:
    """A normalisation in evaluation as (scale, shift)."""
    mean, variance = norm.running_mean, norm.running_var
    if norm.training or norm.num_features != filters or mean is None or variance is None:
        raise _Unknown
    if not all(_fits(one) for one in (mean, variance, *((norm.weight, norm.bias) if norm.affine else ()))):
        raise _Unknown
    scale, shift = folded(norm, mean, variance)
    return scale.detach(), shift.detach()


class _Watch:
    """Tells whether a module has changed. All of it is compared at each call, so what is compared is collected once."""

    def __init__(self, module: nn.Module) -> None:
        self._modules = tuple(module.modules())
        self._hooks = [hooks for one in self._modules for hooks in hooks_of(one)]
        self._settings = [(one, name) for one in self._modules for name in _SETTINGS.get(type(one), ())]
        self._holders = [holder for one in self._modules for holder in (one._parameters, one._buffers, one._modules)]
        self._members = self._held()
        self._tensors = [one for one in self._members if isinstance(one, Tensor)]
        self._storages = [one.untyped_storage() for one in self._tensors]  # kept, so that no other gets their addresses
        self._numbers = self._counted()

    def _held(self) -> list[object]:
        return [one for holder in self._holders for one in holder.values()]

    def _counted(self) -> list[object]:
        found: list[object] = [one._version for one in self._tensors]
        found += [one.data_ptr() for one in self._tensors]
        found += [one.training for one in self._modules]
        found += [getattr(one, name) for one, name in self._settings]
        found += map(len, self._hooks)
        return found

    def same(self) -> bool:
        members = self._held()
        return (
            len(members) == len(self._members)
            and all(map(operator.is_, members, self._members))
            and self._counted() == self._numbers
        )


class _Plan(NamedTuple):
    """Calls in order for images of one shape, and what they are right for."""

    shape: torch.Size
    backend: CBackend
    watch: _Watch
    calls: tuple[Call, ...]
    in_torch: tuple[str, ...]


class Planned:
    """Evaluates a network by a plan, which is made at the first call and again after a change of the module.

    A call has the module's result, to the bit. Where a plan cannot apply (a gradient is wanted, training, autocast,
    another device or type, no adder layers, no C kernels) it is the module's own call. It may be called from several
    threads at once, unless one of them changes the module.

    Changes are told by the versions that torch counts. One through `tensor.data` in place is not counted, here as in
    autograd: change parameters under `torch.no_grad()`.

    Args:
        module: a network, from `addercore.networks.build`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._first = next((one for one in module.modules() if isinstance(one, _ADDERS)), None)
        self._plan: _Plan | None = None

    def __reduce__(self) -> tuple[type[Planned], tuple[nn.Module]]:
        return Planned, (self.module,)

    @property
    def in_torch(self) -> tuple[str, ...] | None:
        """Names of the modules that the plan leaves to torch; None before there is a plan."""
        return None if self._plan is None else self._plan.in_torch

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, c, h, w) → scores (N, classes)."""
        module, backend, plan = self.module, self._backend(x), self._plan
        if backend is None or type(module) is not FusingSequential:
            return self._by_module(x)
        if plan is None or plan.shape != x.shape[1:] or plan.backend is not backend or not plan.watch.same():
            if any(one.is_inference() for one in (*module.parameters(), *module.buffers())):
                return self._by_module(x)  # inference tensors count no versions
            self._plan, x = _made(module, backend, x)
            return x
        for call in plan.calls:
            x = call(x)
        return x

    def _by_module(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        return y

    def _backend(self, x: Tensor) -> CBackend | None:
        """What computes; None where the module is to be called."""
        if self._first is None or torch.is_grad_enabled() or self.module.training or not is_plain(self.module):
            return None
        if type(x) is not Tensor or x.dtype != torch.float32 or x.device.type != "cpu" or x.dim() != 4 or not len(x):
            return None
        if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or not no_global_hooks():
            return None
        found = choose(_CPU, torch.float32, self._first.backend)
        return found if isinstance(found, CBackend) else None


def _made(module: FusingSequential, backend: CBackend, x: Tensor) -> tuple[_Plan, Tensor]:
    """The plan, and the result for `x`; each call is run when it is known, since that alone tells shapes of torch's."""
    shape, watch, calls, in_torch = x.shape[1:], _Watch(module), list[Call](), list[str]()
    names = {one: name for name, one in module.named_modules()}

    def run(call: Call, x: Tensor) -> Tensor:
        calls.append(call)
        return call(x)

    draft = _Draft(backend, tuple(shape))
    for part in _flat(module):
        if draft.take(part):
            continue
        x = run(draft.finished(), x) if draft.steps or draft.at.shape != tuple(x.shape[1:]) else x
        x = run(partial(computed, part), x)
        in_torch.append(names[_modules_of(part)[0]])
        draft = _Draft(backend, tuple(x.shape[1:]))
    x = run(draft.finished(), x) if draft.steps or draft.at.shape != tuple(x.shape[1:]) else x
    return _Plan(shape, backend, watch, tuple(calls), tuple(in_torch)), x


def _flat(module: FusingSequential) -> Iterator[Part]:
    """The parts of a network, those of plain sequences in it one by one."""
    for part in parts(tuple(module)):
        if type(part) is FusingSequential and is_plain(part):
            yield from _flat(part)
        else:
            yield part


def _modules_of(part: Part) -> tuple[nn.Module, ...]:
    if isinstance(part, Normalized):
        return part.layer, part.norm
    return (part.block,) if isinstance(part, Added) else (part,)
