"""Networks, counts, datasets, recipes, configurations and manifests in pure Python: no torch, no numpy."""

from addercore.spec.catalogue import RECIPES, RecipeInfo
from addercore.spec.checks import FieldError, InvalidConfig
from addercore.spec.config import (
    SERVICE_KEYS,
    CheckpointConfig,
    DatasetConfig,
    DistillConfig,
    EarlyStopConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    check,
    unfit_teacher,
)
from addercore.spec.counts import DATA_TYPES, Counts, LayerCount, Operations, count
from addercore.spec.datasets import DATASETS, DatasetInfo, dataset, is_dataset, register
from addercore.spec.manifest import check_manifest, read_manifest
from addercore.spec.methods import BINARY, FIRST_LAST, METHODS, default_first_last
from addercore.spec.networks import ARCHS, PUBLISHED, Network, network, tensors
from addercore.spec.recipes import recipe
from addercore.spec.studies import AnalyzeConfig
from addercore.spec.uploads import FORMATS, MAX_SIDE, IntakeOptions

__all__ = [
    "ARCHS",
    "BINARY",
    "DATASETS",
    "DATA_TYPES",
    "FIRST_LAST",
    "FORMATS",
    "MAX_SIDE",
    "METHODS",
    "PUBLISHED",
    "RECIPES",
    "SERVICE_KEYS",
    "AnalyzeConfig",
    "CheckpointConfig",
    "Counts",
    "DatasetConfig",
    "DatasetInfo",
    "DistillConfig",
    "EarlyStopConfig",
    "FieldError",
    "IntakeOptions",
    "InvalidConfig",
    "LayerCount",
    "ModelConfig",
    "Network",
    "Operations",
    "OptimizerConfig",
    "RecipeInfo",
    "TrainConfig",
    "check",
    "check_manifest",
    "count",
    "dataset",
    "default_first_last",
    "is_dataset",
    "network",
    "read_manifest",
    "recipe",
    "register",
    "tensors",
    "unfit_teacher",
]
