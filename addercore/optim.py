"""SGD with the paper's adaptive local learning rates for adder filters (eqs. 12 and 13)."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, overload

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from addercore.errors import expect
from addercore.nn import AdderLayer, adder_parameters

AdaptiveLr = Literal["alr", "ilr", "none"]
ADAPTIVE: Final = ("alr", "ilr", "none")
ILR: Final = 100.0  # the constant of the paper's ablation
LEAST_NORM: Final = 1e-12  # the authors' code clamps ‖ΔL‖ here


class AdderSGD(torch.optim.SGD):
    """Torch's SGD over all parameters of a model, with the update ΔF_l = γ · α_l · ΔL(F_l) for each adder layer l.

    γ is the learning rate and ΔL(F_l) the gradient. The local rate α_l is η √k / ‖ΔL(F_l)‖₂, where k is the number of
    elements of F_l (eq. 13).

    The order of a step is fixed: accumulated gradients, local learning rates, `clip_norm` over all parameters, weight
    decay, momentum, γ. The local rate is part of the step and not of the backward pass (where the authors' code has
    it), so that it sees the whole accumulated, unscaled and averaged gradient. Clipping before it would have no effect
    on adder layers. The parameters' `grad` is left unchanged.

    Parameter group 0 has everything but adder filters, group 1 the filters if there are any, with learning rate and
    weight decay of their own where `filter_lr` and `filter_weight_decay` say so; `adaptive_lr` and `eta` are options
    of a group beside torch's. A group that is added later has adaptive_lr "none" unless it says otherwise; with "alr"
    or "ilr" each of its parameters counts as the filters of one layer.

    Args:
        model: the network; all its parameters are optimised.
        lr: γ, the global learning rate.
        momentum: as torch's SGD.
        nesterov: as torch's SGD.
        weight_decay: as torch's SGD.
        adaptive_lr: "alr" for eq. 13, "ilr" for a constant α_l of 100 (the paper's ablation), "none" for 1.
        eta: η of eq. 13, the paper's 0.1 by default.
        clip_norm: largest norm of all updates together, after the local rates; None does not clip.
        filter_lr: γ of adder filters; None: `lr`.
        filter_weight_decay: of adder filters; None: `weight_decay`.

    Raises:
        TypeError: `model` is no module.
        ValueError: an option out of range; in `step`, a sparse gradient.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200, eqs. 12 and 13, Algorithm 1.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 5e-4,
        adaptive_lr: AdaptiveLr = "alr",
        eta: float = 0.1,
        clip_norm: float | None = None,
        filter_lr: float | None = None,
        filter_weight_decay: float | None = None,
    ) -> None:
        expect("model", model, nn.Module, "give the network itself, and not its parameters: layers decide their rates")
        _check_options(adaptive_lr, eta)
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be > 0, got {clip_norm}")
        filters = list(dict.fromkeys(adder_parameters(model).values()))  # a tied filter once
        marked = set(filters)
        others = [parameter for parameter in model.parameters() if parameter not in marked]
        groups: list[dict[str, Any]] = [{"params": others, "adaptive_lr": "none", "eta": eta}]
        if filters:
            own = {"lr": filter_lr, "weight_decay": filter_weight_decay}
            for name, value in own.items():
                if value is not None and not value >= 0:
                    raise ValueError(f"filter_{name} must be ≥ 0, got {value}")
            given = {name: value for name, value in own.items() if value is not None}
            groups.append({"params": filters, "adaptive_lr": adaptive_lr, "eta": eta, **given})
        self.clip_norm = clip_norm
        self._names = {weight: name for name, weight in _weights(model).items()}
        self._local_lr: dict[str, Tensor] = {}
        self._grad_norm: dict[str, Tensor] = {}
        super().__init__(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        self.defaults.update(adaptive_lr="none", eta=eta)

    def __getstate__(self) -> dict[str, Any]:
        """State for copy and pickle: torch's part and our own attributes."""
        own = ("clip_norm", "_names", "_local_lr", "_grad_norm")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with `last_step`: what `local_rates` and `grad_norms` tell."""
        return {**super().state_dict(), "last_step": {"local_lr": self._local_lr, "grad_norm": self._grad_norm}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's. A state without `last_step`, such as that of a plain SGD, tells no rates and norms."""
        super().load_state_dict(state_dict)
        last = state_dict.get("last_step", {})
        self._local_lr, self._grad_norm = last.get("local_lr", {}), last.get("grad_norm", {})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's, with the options `adaptive_lr` and `eta`."""
        _check_options(param_group.get("adaptive_lr", "none"), param_group.get("eta", 1.0))
        super().add_param_group(param_group)
        for index, parameter in enumerate(param_group["params"]):
            if parameter.is_complex():
                self.param_groups.pop()
                raise ValueError(
                    f"parameter {index} of a group has the complex type {parameter.dtype}, AdderSGD takes real ones: "
                    "give complex parameters to an optimizer of their own"
                )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Does one step of Algorithm 1."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        updates = self._gradients()
        self._scale(updates)
        self._clip(updates)
        for group in self.param_groups:
            self._descend(group, updates)
        return loss

    def _gradients(self) -> dict[Tensor, Tensor]:
        """The gradient of each parameter that has one."""
        found: dict[Tensor, Tensor] = {}
        for number, group in enumerate(self.param_groups):
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                if parameter.grad.layout != torch.strided:
                    name = self._names.get(parameter, f"parameter {index} of group {number}")
                    raise ValueError(
                        f"the gradient of {name} has the layout {parameter.grad.layout}, AdderSGD takes dense ones: "
                        "turn sparse gradients off where it arises, or give the parameter an optimizer of its own"
                    )
                found[parameter] = parameter.grad
        return found

    def _scale(self, updates: dict[Tensor, Tensor]) -> None:
        """ΔL(F_l) → α_l · ΔL(F_l) for every adder layer; keeps norms and rates for `grad_norms` and `local_rates`."""
        self._local_lr, self._grad_norm = {}, {}
        for number, group in enumerate(self.param_groups):
            kind, eta = group["adaptive_lr"], group["eta"]
            layers = {p: f"group {number}, {i}" for i, p in enumerate(group["params"]) if p in updates}
            if kind == "none":
                layers = {p: name for p, name in layers.items() if p in self._names}
            for bucket in _alike(layers):
                names = [self._names.get(p, layers[p]) for p in bucket]
                grads = [updates[p] for p in bucket]
                norms = _norms(grads)
                self._grad_norm.update(zip(names, norms, strict=True))
                if kind == "none":
                    continue
                rates = _adaptive(bucket, norms, eta) if kind == "alr" else torch.full_like(norms, ILR)
                self._local_lr.update(zip(names, rates, strict=True))
                updates.update(zip(bucket, torch._foreach_mul(grads, list(rates.unbind())), strict=True))

    def _clip(self, updates: dict[Tensor, Tensor]) -> None:
        """Scales all updates so that their common norm is at most `clip_norm`."""
        if self.clip_norm is None or not updates:
            return
        buckets = _alike(updates)
        norms = torch.cat([_norms([updates[p] for p in bucket]).to(buckets[0][0].device) for bucket in buckets])
        factor = (self.clip_norm / torch.linalg.vector_norm(norms).clamp_min(LEAST_NORM)).clamp_max(1.0)
        for bucket in buckets:
            scaled = torch._foreach_mul([updates[p] for p in bucket], factor.to(bucket[0].device))
            updates.update(zip(bucket, scaled, strict=True))

    def _descend(self, group: dict[str, Any], updates: dict[Tensor, Tensor]) -> None:
        """Runs torch's SGD on one group, with our updates instead of the gradients.

        Not `super().step()`: that runs the hooks of a step a second time as soon as the process has a plain SGD too.
        """
        parameters = [p for p in group["params"] if p in updates]
        velocities = [self.state[p].get("momentum_buffer") if group["momentum"] else None for p in parameters]
        several = group["foreach"] is not False and not group["fused"]
        # Torch's form for many tensors adds the momentum into the list that it is given.
        in_place = several and group["nesterov"] and group["weight_decay"] == 0
        sgd(
            parameters,
            [updates[p].clone() if in_place and updates[p] is p.grad else updates[p] for p in parameters],
            velocities,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            foreach=several,
            fused=group["fused"],
        )
        if group["momentum"]:
            for parameter, velocity in zip(parameters, velocities, strict=True):
                self.state[parameter]["momentum_buffer"] = velocity

    def local_rates(self) -> dict[str, float]:
        """α_l of the last step by layer name, of the adder layers that have a local rate."""
        return {name: rate.item() for name, rate in self._local_lr.items()}

    def grad_norms(self) -> dict[str, float]:
        """‖ΔL(F_l)‖₂ of the last step, before any scaling, by name of the adder, convolution or linear layer."""
        return {name: norm.item() for name, norm in self._grad_norm.items()}


def _check_options(adaptive_lr: str, eta: float) -> None:
    if adaptive_lr not in ADAPTIVE:
        raise ValueError(f"adaptive_lr must be one of {', '.join(ADAPTIVE)}, got {adaptive_lr!r}")
    if not eta > 0:
        raise ValueError(f"eta must be > 0, got {eta}")


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of every adder, convolution and linear layer, by the layer's name."""
    filters = (nn.Conv2d, nn.Linear, AdderLayer)
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, filters)}


def _alike(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """Groups parameters by device and type, so that one call computes many of them."""
    buckets: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for parameter in parameters:
        buckets.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    return list(buckets.values())


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """The 2-norm of each tensor as one vector. Half types are summed in float32, since fp16 ends at 65504."""
    kind = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(torch._foreach_norm(list(tensors), 2, kind))


def _adaptive(filters: Sequence[Tensor], norms: Tensor, eta: float) -> Tensor:
    """Eq. 13: η √k / ‖ΔL(F_l)‖₂ for each layer, as a vector."""
    numerators = _numerators(eta, tuple(f.numel() for f in filters), norms.dtype, norms.device)
    return norms.clamp_min(LEAST_NORM).reciprocal() * numerators


@lru_cache(maxsize=64)
def _numerators(eta: float, sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """η √k for layers of k elements each. Cached: to make it costs a GPU one transfer in every step."""
    return torch.tensor([eta * k**0.5 for k in sizes], dtype=dtype, device=device)
