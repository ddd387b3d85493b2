"""What a job may say: trainings, analyses, uploads, known datasets and their recipes. No torch, no numpy."""

from addercore.config.analyze import AnalyzeConfig
from addercore.config.checks import FieldError, InvalidConfig
from addercore.config.datasets import DATASETS, DatasetInfo, dataset, is_dataset, register
from addercore.config.figures import RECIPES, RecipeInfo
from addercore.config.recipes import recipe
from addercore.config.train import (
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
from addercore.config.uploads import FORMATS, MAX_SIDE, IntakeOptions

__all__ = [
    "DATASETS",
    "FORMATS",
    "MAX_SIDE",
    "RECIPES",
    "SERVICE_KEYS",
    "AnalyzeConfig",
    "CheckpointConfig",
    "DatasetConfig",
    "DatasetInfo",
    "DistillConfig",
    "EarlyStopConfig",
    "FieldError",
    "IntakeOptions",
    "InvalidConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RecipeInfo",
    "TrainConfig",
    "check",
    "dataset",
    "is_dataset",
    "recipe",
    "register",
    "unfit_teacher",
]
