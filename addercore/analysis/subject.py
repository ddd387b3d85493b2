"""What a study is given: a trained or given model, or a network as it is initialised, and the images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from addercore.analysis.images import Images
from addercore.config import AnalyzeConfig, Run, dataset
from addercore.data import Split
from addercore.errors import BadModel
from addercore.io import Model
from addercore.networks import build
from addercore.nn import AdderLayer
from addercore.train.isolation import isolated

MODEL: Final = "model"
"""Name and row of the finding about a given model."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the analysis computes, and where its data lies."""

    config: AnalyzeConfig
    data_dir: Path | None
    device: torch.device
    backend: str

    def images(self, split: Split, model: Model | None = None) -> Images:
        """As the dataset is normalised, or as a given model wants it; training images with a training's labels."""
        info = dataset(self.config.dataset.name)
        if model is not None and model.network.input_shape != info.input_shape:
            raise BadModel(
                f"the model takes images of {model.network.input_shape}, but {info.name} has {info.input_shape}; "
                "name the dataset that it was trained on"
            )
        normalisation = None if model is None else (model.mean, model.std)
        shuffled = split == "train" and self.config.control == "permuted_labels"
        return Images(info, split, self.data_dir, self.device, normalisation, shuffled)

    def initial(self, run: Run) -> nn.Module:
        """The network with which a training of `run` begins, on the device."""
        model = run.config.model
        with isolated(run.seed, self.device, None):
            module = build(run.config.network(), model.method, model.first_last, model.gradient, self.backend)
        return module.to(self.device)


def similarity_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every layer that computes similarities (eq. 1), by name, in order."""
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear | AdderLayer)}


def weight_of(layer: nn.Module) -> Tensor:
    """Its filters, (c_out, …)."""
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(layer).__name__} has no filters")
    return weight
