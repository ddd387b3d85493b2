"""Training: `fit` and `evaluate`, and what they report."""

from addercore.train.artifacts import Artifact
from addercore.train.callbacks import Callbacks, MetricPoint, Progress
from addercore.train.evaluation import EvaluateResult, evaluate
from addercore.train.run import FitResult, fit

__all__ = ["Artifact", "Callbacks", "EvaluateResult", "FitResult", "MetricPoint", "Progress", "evaluate", "fit"]
