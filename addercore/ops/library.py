"""The layer as operators of torch's dispatcher, namespace `addercore`: what autograd, autocast and the compiler see.

`Library.define` with an autograd kernel of our own is used in place of `torch.library.custom_op`: on a call with
nothing to compute it took 7 µs without and 13 µs with gradients, against 10 and 21 µs for `register_autograd` and
15 and 31 µs for `custom_op` (torch 2.13, one core). Arguments are checked here, in the kernel and in its fake, so that
a call of the bare operator is as safe as one of `addercore.ops.adder_conv2d`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from addercore.ops import registry
from addercore.ops.backend import Backend, pooled_shape
from addercore.ops.checks import Pair, check_output, check_shape, check_tensors, geometry_of, known_layer, output_shape
from addercore.ops.geometry import Geometry

LayerOptions = tuple[Pair, Pair, Pair, int, str]  # stride, padding, dilation, groups, backend

OPTIONS: Final = "int[2] stride, int[2] padding, int[2] dilation, int groups, str backend"
_LIBRARY: Any = torch.library.Library("addercore", "FRAGMENT")  # type: ignore[no-untyped-call]
_BELOW_AUTOGRAD: Final = torch._C._after_autograd_keyset
_DEVICES: Final = (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA)


def _kind(*tensors: Tensor) -> torch.dtype:
    """The computing type: float64 where one has it, else float32; half types are accumulated in float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _to(kind: torch.dtype, tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == kind else tensor.to(kind)


def _as(kind: torch.dtype, tensor: Tensor) -> Tensor:
    tensor = _to(kind, tensor)
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _maybe(kind: torch.dtype, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _as(kind, tensor)


class _Ready(NamedTuple):
    """Checked arguments of a layer, as a backend takes them."""

    backend: Backend
    kind: torch.dtype  # in which it computes
    x: Tensor
    weight: Tensor
    geometry: Geometry
    output: tuple[int, int, int, int]  # the output's shape


def _ready(x: Tensor, weight: Tensor, options: LayerOptions) -> _Ready:
    check_tensors(input=x, weight=weight)
    stride, padding, dilation, groups, name = options
    geometry, output = known_layer(x.shape, weight.shape, tuple(stride), tuple(padding), tuple(dilation), groups)
    kind = _kind(x, weight)
    return _Ready(registry.choose(x.device, kind, name), kind, _as(kind, x), _as(kind, weight), geometry, output)


def _fake_output(x: Tensor, weight: Tensor, options: LayerOptions) -> Tensor:
    check_tensors(input=x, weight=weight)
    return x.new_empty(output_shape(x.shape, weight.shape, geometry_of(*options[:4])))


# --- eq. 2 and the paper's gradients


def _forward(x: Tensor, weight: Tensor, sign: bool, *options: Any) -> Tensor:
    """Eq. 2, in the input's type; `sign` is the backward's."""
    ready = _ready(x, weight, options)
    return _to(x.dtype, ready.backend.forward(ready.x, ready.weight, ready.geometry))


def _forward_fake(x: Tensor, weight: Tensor, sign: bool, *options: Any) -> Tensor:
    return _fake_output(x, weight, options)


def _grad_input(grad: Tensor, x: Tensor, weight: Tensor, *options: Any) -> Tensor:
    """Eqs. 6, 7, in the input's type."""
    ready = _ready(x, weight, options)
    _check_grad(grad, x, ready.output)
    return _to(x.dtype, ready.backend.grad_input(_as(ready.kind, grad), ready.x, ready.weight, ready.geometry))


def _grad_input_fake(grad: Tensor, x: Tensor, weight: Tensor, *options: Any) -> Tensor:
    _check_grad(grad, x, _fake_output(x, weight, options).shape)
    return x.new_empty(x.shape)


def _grad_weight(grad: Tensor, x: Tensor, weight: Tensor, sign: bool, *options: Any) -> Tensor:
    """Eq. 5 or 4, in the weight's type."""
    ready = _ready(x, weight, options)
    _check_grad(grad, x, ready.output)
    found = ready.backend.grad_weight(_as(ready.kind, grad), ready.x, ready.weight, ready.geometry, sign)
    return _to(weight.dtype, found)


def _grad_weight_fake(grad: Tensor, x: Tensor, weight: Tensor, sign: bool, *options: Any) -> Tensor:
    _check_grad(grad, x, _fake_output(x, weight, options).shape)
    return weight.new_empty(weight.shape)


def _check_grad(grad: Tensor, x: Tensor, shape: tuple[int, ...]) -> None:
    check_tensors(input=x, grad=grad)
    check_shape("grad", grad, shape)


# --- fused with what follows the layer


def _forward_affine(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool, *options: Any
) -> Tensor:
    """act(scale · Y + shift + residual), in the input's type."""
    ready = _ready(x, weight, options)
    _check_channels(x, ready.output, residual, scale=scale, shift=shift)
    kind = ready.kind
    factor, offset, added = _as(kind, scale), _as(kind, shift), _maybe(kind, residual)
    z = ready.backend.forward_affine(ready.x, ready.weight, ready.geometry, factor, offset, added, relu)
    return _to(x.dtype, z)


def _forward_affine_fake(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool, *options: Any
) -> Tensor:
    y = _fake_output(x, weight, options)
    _check_channels(x, y.shape, residual, scale=scale, shift=shift)
    return y


def _forward_moments(x: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(Y in the input's type, mean and biased variance of each channel in the computing type)."""
    ready = _ready(x, weight, options)
    y, mean, variance = ready.backend.forward_moments(ready.x, ready.weight, ready.geometry)
    return _to(x.dtype, y), mean, variance


def _forward_moments_fake(x: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    kind, channels = _kind(x, weight), weight.shape[0]
    y = _fake_output(x, weight, options)
    return y, x.new_empty(channels, dtype=kind), x.new_empty(channels, dtype=kind)


def _check_channels(x: Tensor, shape: tuple[int, ...], residual: Tensor | None = None, /, **channels: Tensor) -> None:
    """`channels` (F,) and `residual` (`shape`, which is (N, F, H', W')) fit an output on the device of `x`."""
    check_tensors(input=x, **channels, residual=residual)
    for name, values in channels.items():
        check_shape(name, values, (shape[1],))
    check_shape("residual", residual, shape)


def _check_normalize(y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None) -> None:
    check_output("y", y)
    _check_channels(y, y.shape, residual, scale=scale, shift=shift)


def _normalize(y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool, backend: str) -> Tensor:
    """act(scale · y + shift + residual), in y's type."""
    _check_normalize(y, scale, shift, residual)
    kind = _kind(y)
    chosen = registry.choose(y.device, kind, backend)
    z = chosen.normalize(_as(kind, y), _as(kind, scale), _as(kind, shift), _maybe(kind, residual), relu)
    return _to(y.dtype, z)


def _normalize_fake(
    y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool, backend: str
) -> Tensor:
    _check_normalize(y, scale, shift, residual)
    return y.new_empty(y.shape)


def _check_normalize_backward(
    grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
) -> None:
    check_output("y", y)
    check_tensors(y=y, grad=grad, z=z)
    for name, tensor in (("grad", grad), ("z", z)):
        check_shape(name, tensor, y.shape)
    _check_channels(y, y.shape, mean=mean, invstd=invstd, gamma=gamma)


def _normalize_backward(
    grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(∂y, ∂γ, ∂β, gradient behind the ReLU); the last is empty without a `z`, as it would be `grad` itself."""
    _check_normalize_backward(grad, z, y, mean, invstd, gamma)
    kind = _kind(y)
    chosen = registry.choose(y.device, kind, backend)
    channels = (_as(kind, values) for values in (mean, invstd, gamma))
    grad_y, grad_gamma, grad_beta, masked = chosen.normalize_backward(
        _as(kind, grad), _maybe(kind, z), _as(kind, y), *channels
    )
    masked = grad.new_empty(0) if z is None else _to(grad.dtype, masked)
    return _to(y.dtype, grad_y), _to(gamma.dtype, grad_gamma), _to(gamma.dtype, grad_beta), masked


def _normalize_backward_fake(
    grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_normalize_backward(grad, z, y, mean, invstd, gamma)
    masked = grad.new_empty(0 if z is None else grad.shape)
    return y.new_empty(y.shape), gamma.new_empty(gamma.shape), gamma.new_empty(gamma.shape), masked


def _check_pool(y: Tensor, scale: Tensor, shift: Tensor) -> None:
    _check_normalize(y, scale, shift, None)
    if min(y.shape[2:]) < 2:
        raise ValueError(f"y must hold a window of 2×2, got {tuple(y.shape)}")


def _normalize_pool(y: Tensor, scale: Tensor, shift: Tensor, relu: bool, backend: str) -> tuple[Tensor, Tensor]:
    """(Maxima of 2×2 windows of act(scale · y + shift) in y's type, the bytes that say which)."""
    _check_pool(y, scale, shift)
    kind = _kind(y)
    chosen = registry.choose(y.device, kind, backend)
    z, winner = chosen.normalize_pool(_as(kind, y), _as(kind, scale), _as(kind, shift), relu)
    return _to(y.dtype, z), winner


def _normalize_pool_fake(y: Tensor, scale: Tensor, shift: Tensor, relu: bool, backend: str) -> tuple[Tensor, Tensor]:
    _check_pool(y, scale, shift)
    shape = pooled_shape(y.shape)
    return y.new_empty(shape), y.new_empty(shape, dtype=torch.uint8)


def _check_pool_backward(grad: Tensor, winner: Tensor, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor) -> None:
    check_output("y", y)
    check_tensors(y=y, grad=grad)
    for name, tensor in (("grad", grad), ("winner", winner)):
        check_shape(name, tensor, pooled_shape(y.shape))
    if winner.dtype != torch.uint8:
        raise ValueError(f"winner must be uint8, as normalize_pool gives it, got {winner.dtype}")
    if winner.device != y.device:
        raise ValueError(f"y is on {y.device} and winner on {winner.device}; move one to the other's device")
    _check_channels(y, y.shape, mean=mean, invstd=invstd, gamma=gamma)


def _normalize_pool_backward(
    grad: Tensor, winner: Tensor, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """(∂y, ∂γ, ∂β) of `normalize_pool`."""
    _check_pool_backward(grad, winner, y, mean, invstd, gamma)
    kind = _kind(y)
    chosen = registry.choose(y.device, kind, backend)
    channels = (_as(kind, values) for values in (mean, invstd, gamma))
    grad_y, grad_gamma, grad_beta = chosen.normalize_pool_backward(
        _as(kind, grad), winner.contiguous(), _as(kind, y), *channels
    )
    return _to(y.dtype, grad_y), _to(gamma.dtype, grad_gamma), _to(gamma.dtype, grad_beta)


def _normalize_pool_backward_fake(
    grad: Tensor, winner: Tensor, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    _check_pool_backward(grad, winner, y, mean, invstd, gamma)
    return y.new_empty(y.shape), gamma.new_empty(gamma.shape), gamma.new_empty(gamma.shape)


# --- registration


def wanted(arguments: tuple[Any, ...]) -> bool:
    """Whether autograd wants a gradient of one of them."""
    if not torch.is_grad_enabled():
        return False
    return any(isinstance(one, Tensor) and one.requires_grad for one in arguments)


def below_autograd(keys: Any, operator: Any, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """What an autograd kernel calls next: `kernel` itself where only a device is left of the dispatch `keys`, which
    saves converting all arguments once more, else (a compiler is tracing, a mode is active) the dispatcher."""
    keys = keys & _BELOW_AUTOGRAD
    return kernel if keys.highestPriorityTypeId() in _DEVICES else partial(operator.redispatch, keys)


def _autocast(operator: Any, key: str) -> Callable[..., Any]:
    """Half types become float32 under autocast, so the output is float32: an adder's output is large against its
    spread, and bf16 would lose a quarter of a standard deviation (Var Y grows with K, eq. 9)."""
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def kernel(*arguments: Any) -> Any:
        cast = (
            one.float() if isinstance(one, Tensor) and one.dtype in (torch.bfloat16, torch.float16) else one
            for one in arguments
        )
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            return operator(*cast)

    return kernel


def _no_gradient(operator: Any, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(keys: Any, *arguments: Any) -> Any:
        if wanted(arguments):
            raise RuntimeError(
                f"addercore::{name} has no gradient of its own: call it under torch.no_grad(), "
                "or use addercore.ops.adder_conv2d"
            )
        return below_autograd(keys, operator, plain)(*arguments)

    return kernel


def define(
    schema: str, kernel: Callable[..., Any], fake: Callable[..., Any], autograd: Callable[..., Any] | None = None
) -> Any:
    """The operator of `schema`, with its kernel for every device, its fake, its autocast rule and its gradient.

    `autograd` is called with the dispatch keys before the arguments; without one, a gradient is refused.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"addercore::{name}", fake, lib=_LIBRARY)
    operator = getattr(torch.ops.addercore, name).default
    for key in ("AutocastCPU", "AutocastCUDA"):
        _LIBRARY.impl(name, _autocast(operator, key), key)
    _LIBRARY.impl(name, autograd or _no_gradient(operator, name, kernel), "Autograd", with_keyset=True)
    return operator


def refuse_second_derivative() -> None:
    """Called first by every backward, in which gradients are enabled only for `create_graph=True`."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "adder layers have no second derivative: their gradients (eqs. 4–7) are not derivatives of their output; "
            "compute them without create_graph=True"
        )


class _Adder(torch.autograd.Function):
    """Y = −Σ |X − F| (eq. 2) with the paper's gradients, which are not Y's derivatives (eqs. 4–7)."""

    @staticmethod
    def forward(ctx: Any, below: Any, x: Tensor, weight: Tensor, sign: bool, *options: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sign, ctx.options = sign, options
        y: Tensor = below(x, weight, sign, *options)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        x, weight = ctx.saved_tensors
        _, for_x, for_weight, *_ = ctx.needs_input_grad
        grad_x = grad_input(grad, x, weight, *ctx.options) if for_x else None
        grad_w = grad_weight(grad, x, weight, ctx.sign, *ctx.options) if for_weight else None
        return None, grad_x, grad_w, None, None, None, None, None, None


def _forward_autograd(keys: Any, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    below = below_autograd(keys, forward, _forward)
    if wanted((x, weight)):
        return _Adder.apply(below, x, weight, *rest)  # type: ignore[no-untyped-call]
    return below(x, weight, *rest)


# --- the operators


forward: Final = define(
    f"forward(Tensor x, Tensor weight, bool sign, {OPTIONS}) -> Tensor", _forward, _forward_fake, _forward_autograd
)
grad_input: Final = define(
    f"grad_input(Tensor grad, Tensor x, Tensor weight, {OPTIONS}) -> Tensor", _grad_input, _grad_input_fake
)
grad_weight: Final = define(
    f"grad_weight(Tensor grad, Tensor x, Tensor weight, bool sign, {OPTIONS}) -> Tensor",
    _grad_weight,
    _grad_weight_fake,
)
forward_affine: Final = define(
    "forward_affine(Tensor x, Tensor weight, Tensor scale, Tensor shift, Tensor? residual, bool relu, "
    f"{OPTIONS}) -> Tensor",
    _forward_affine,
    _forward_affine_fake,
)
forward_moments: Final = define(
    f"forward_moments(Tensor x, Tensor weight, {OPTIONS}) -> (Tensor, Tensor, Tensor)",
    _forward_moments,
    _forward_moments_fake,
)
normalize: Final = define(
    "normalize(Tensor y, Tensor scale, Tensor shift, Tensor? residual, bool relu, str backend) -> Tensor",
    _normalize,
    _normalize_fake,
)
normalize_backward: Final = define(
    "normalize_backward(Tensor grad, Tensor? z, Tensor y, Tensor mean, Tensor invstd, Tensor gamma, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _normalize_backward,
    _normalize_backward_fake,
)
normalize_pool: Final = define(
    "normalize_pool(Tensor y, Tensor scale, Tensor shift, bool relu, str backend) -> (Tensor, Tensor)",
    _normalize_pool,
    _normalize_pool_fake,
)
normalize_pool_backward: Final = define(
    "normalize_pool_backward(Tensor grad, Tensor winner, Tensor y, Tensor mean, Tensor invstd, Tensor gamma, "
    "str backend) -> (Tensor, Tensor, Tensor)",
    _normalize_pool_backward,
    _normalize_pool_backward_fake,
)
