"""`python -m addercore.analysis.inside CHECKPOINT…`: looks into a training, layer by layer, at each of its checkpoints.

The images that trained against those that validated; of each layer the gradient's norm, the local learning rate α_l
(eq. 13), the step relative to the weights, γ·α_l·‖ΔL‖ / ‖F‖, and the channels that are dead behind its normalisation.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from addercore.analysis.context import similarity_layers, weight_of
from addercore.config import TrainConfig, dataset
from addercore.data import Preprocess, Source, parts
from addercore.networks import build_for
from addercore.nn import AdderLayer
from addercore.optim import ILR, LEAST_NORM
from addercore.train import checkpoint
from addercore.train.batches import generator

IMAGES: Final = 1024
"""Images of each side on which a checkpoint is looked at, at most."""


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
        dead: share of the channels behind its normalisation that are ≤ 0 for all images; None without a normalisation.
    """

    layer: str
    kind: str
    grad_norm: float
    weight_norm: float
    local_rate: float
    relative_step: float
    dead: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A network at one checkpoint: accuracy 0…1 and loss (nats) of both sides, in evaluation mode, and its layers."""

    step: int
    epoch: int
    train_accuracy: float
    train_loss: float
    validation_accuracy: float
    validation_loss: float
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
    o, module = config.optimizer, build_for(config, seed=0)
    module.load_state_dict(state["model"])
    for layer in module.modules():
        if isinstance(layer, AdderLayer):
            layer.clip, layer.p = o.clip_input_gradient, state.get("p", 1.0)
    data = parts(config.dataset.name, data_dir, config.holdout)
    preprocess = Preprocess.of(dataset(config.dataset.name), torch.device("cpu"))
    train, validation = (_some(side, preprocess, images) for side in (data.train, data.validation))
    module.eval()
    dead = _dead(module, train[0])
    (accuracy, loss), (val_accuracy, val_loss) = _score(module, *train), _score(module, *validation)
    groups = state["optimizer"]["param_groups"]  # the last one has the adder filters, if there are any
    module.train()
    module.zero_grad()
    nnf.cross_entropy(module(train[0]), train[1]).backward()  # type: ignore[no-untyped-call]
    layers = []
    for name, layer in similarity_layers(module).items():
        weight = weight_of(layer)
        adder, norm = isinstance(layer, AdderLayer), 0.0 if weight.grad is None else float(weight.grad.norm())
        rate = _local_rate(o.adaptive_lr, o.eta, weight, norm) if adder else 1.0
        size = float(weight.detach().norm())
        step = groups[-1 if adder else 0]["lr"] * rate * norm / max(size, LEAST_NORM)
        layers.append(Inside(name, "adder" if adder else "other", norm, size, rate, step, dead.get(name)))
    place = state["place"]
    return Moment(place["step"], place["epoch"], accuracy, loss, val_accuracy, val_loss, tuple(layers))


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
            f" (loss {moment.validation_loss:.4f})"
        )
        lines.append(f"  {'layer':24}{'kind':8}{'‖ΔL‖':>12}{'‖F‖':>12}{'α':>12}{'step/‖F‖':>12}{'dead':>8}")
        for one in moment.layers:
            numbers = (one.grad_norm, one.weight_norm, one.local_rate, one.relative_step)
            dead = "–" if one.dead is None else f"{one.dead:.1%}"
            lines.append(f"  {one.layer:24}{one.kind:8}{''.join(f'{n:12.4g}' for n in numbers)}{dead:>8}")
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
