"""SGD with the paper's local learning rates for adder filters (eqs. 12, 13)."""

from collections.abc import Callable
from typing import Any, Final, Literal, overload

import torch
from torch import Tensor, nn

from addercore.nn import AdderLayer, adder_parameters

AdaptiveLr = Literal["alr", "ilr", "none"]
ADAPTIVE: Final = ("alr", "ilr", "none")
ILR: Final = 100.0  # the constant of the paper's ablation
LEAST_NORM: Final = 1e-12  # the authors' code clamps ‖ΔL‖ here


class AdderSGD(torch.optim.SGD):
    """SGD (momentum, Nesterov, weight decay as torch's) over `model`, with ΔF_l = γ · α_l · ΔL(F_l) for adder layers.

    α_l = η √k / ‖ΔL(F_l)‖₂ ("alr", eq. 13, k = elements of F_l), 100 ("ilr") or 1 ("none").

    Order of a step, fixed here: gradients as accumulated → local learning rates → `clip_norm` over all parameters →
    weight decay → momentum → γ. The rate belongs into the step and not into backward (where the authors' code has it):
    so it sees the whole accumulated, unscaled, averaged gradient. Clipping before it would do nothing to adder layers.
    Gradients are left as they were.
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
    ) -> None:
        if adaptive_lr not in ADAPTIVE:
            raise ValueError(f"adaptive_lr must be one of {', '.join(ADAPTIVE)}, got {adaptive_lr!r}")
        if not eta > 0:
            raise ValueError(f"eta must be > 0, got {eta}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be > 0, got {clip_norm}")
        filters = adder_parameters(model)
        marked = {id(parameter) for parameter in filters.values()}
        others = [parameter for parameter in model.parameters() if id(parameter) not in marked]
        groups: list[dict[str, Any]] = [{"params": others, "adaptive_lr": "none", "eta": eta}]
        if filters:
            groups.append({"params": list(filters.values()), "adaptive_lr": adaptive_lr, "eta": eta})
        super().__init__(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        self.clip_norm = clip_norm
        self._layers = _weights(model)
        self._local_lr: dict[str, Tensor] = {}
        self._grad_norm: dict[str, Tensor] = {}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of Algorithm 1's update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kept = [(p, p.grad) for group in self.param_groups for p in group["params"] if p.grad is not None]
        try:
            self._scale()
            self._clip()
            super().step()
        finally:
            for parameter, grad in kept:
                parameter.grad = grad
        return loss

    def _scale(self) -> None:
        """Puts α_l · ΔL(F_l) in place of every adder layer's gradient, and keeps the norms for `local_rates`."""
        names = {id(parameter): name for name, parameter in self._layers.items()}
        self._local_lr, self._grad_norm = {}, {}
        for group in self.param_groups:
            for parameter in group["params"]:
                name = names.get(id(parameter))
                if parameter.grad is None or name is None:
                    continue
                norm = torch.linalg.vector_norm(parameter.grad)
                self._grad_norm[name] = norm
                if group["adaptive_lr"] == "none":
                    continue
                if group["adaptive_lr"] == "alr":
                    rate = group["eta"] * parameter.numel() ** 0.5 / norm.clamp_min(LEAST_NORM)
                else:
                    rate = torch.full_like(norm, ILR)
                self._local_lr[name] = rate
                parameter.grad = parameter.grad * rate

    def _clip(self) -> None:
        """Scales all gradients so that their common norm is at most `clip_norm`."""
        if self.clip_norm is None:
            return
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(p.grad) for p in parameters])
        factor = (self.clip_norm / torch.linalg.vector_norm(norms).clamp_min(LEAST_NORM)).clamp_max(1.0)
        for parameter in parameters:
            parameter.grad = parameter.grad * factor

    def local_rates(self) -> dict[str, float]:
        """α_l of the last step, by layer name; adder layers with a local rate only."""
        return {name: rate.item() for name, rate in self._local_lr.items()}

    def grad_norms(self) -> dict[str, float]:
        """‖ΔL(F_l)‖₂ of the last step, before any scaling, by layer name; adder, convolution and linear layers."""
        return {name: norm.item() for name, norm in self._grad_norm.items()}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Layer name → filters, of every layer that computes similarities."""
    filters = (nn.Conv2d, nn.Linear, AdderLayer)
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, filters)}
