"""The sections of a training's configuration: network, dataset, optimizer, checkpoints, early stopping, distillation.

The defaults are those of the paper's MNIST experiments; `addercore.config.defaults` has what other datasets change.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from addercore.arch.networks import ARCHS, FIRST_LAST, METHODS
from addercore.config.datasets import DATASETS, dataset, is_dataset
from addercore.config.errors import field_errors
from addercore.config.fields import WHOLE, Count, ModelId, NonNegativeFloat, PositiveFloat, Section, names, one_of

Method = Literal["adder", "conv", "bnn", "xnor", "bwn"]
FirstLast = Literal["adder", "conv"]
assert get_args(Method) == METHODS
assert get_args(FirstLast) == FIRST_LAST

Gradient = Literal["full_precision", "sign"]
AdaptiveLr = Literal["alr", "ilr", "none"]
Schedule = Literal["cosine", "constant"]
Arch = Annotated[str, names(ARCHS, examples=["lenet5_bn"]), one_of(ARCHS)]


class ModelConfig(Section):
    """The network: its architecture, and what its layers compute."""

    arch: Arch
    """Network architecture; it must fit the dataset's images."""
    method: Method = "adder"
    """What a layer computes: `adder` (negative L1 distance, eq. 2), `conv` (the multiplying twin), `bnn` (1-bit weights
    and activations, DoReFa-Net), `xnor` (XNOR-Net) or `bwn` (binary weights, float activations)."""
    first_last: FirstLast = "adder"
    """Whether the method also applies to the first and the last layer (`adder`), or these two stay convolutions
    (`conv`, the default of all methods but `adder`, and of CIFAR and ImageNet)."""
    gradient: Gradient = "full_precision"
    """Filter gradient of adder layers: eq. 5, or the sign gradient of eq. 4."""


class DatasetConfig(Section):
    """The images and labels."""

    name: Annotated[
        str,
        Field(examples=list(DATASETS), json_schema_extra={"x-values": "a dataset's name or id"}),
        one_of(DATASETS, is_dataset),
    ]
    """A published dataset, or a user's: its name (the newest version) or its id."""


class OptimizerConfig(Section):
    """Stochastic gradient descent with the paper's adaptive local learning rate."""

    lr: PositiveFloat = 0.1
    """Global learning rate γ at the first step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share of the last step's velocity that is kept."""
    nesterov: bool = True
    """Nesterov's form of the momentum. CIFAR's default is false."""
    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty, added to the gradient. ImageNet's default is 0.0001."""
    schedule: Schedule = "cosine"
    """How the learning rate falls: half a cosine from `lr` to 0 over all steps, or not at all."""
    adaptive_lr: AdaptiveLr = "alr"
    """Local rate of adder layers: eq. 13 (`alr`), the ablation's constant 100 (`ilr`), or none. The default of methods
    without adder layers is `none`."""
    eta: PositiveFloat = 0.1
    """η of eq. 13. The default of CIFAR and ImageNet is 0.2, as in the authors' code."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient over all parameters, after the local learning rates; has no effect on adder layers
    under `alr`, which normalises theirs. Null: no limit."""
    accumulate: Annotated[int, Field(ge=1, le=1024), WHOLE] = 1
    """Batches whose gradients are summed for one step."""

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise field_errors([("", "needs optimizer.momentum > 0; set nesterov to false or give a momentum")])
        return nesterov


class CheckpointConfig(Section):
    """When to save a checkpoint: after so many epochs, or so many seconds after the last one, whichever is first."""

    every_epochs: Count | None = 1
    """Epochs between two checkpoints; null: the clock alone decides."""
    every_seconds: PositiveFloat | None = 300.0
    """Seconds between two checkpoints; null: the epochs alone decide."""
    keep: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """Newest checkpoints that are kept."""


class EarlyStopConfig(Section):
    """Ends a training whose val/accuracy no longer rises."""

    patience: Count
    """Epochs without a better val/accuracy after which the training ends."""
    min_delta: NonNegativeFloat = 0.0
    """A better accuracy is more than this above the best so far."""


class DistillConfig(Section):
    """Learns from a trained model's scores beside the labels (`addercore.train.distillation` has the formula)."""

    teacher: ModelId
    """Id of the model whose scores the training shall match: the convolutional twin, or any other that takes the same
    images and knows the same classes."""
    temperature: PositiveFloat = 2.0
    """T: the scores of both are divided by it before they are compared."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the teacher in the loss; the labels have the rest."""
    features: NonNegativeFloat = 1.0
    """Weight of the layers' kernels (which images of a batch are alike after each batch normalisation) beside the
    scores. 0: the scores alone, and then the teacher may have another architecture."""


def check_batch_size(batch_size: int | None, info: ValidationInfo) -> int | None:
    """Refuses more images than the dataset trains on; for the validator of a field that comes after `dataset`."""
    chosen = info.data.get("dataset")
    if batch_size is not None and isinstance(chosen, DatasetConfig):
        size = dataset(chosen.name).train_size
        if batch_size > size:
            reason = f"{batch_size} exceeds the {size} training images of {chosen.name}; give at most {size}"
            raise field_errors([("", reason)])
    return batch_size
