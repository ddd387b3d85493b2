"""What the paper's recipe for a dataset (docs/paper.md, section 3) changes in the defaults of a training.

The defaults themselves stand with the fields (`addercore.config.train`, `addercore.config.sections`).
"""

from copy import deepcopy
from typing import Any, Final

from addercore.arch.methods import METHODS, default_first_last
from addercore.config.datasets import DATASETS, DatasetInfo, dataset

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


def changes(dataset_name: str, method: str) -> dict[str, Any]:
    """What a dataset and a method change in the defaults that `TrainConfig` states; a new dictionary each time.

    Raises:
        ValueError: the dataset or the method is unknown.
    """
    info = dataset(dataset_name)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    changed = deepcopy(_CHANGES.get(dataset_name, {})) if dataset_name in DATASETS else _for_shape(info)
    if method != "adder":
        changed.setdefault("optimizer", {})["adaptive_lr"] = "none"  # no layer has adder filters: nothing to rescale
        changed.setdefault("model", {})["first_last"] = default_first_last(method)
    return changed


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
