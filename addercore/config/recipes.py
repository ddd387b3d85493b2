"""Defaults of a training spec: the paper's recipe for each dataset (docs/paper.md, section 3), and for users' own."""

from copy import deepcopy
from typing import Any, Final

from addercore.arch.methods import METHODS, default_first_last
from addercore.config.datasets import DATASETS, DatasetInfo, dataset

_PAPER: Final[dict[str, Any]] = {
    "model": {"first_last": "adder", "gradient": "full_precision"},
    "optimizer": {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "adaptive_lr": "alr",
        "eta": 0.1,  # the MNIST table's best; the authors' CIFAR code has 0.2
        "clip_norm": None,
        "accumulate": 1,
    },
    "epochs": 50,
    "batch_size": 256,
    "seed": 0,
    "precision": "fp32",
    "init_from": None,
    "augment": "none",
    "early_stop": None,
    "distill": None,
    "publish": "last",
    "checkpoint": {"every_epochs": 1, "every_seconds": 300, "keep": 2},
    "metrics_every_steps": 10,
}

# lr = 0.05 · (1 + cos(π · epoch / 400)) is the cosine from 0.1; both ends are convolutions, as in the published tables
_CIFAR: Final[dict[str, Any]] = {
    "model": {"first_last": "conv"},
    "optimizer": {"nesterov": False, "eta": 0.2},
    "epochs": 400,
    "augment": "crop_flip",
}

# Nesterov and this weight decay: the paper, section 4.3; η as in the authors' code
_IMAGENET: Final[dict[str, Any]] = {
    "model": {"first_last": "conv"},
    "optimizer": {"weight_decay": 1e-4, "eta": 0.2},
    "epochs": 150,
    "augment": "imagenet",
}

_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "mnist": {},
    "digits": {"epochs": 30, "batch_size": 128},
    "fashion_mnist": {"augment": "crop_flip"},  # clothes look the same mirrored; not in the paper
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "imagenet": _IMAGENET,
}

SMALL: Final = 64
"""Pixels: users' images of at most this height and width are trained as the small datasets are."""


def recipe(dataset_name: str, method: str = "adder") -> dict[str, Any]:
    """Every default of a training spec on `dataset_name`: all fields but `model.arch`, a new dictionary each time."""
    info = dataset(dataset_name)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    changes = _CHANGES.get(dataset_name, {}) if dataset_name in DATASETS else _for_shape(info)
    spec = _over(deepcopy(_PAPER), changes)
    spec["model"]["method"] = method
    spec["dataset"] = {"name": dataset_name}
    if method != "adder":
        spec["optimizer"]["adaptive_lr"] = "none"  # no layer has adder filters: nothing to rescale
        spec["model"]["first_last"] = default_first_last(method)
    return spec


def _for_shape(info: DatasetInfo) -> dict[str, Any]:
    """For a user's dataset: as MNIST for small grey images, as CIFAR for small coloured ones, as ImageNet for larger.

    Grey images are shifted but not mirrored (a mirrored letter is another one). 50 epochs, and no more than a tenth of
    the training images in a batch, so that a small set makes steps enough.
    """
    grey = info.input_shape[0] == 1
    if max(info.input_shape[1:]) > SMALL:
        changes = deepcopy(_IMAGENET)
    else:
        changes = {"augment": "crop"} if grey else deepcopy(_CIFAR)
    batch = 256
    while batch > 2 and 10 * batch > info.train_size:
        batch //= 2
    return {**changes, "epochs": 50, "batch_size": batch}


def _over(below: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `below`, objects field by field."""
    for key, value in changes.items():
        below[key] = _over(below[key], value) if isinstance(value, dict) else value
    return below
