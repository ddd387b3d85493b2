"""Training: `fit` and `evaluate`, and what they report."""

from addercore.train.callbacks import Callbacks
from addercore.train.evaluation import EvaluateResult, evaluate
from addercore.train.reports import Artifact, MetricPoint, Phase, Progress
from addercore.train.run import FitResult, fit

__all__ = [
    "Artifact",
    "Callbacks",
    "EvaluateResult",
    "FitResult",
    "MetricPoint",
    "Phase",
    "Progress",
    "evaluate",
    "fit",
]
