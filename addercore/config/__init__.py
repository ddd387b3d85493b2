"""What a job may say: trainings, evaluations, analyses, uploads, known datasets and the paper's recipes.

Each field of a spec stands once, with its type, bounds, default and meaning. Needs pydantic; no torch, no numpy.
"""

from addercore.config.analyze import AnalyzeConfig, Run, recipe_spec
from addercore.config.benchmark import BenchmarkConfig, unfit_engines
from addercore.config.datasets import DATASETS, DatasetInfo, dataset, is_dataset, register
from addercore.config.errors import FieldError, InvalidConfig, explain, field_errors
from addercore.config.evaluate import EvaluateConfig
from addercore.config.fields import SERVICE_KEYS, merge
from addercore.config.holdout import Holdout, Part, size_of
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
    TrainingDatasetConfig,
    images_of,
)
from addercore.config.train import TrainConfig, recipe, slowness, unfit_teacher, unshared
from addercore.config.uploads import FORMATS, MAX_SIDE, IntakeOptions

__all__ = [
    "DATASETS",
    "FORMATS",
    "MAX_SIDE",
    "RECIPES",
    "SERVICE_KEYS",
    "AnalyzeConfig",
    "BenchmarkConfig",
    "CheckpointConfig",
    "DatasetConfig",
    "DatasetInfo",
    "DistillConfig",
    "EarlyStopConfig",
    "EvaluateConfig",
    "FieldError",
    "FinetuneConfig",
    "Holdout",
    "ImageOptions",
    "IntakeOptions",
    "InvalidConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Part",
    "QuantizeConfig",
    "RecipeInfo",
    "Row",
    "Run",
    "TrainConfig",
    "TrainingDatasetConfig",
    "dataset",
    "explain",
    "field_errors",
    "image_bytes",
    "images_of",
    "is_data_uri",
    "is_dataset",
    "merge",
    "recipe",
    "recipe_spec",
    "register",
    "size_of",
    "slowness",
    "unfit_engines",
    "unfit_for_integers",
    "unfit_teacher",
    "unshared",
]
