"""What a study works with: device and data, images, and networks as they are initialised."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from addercore.analysis.images import Images
from addercore.config import AnalyzeConfig, Holdout, Part, Run, dataset
from addercore.errors import BadModel
from addercore.io import Model
from addercore.networks import build_for
from addercore.nn import AdderLayer
from addercore.train.callbacks import Callbacks
from addercore.train.isolation import isolated

MODEL: Final = "model"
"""Name and row of the finding about the model of `config.model_id`."""


@dataclass(frozen=True, slots=True)
class Context:
    """The configuration of an analysis, its device and backend, its data folder, and who is told."""

    config: AnalyzeConfig
    data_dir: Path | None
    device: torch.device
    backend: str
    callbacks: Callbacks = field(default_factory=Callbacks)

    def images(self, which: Part, model: Model | None = None, run: Run | None = None) -> Images:
        """A part's images, normalised as the dataset says or as `model` needs it. Labels are those a training gets.

        What is held out is that of `run`'s training, or else of the one that made `model`.
        """
        info = dataset(self.config.dataset.name)
        if model is not None and model.network.input_shape != info.input_shape:
            raise BadModel(
                f"the model takes images of {model.network.input_shape}, but {info.name} has {info.input_shape}; "
                "name the dataset that it was trained on"
            )
        normalisation = None if model is None else (model.mean, model.std)
        holdout = None if run is None else run.config.holdout
        if run is None and model is not None:
            holdout = Holdout.of_model(model.manifest, info.name)
        shuffled = which == "train" and self.config.control == "permuted_labels"
        return Images(info, which, self.data_dir, self.device, normalisation, shuffled, holdout)

    def untrained(self, run: Run) -> nn.Module:
        """The network on the device, with the weights with which a training of `run` starts."""
        with isolated(run.seed, self.device, None):
            module = build_for(run.config, self.backend)
        return module.to(self.device)


def similarity_layers(module: nn.Module) -> dict[str, nn.Module]:
    """All layers that compute similarities (eq. 1), by name, in order: adder, convolution and linear layers."""
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear | AdderLayer)}


def weight_of(layer: nn.Module) -> Tensor:
    """The filters of a layer, (c_out, …)."""
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(layer).__name__} has no filters")
    return weight
