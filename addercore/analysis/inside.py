"""`python -m addercore.analysis.inside CHECKPOINT…`: looks into a training, layer by layer, at each of its checkpoints.

The images that trained against those that validated, with the running statistics of batch normalisation and with those
of the images at hand; of each layer the gradient's norm, the local learning rate α_l (eq. 13), the step relative to the
weights without momentum, γ·α_l·‖ΔL‖ / ‖F‖, and with it, what that step takes off the loss, the filters' values that
next to no input passes, and the channels that are dead behind its normalisation.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from addercore.analysis.context import similarity_layers, weight_of
from addercore.config import OptimizerConfig, TrainConfig, dataset
from addercore.data import Preprocess, Source, parts
from addercore.networks import build_for
from addercore.nn import AdderLayer
from addercore.optim import ILR, LEAST_NORM, AdderSGD
from addercore.train import checkpoint
from addercore.train.batches import generator

IMAGES: Final = 1024
"""Images of each side on which a checkpoint is looked at, at most."""
FEW: Final = 0.01
"""Share of the inputs that is next to none."""
INPUTS_OF: Final = 256
"""Images by whose inputs a layer's filters are judged, at most: they are sorted."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A layer of a network at one moment of its training.

    Attributes:
        layer: its name.
        kind: "adder", or "other" for convolutions, linear and binary layers.
        grad_norm: ‖ΔL(F)‖₂ of the loss on training images, in training mode.
        weight_norm: ‖F‖₂.
        local_rate: α_l; 1 where the layer has none.
        relative_step: γ · α_l · ‖ΔL(F)‖₂ / ‖F‖₂ with the last step's γ, the step that gradient descent without momentum
            would take.
        moving: γ · ‖V‖₂ / ‖F‖₂ with the velocity V of the training's last step, None without momentum m. Where eq. 13
            gives all updates one length it is 1 / (1 − m) times `relative_step` if they point in one direction, and
            1 / √(1 − m²) times if they are noise: 10 and 2.3 for m = 0.9.
        gain: loss (nats) that the step of `relative_step` takes off the training images, if this layer alone does it;
            below zero, it adds some.
        beyond: share of an adder layer's values F that at most 1 % of their channel's inputs X lie above, or at most
            1 % below. There −|X − F| is ±X and a constant, as in a binary network. None for other layers.
        dead: share of the channels behind its normalisation that are ≤ 0 for all images; None without a normalisation.
    """

    layer: str
    kind: str
    grad_norm: float
    weight_norm: float
    local_rate: float
    relative_step: float
    moving: float | None
    gain: float
    beyond: float | None
    dead: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A network at one checkpoint: accuracy 0…1 and loss (nats) of both sides, in evaluation mode, and its layers.

    Attributes:
        train_by_batch: accuracy on the training images where batch normalisation takes the statistics of all of them in
            place of the running ones.
        validation_by_batch: the same on the validation images.
    """

    step: int
    epoch: int
    train_accuracy: float
    train_loss: float
    validation_accuracy: float
    validation_loss: float
    train_by_batch: float
    validation_by_batch: float
    layers: tuple[Inside, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def look_inside(paths: Sequence[Path], data_dir: Path | None = None, images: int = IMAGES) -> list[Moment]:
    """Looks at checkpoints of trainings.

    Args:
        paths: checkpoints, of one training or of several.
        data_dir: folder with the datasets' files; digits need none.
        images: how many images of each side are looked at, drawn at random by a fixed seed.

    Returns:
        What was seen, in the order of `paths`.

    Raises:
        CheckpointError: a file is no whole checkpoint of a training.
        BadData: files of the dataset are missing or damaged.
    """
    return [_moment(checkpoint.load(path).state, data_dir, images) for path in paths]


def _moment(state: dict[str, Any], data_dir: Path | None, images: int) -> Moment:
    config = TrainConfig.from_dict(state["config"])
    module = build_for(config, seed=0)
    module.load_state_dict(state["model"])
    for layer in module.modules():
        if isinstance(layer, AdderLayer):
            layer.clip, layer.p = config.optimizer.clip_input_gradient, state.get("p", 1.0)
    data = parts(config.dataset.name, data_dir, config.holdout)
    preprocess = Preprocess.of(dataset(config.dataset.name), torch.device("cpu"))
    train, validation = (_some(side, preprocess, images) for side in (data.train, data.validation))
    module.eval()
    dead, beyond = _dead(module, train[0]), _beyond(module, train[0][:INPUTS_OF])
    (accuracy, loss), (val_accuracy, val_loss) = _score(module, *train), _score(module, *validation)
    module.train()
    by_batch = _score(module, *train)[0], _score(module, *validation)[0]
    layers = tuple(_layers(module, config.optimizer, state["optimizer"], *train))
    layers = tuple(replace(one, dead=dead.get(one.layer), beyond=beyond.get(one.layer)) for one in layers)
    place = state["place"]
    return Moment(place["step"], place["epoch"], accuracy, loss, val_accuracy, val_loss, *by_batch, layers)


def _layers(
    module: nn.Module, o: OptimizerConfig, state: dict[str, Any], images: Tensor, labels: Tensor
) -> Iterator[Inside]:
    """What a network in training mode and the state of its optimizer say of each layer; `beyond` and `dead` are not."""
    groups, velocities = state["param_groups"], _velocities(module, state)
    module.zero_grad()
    before = nnf.cross_entropy(module(images), labels)
    before.backward()  # type: ignore[no-untyped-call]
    for name, layer in similarity_layers(module).items():
        weight, adder = weight_of(layer), isinstance(layer, AdderLayer)
        norm = 0.0 if weight.grad is None else float(weight.grad.norm())
        size = max(float(weight.detach().norm()), LEAST_NORM)
        rate = _local_rate(o.adaptive_lr, o.eta, weight, norm) if adder else 1.0
        lr = groups[-1 if adder else 0]["lr"]  # the last group has the adder filters, if there are any
        velocity = velocities.get(weight)
        yield Inside(
            layer=name,
            kind="adder" if adder else "other",
            grad_norm=norm,
            weight_norm=size,
            local_rate=rate,
            relative_step=lr * rate * norm / size,
            moving=None if velocity is None else lr * float(velocity.norm()) / size,
            gain=float(before.detach()) - _loss_after(module, weight, lr * rate, images, labels),
            beyond=None,
            dead=None,
        )


def _velocities(module: nn.Module, state: dict[str, Any]) -> dict[Tensor, Tensor]:
    """The momentum of each parameter that has one."""
    optimizer = AdderSGD(module, 1.0)
    optimizer.load_state_dict(state)
    found = {parameter: own.get("momentum_buffer") for parameter, own in optimizer.state.items()}
    return {parameter: velocity for parameter, velocity in found.items() if velocity is not None}


@torch.no_grad()
def _loss_after(module: nn.Module, weight: Tensor, rate: float, images: Tensor, labels: Tensor) -> float:
    """The loss in training mode after one step of gradient descent of `weight` alone, which is taken back."""
    if weight.grad is None:
        return _score(module, images, labels)[1]
    kept = weight.clone()
    weight.sub_(weight.grad, alpha=rate)
    loss = _score(module, images, labels)[1]
    weight.copy_(kept)
    return loss


def _local_rate(kind: str, eta: float, weight: Tensor, norm: float) -> float:
    """α_l of an adder layer, as the optimizer has it."""
    if kind == "alr":
        return float(eta * weight.numel() ** 0.5 / max(norm, LEAST_NORM))
    return ILR if kind == "ilr" else 1.0


def _some(side: Source, preprocess: Preprocess, images: int) -> tuple[Tensor, Tensor]:
    chosen = torch.randperm(len(side), generator=generator("inside"))[:images].sort().values
    return preprocess(side.pixels(chosen)), side.labels[chosen]


@torch.no_grad()
def _score(module: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    scores = module(images)
    return float((scores.argmax(1) == labels).double().mean()), float(nnf.cross_entropy(scores, labels))


@torch.no_grad()
def _beyond(module: nn.Module, images: Tensor) -> dict[str, float]:
    """`Inside.beyond` of the adder layers, in evaluation mode."""
    found: dict[str, float] = {}
    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, AdderLayer):

            def seen(part: nn.Module, given: tuple[Tensor, ...], of: str = name) -> None:
                assert isinstance(part, AdderLayer)
                found[of] = _share_beyond(part.weight, given[0], part.options[3])

            handles.append(layer.register_forward_pre_hook(seen))
    module(images)
    for handle in handles:
        handle.remove()
    return found


def _share_beyond(filters: Tensor, inputs: Tensor, groups: int) -> float:
    channels = inputs.transpose(0, 1).flatten(1).contiguous().sort(1).values.contiguous()
    by_group = filters.reshape(groups, -1, *filters.shape[1:]).transpose(1, 2)  # (groups, channels of one, filters, …)
    values = by_group.reshape(len(channels), -1).contiguous()
    below = torch.searchsorted(channels, values).double() / channels.shape[1]
    return float(((below <= FEW) | (below >= 1 - FEW)).double().mean())


@torch.no_grad()
def _dead(module: nn.Module, images: Tensor) -> dict[str, float]:
    """The share of dead channels behind the normalisation that follows each layer in the network's order."""
    found: dict[str, float] = {}
    handles, last = [], ""
    layers = similarity_layers(module)
    for name, part in module.named_modules():
        if name in layers:
            last = name
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and last:

            def seen(_part: nn.Module, _inputs: object, output: Tensor, of: str = last) -> None:
                largest = output.transpose(0, 1).flatten(1).amax(1)
                found[of] = float((largest <= 0).double().mean())

            handles.append(part.register_forward_hook(seen))
            last = ""
    module(images)
    for handle in handles:
        handle.remove()
    return found


def table(moments: Sequence[Moment]) -> str:
    """For people: a block for each checkpoint, a line for each layer."""
    lines = []
    for moment in moments:
        lines.append(
            f"step {moment.step}, epoch {moment.epoch}: train {moment.train_accuracy:.2%}"
            f" (loss {moment.train_loss:.4f}), validation {moment.validation_accuracy:.2%}"
            f" (loss {moment.validation_loss:.4f}); by the images' own statistics train {moment.train_by_batch:.2%},"
            f" validation {moment.validation_by_batch:.2%}"
        )
        heads = ("‖ΔL‖", "‖F‖", "α", "step/‖F‖", "moving", "gain", "beyond")
        lines.append(f"  {'layer':24}{'kind':8}{''.join(f'{head:>12}' for head in heads)}{'dead':>8}")
        for one in moment.layers:
            numbers = (
                one.grad_norm,
                one.weight_norm,
                one.local_rate,
                one.relative_step,
                one.moving,
                one.gain,
                one.beyond,
            )
            dead = "–" if one.dead is None else f"{one.dead:.1%}"
            cells = "".join(f"{'–':>12}" if n is None else f"{n:12.4g}" for n in numbers)
            lines.append(f"  {one.layer:24}{one.kind:8}{cells}{dead:>8}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, help="folder with the datasets' files")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"of each side ({IMAGES})")
    parser.add_argument("--json", action="store_true", help="a JSON object for each checkpoint, a line each")
    options = parser.parse_args(arguments)
    moments = look_inside(options.checkpoints, options.data, options.images)
    print("\n".join(json.dumps(one.to_dict()) for one in moments) if options.json else table(moments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
