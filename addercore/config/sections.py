"""The sections of a training's configuration: network, dataset, optimizer, checkpoints, early stopping, distillation.

The defaults are those of the paper's MNIST experiments; `addercore.config.defaults` has what other datasets change.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from addercore.arch.custom import CUSTOM, MAX_LAYERS
from addercore.arch.networks import ARCHS, FIRST_LAST, METHODS
from addercore.config.datasets import DATASETS, dataset, is_dataset
from addercore.config.errors import field_errors
from addercore.config.fields import WHOLE, Count, ModelId, NonNegativeFloat, PositiveFloat, Section, names, one_of
from addercore.config.holdout import sizes
from addercore.config.layers import CustomLayer

Method = Literal["adder", "conv", "bnn", "xnor", "bwn"]
FirstLast = Literal["adder", "conv"]
assert get_args(Method) == METHODS
assert get_args(FirstLast) == FIRST_LAST

Gradient = Literal["full_precision", "sign"]
DistillKind = Literal["plain", "kernels", "pkkd"]
InputClip = Literal["hardtanh", "none", "sign"]
AdaptiveLr = Literal["alr", "ilr", "none"]
Schedule = Literal["cosine", "constant"]
Arch = Annotated[str, names(ARCHS, examples=["lenet5_bn"]), one_of(ARCHS)]


class PowerSchedule(Section):
    """The power p of adder layers, −Σ |X − F|ᵖ, while they train: it falls in a straight line, then stays at 1."""

    model_config = ConfigDict(validate_by_name=False, serialize_by_alias=True)

    start: Annotated[float, Field(alias="from", gt=1, le=2)] = 2.0
    """p of the first step."""
    end: Annotated[float, Field(alias="to", ge=1, le=1)] = 1.0
    """p at the end: 1, since the model that is published computes −Σ |X − F|."""
    until: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Share of the steps after which p is 1."""

    def power(self, step: int, steps: int) -> float:
        """p of `step` (from 0) of `steps`."""
        part = min(1.0, step / (self.until * steps))
        return self.start + (self.end - self.start) * part


class ModelConfig(Section):
    """The network: its architecture, and what its layers compute."""

    arch: Annotated[str, names((*ARCHS, CUSTOM), examples=["lenet5_bn"]), one_of((*ARCHS, CUSTOM))]
    """Network architecture; it must fit the dataset's images. `custom` is built of `layers`."""
    method: Method = "adder"
    """What a layer computes: `adder` (negative L1 distance, eq. 2), `conv` (the multiplying twin), `bnn` (1-bit weights
    and activations, DoReFa-Net), `xnor` (XNOR-Net) or `bwn` (binary weights, float activations)."""
    first_last: FirstLast = "adder"
    """Whether the method also applies to the first and the last layer (`adder`), or these two stay convolutions
    (`conv`, the default of all methods but `adder`, and of CIFAR and ImageNet)."""
    gradient: Gradient = "full_precision"
    """Filter gradient of adder layers: eq. 5, or the sign gradient of eq. 4."""
    layers: Annotated[tuple[CustomLayer, ...], Field(min_length=1, max_length=MAX_LAYERS, strict=False)] | None = None
    """The layers of `arch: custom`, in order, each an object with a `kind`; a classifier is added at the end. Null with
    every other arch."""
    sync_batchnorm: bool = True
    """Of several processes or GPUs (`resources`): batch normalisation takes the statistics of the whole batch, or
    (false) those of each one's part of it."""

    @field_validator("layers")
    @classmethod
    def _of_custom_alone(
        cls, layers: tuple[CustomLayer, ...] | None, info: ValidationInfo
    ) -> tuple[CustomLayer, ...] | None:
        arch = info.data.get("arch")
        if arch == CUSTOM and layers is None:
            raise field_errors([("", "must be a list of layers, as arch is custom")])
        if arch not in (None, CUSTOM) and layers is not None:
            raise field_errors([("", f"must be null with the arch {arch}; set arch to custom")])
        return layers

    @property
    def layer_list(self) -> list[dict[str, Any]] | None:
        """The layers as plain values."""
        return None if self.layers is None else [layer.model_dump(mode="json") for layer in self.layers]

    p_schedule: PowerSchedule | None = None
    """Trains adder layers with −Σ |X − F|ᵖ, p from 2 to 1, by its derivatives; from p = 1 on by `gradient`. Slow
    (docs/networks.md). Null: p is 1."""

    init_scale: PositiveFloat = 1.0
    """Standard deviation of the random filters with which adder layers start; the authors' code has 1. Other layers
    start as torch has them."""
    batchnorm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of a batch's mean and variance in the running statistics of batch normalisation, by which the network is
    validated and published; the batches before have the rest."""

    @field_validator("p_schedule", "init_scale")
    @classmethod
    def _has_adders(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        if value != default and (reason := without_adders(info.data.get("method"))):
            raise field_errors([("", reason)])
        return value


class DatasetConfig(Section):
    """The images and labels."""

    name: Annotated[
        str,
        Field(examples=list(DATASETS), json_schema_extra={"x-values": "a dataset's name or id"}),
        one_of(DATASETS, is_dataset),
    ]
    """A published dataset, or a user's: its name (the newest version) or its id."""


class TrainingDatasetConfig(DatasetConfig):
    """The images and labels of a training."""

    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training images that validates in place of the published test images, which the training then never
    looks at: of each class its share, drawn by `seed`. `evaluate` with `split: test` looks at those once, in the end.
    Null: the published test images validate."""

    @field_validator("holdout")
    @classmethod
    def _leaves_some(cls, holdout: float | None, info: ValidationInfo) -> float | None:
        name = info.data.get("name")
        if holdout is not None and is_dataset(name):
            train, held = sizes(dataset(name), holdout)
            if held < 1 or train < 2:
                reason = f"takes {held} of the {train + held} training images of {name}; give another share"
                raise field_errors([("", reason)])
        return holdout


def without_adders(method: str | None) -> str | None:
    """Why a field of adder layers cannot be given with a method; None where it can, or the method itself is bad."""
    return None if method in (None, "adder") else f"is for adder layers, and the method is {method}; leave it out"


def images_of(chosen: DatasetConfig) -> tuple[int, int]:
    """Images that train and images that validate."""
    return sizes(dataset(chosen.name), getattr(chosen, "holdout", None))


class OptimizerConfig(Section):
    """Stochastic gradient descent with the paper's adaptive local learning rate."""

    lr: PositiveFloat = 0.1
    """Global learning rate γ with which `schedule` begins."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share of the last step's velocity that is kept."""
    nesterov: bool = True
    """Nesterov's form of the momentum. CIFAR's default is false."""
    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty, added to the gradient. ImageNet's default is 0.0001."""
    filter_lr: PositiveFloat | None = None
    """Global learning rate γ of adder filters, which `schedule` and warm-up change as they change `lr`; null: `lr`."""
    filter_weight_decay: NonNegativeFloat | None = None
    """L2 penalty of adder filters, added after their local learning rate; null: `weight_decay`."""
    schedule: Schedule = "cosine"
    """How the learning rate falls: half a cosine from `lr` to 0 over all steps, or not at all."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs, or a part of one, over whose steps the learning rates rise in a straight line to those of `schedule`;
    fewer than `epochs`. 0: none."""
    adaptive_lr: AdaptiveLr = "alr"
    """Local rate of adder layers: eq. 13 (`alr`), the ablation's constant 100 (`ilr`), or none. The default of methods
    without adder layers is `none`."""
    eta: PositiveFloat = 0.1
    """η of eq. 13. The default of CIFAR and ImageNet is 0.2, as in the authors' code."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient over all parameters, after the local learning rates; has no effect on adder layers
    under `alr`, which normalises theirs. Null: no limit."""
    clip_input_gradient: InputClip = "hardtanh"
    """Gradient that an adder layer hands to the layer before it: F − X clamped to [−1, 1] (`hardtanh`, eqs. 6 and 7),
    F − X as it is (`none`), or its sign, the derivative of eq. 2 (`sign`)."""
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

    kind: DistillKind = "plain"
    """`plain`: scores, and which images of a batch are alike; `kernels`: scores, and kernels of each layer through
    learned 1×1 maps, after PKKD; `pkkd`: the same with a convolutional twin that trains alongside, from its first step
    on."""
    teacher: ModelId | None = Field(None, validate_default=True)
    """Id of the model whose scores the training shall match: the convolutional twin, or any other that takes the same
    images and knows the same classes; for `kernels` a convolutional network of the same architecture. Null for `pkkd`
    alone, whose teacher begins with random weights."""
    temperature: PositiveFloat = 2.0
    """T: the scores of both are divided by it before they are compared."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the teacher in the loss; the labels have the rest."""
    features: NonNegativeFloat = 1.0
    """Weight of the layers' kernels (which images of a batch are alike after each batch normalisation) beside the
    scores. 0: the scores alone, and then the teacher may have another architecture."""

    @field_validator("teacher")
    @classmethod
    def _fits_the_kind(cls, teacher: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if kind == "pkkd" and teacher is not None:
            raise field_errors([("", "must be null for the kind pkkd, whose teacher trains alongside")])
        if kind in ("plain", "kernels") and teacher is None:
            raise field_errors([("", f"is required for the kind {kind}: the id of a trained model")])
        return teacher


def check_batch_size(batch_size: int | None, info: ValidationInfo) -> int | None:
    """Refuses more images than the dataset trains on; for the validator of a field that comes after `dataset`."""
    chosen = info.data.get("dataset")
    if batch_size is not None and isinstance(chosen, DatasetConfig):
        size, _ = images_of(chosen)
        if batch_size > size:
            reason = f"{batch_size} exceeds the {size} training images of {chosen.name}; give at most {size}"
            raise field_errors([("", reason)])
    return batch_size
