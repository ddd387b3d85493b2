"""A quantisation's configuration: a float model, images to calibrate with, and the numbers that it shall have."""

from typing import Annotated, Literal

from pydantic import Field

from addercore.config.fields import WHOLE, Config, Count, ModelId, PositiveFloat, Section
from addercore.config.sections import DatasetConfig

QUANTIZED = ("adder", "conv")
"""Methods whose networks become integer networks."""


class FinetuneConfig(Section):
    """Training on with rounded numbers, after the calibration."""

    epochs: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 2
    """Passes over the training images."""
    lr: PositiveFloat = 0.01
    """Learning rate at the first step; it falls along a cosine."""


class QuantizeConfig(Config):
    """An integer model of a float one; `model_id` and `dataset.name` are required."""

    model_id: ModelId
    """Id of the float model, of method `adder` or `conv`."""
    dataset: DatasetConfig
    """The dataset: its training images calibrate, its validation images measure."""
    bits: Annotated[int, Field(ge=2, le=8), WHOLE] = 8
    """Bits of weights and activations."""
    groups: Annotated[int, Field(ge=1, le=8), WHOLE] = 1
    """Groups of filters in an adder layer, each with a range of its own."""
    rescale: Literal["multiply", "shift"] = "multiply"
    """How a sum becomes the next layer's number: by an integer multiplication, or by a shift alone."""
    calibration_images: Annotated[Count, Field(ge=2, le=1_000_000)] = 512
    """Training images by which the scales are chosen."""
    finetune: FinetuneConfig | None = None
    """Training on with rounded numbers; null: calibration alone."""


def unfit_for_integers(manifest: dict[str, object]) -> str | None:
    """Why a model cannot be quantised, by its manifest; None where it can."""
    if "quantisation" in manifest:
        return "is an integer model already; name the float model that it was derived from"
    network = manifest.get("network")
    method = network.get("method") if isinstance(network, dict) else None
    if method not in QUANTIZED:
        return f"computes its layers by {method}; networks of {' and '.join(QUANTIZED)} become integer models"
    return None
