"""What a job may say: trainings, evaluations, analyses, uploads, known datasets and the paper's recipes.

Each field of a spec stands once, with its type, bounds, default and meaning. Needs pydantic; no torch, no numpy.
"""

from addercore.config.analyze import AnalyzeConfig, Run, recipe_spec
from addercore.config.datasets import DATASETS, DatasetInfo, dataset, is_dataset, register
from addercore.config.errors import FieldError, InvalidConfig, explain, field_errors
from addercore.config.evaluate import EvaluateConfig
from addercore.config.fields import SERVICE_KEYS, merge
from addercore.config.predict import ImageOptions, image_bytes, is_data_uri
from addercore.config.quantize import FinetuneConfig, QuantizeConfig, unfit_for_integers
from addercore.config.recipes import RECIPES, RecipeInfo
from addercore.config.rows import Row
from addercore.config.sections import (
    CheckpointConfig,
    DatasetConfig,
    DistillConfig,
    EarlyStopConfig,
    ModelConfig,
    OptimizerConfig,
)
from addercore.config.train import TrainConfig, recipe, unfit_teacher
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
    "EvaluateConfig",
    "FieldError",
    "FinetuneConfig",
    "ImageOptions",
    "IntakeOptions",
    "InvalidConfig",
    "ModelConfig",
    "OptimizerConfig",
    "QuantizeConfig",
    "RecipeInfo",
    "Row",
    "Run",
    "TrainConfig",
    "dataset",
    "explain",
    "field_errors",
    "image_bytes",
    "is_data_uri",
    "is_dataset",
    "merge",
    "recipe",
    "recipe_spec",
    "register",
    "unfit_for_integers",
    "unfit_teacher",
]
