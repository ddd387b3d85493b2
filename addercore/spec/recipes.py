"""Defaults of a training spec: the paper's recipe for each dataset (docs/paper.md, section 3)."""

from copy import deepcopy
from typing import Any, Final

from addercore.spec.datasets import dataset
from addercore.spec.methods import METHODS, default_first_last

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

_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "mnist": {},
    "digits": {"epochs": 30, "batch_size": 128},
}


def recipe(dataset_name: str, method: str = "adder") -> dict[str, Any]:
    """Every default of a training spec on `dataset_name`: all fields but `model.arch`, a new dictionary each time."""
    dataset(dataset_name)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    spec = deepcopy(_PAPER) | _CHANGES.get(dataset_name, {})
    spec["model"]["method"] = method
    spec["dataset"] = {"name": dataset_name}
    if method != "adder":
        spec["optimizer"]["adaptive_lr"] = "none"  # no layer has adder filters: nothing to rescale
        spec["model"]["first_last"] = default_first_last(method)
    return spec
