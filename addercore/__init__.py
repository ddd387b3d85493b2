"""Adder networks: layers that add instead of multiply (Chen et al., CVPR 2020, arXiv:1912.13200).

Importing this package loads neither torch nor numpy: names are resolved on first use (PEP 562), so that a service can
read `addercore.arch` and `addercore.config` without the cost of a tensor library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addercore.analysis import AnalyzeResult as AnalyzeResult
    from addercore.analysis import analyze as analyze
    from addercore.config import AnalyzeConfig as AnalyzeConfig
    from addercore.config import TrainConfig as TrainConfig
    from addercore.data import sample_image as sample_image
    from addercore.errors import AdderError as AdderError
    from addercore.errors import BadData as BadData
    from addercore.errors import BadModel as BadModel
    from addercore.errors import CheckpointError as CheckpointError
    from addercore.errors import Diverged as Diverged
    from addercore.errors import LoaderLost as LoaderLost
    from addercore.errors import RankLost as RankLost
    from addercore.errors import Stopped as Stopped
    from addercore.io import Model as Model
    from addercore.io import Prediction as Prediction
    from addercore.io import load as load
    from addercore.networks import build as build
    from addercore.nn import Adder2d as Adder2d
    from addercore.nn import AdderLinear as AdderLinear
    from addercore.nn import Binary2d as Binary2d
    from addercore.nn import BinaryLinear as BinaryLinear
    from addercore.ops import adder_conv2d as adder_conv2d
    from addercore.ops import adder_linear as adder_linear
    from addercore.optim import AdderSGD as AdderSGD
    from addercore.train import Callbacks as Callbacks
    from addercore.train import EvaluateResult as EvaluateResult
    from addercore.train import FitResult as FitResult
    from addercore.train import MetricPoint as MetricPoint
    from addercore.train import Progress as Progress
    from addercore.train import evaluate as evaluate
    from addercore.train import fit as fit
    from addercore.version import __version__ as __version__

_HOME = {
    "AdderError": "errors",
    "BadData": "errors",
    "BadModel": "errors",
    "CheckpointError": "errors",
    "Diverged": "errors",
    "LoaderLost": "errors",
    "RankLost": "errors",
    "Stopped": "errors",
    "AnalyzeConfig": "config",
    "AnalyzeResult": "analysis",
    "analyze": "analysis",
    "TrainConfig": "config",
    "Adder2d": "nn",
    "AdderLinear": "nn",
    "Binary2d": "nn",
    "BinaryLinear": "nn",
    "adder_conv2d": "ops",
    "adder_linear": "ops",
    "AdderSGD": "optim",
    "build": "networks",
    "sample_image": "data",
    "Model": "io",
    "Prediction": "io",
    "load": "io",
    "Callbacks": "train",
    "EvaluateResult": "train",
    "FitResult": "train",
    "MetricPoint": "train",
    "Progress": "train",
    "evaluate": "train",
    "fit": "train",
    "__version__": "version",
}

__all__ = list(_HOME)


_EXTRA = ("torch", "numpy", "safetensors")
"""What `pip install adderworks` leaves to the extra `core`."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'addercore' has no attribute {name!r}")
    try:
        return getattr(import_module(f"addercore.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"addercore.{name} needs {error.name}, which is not installed here: pip install 'adderworks[core]'",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
