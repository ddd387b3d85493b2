"""A training configuration: the training spec of the API, less what only the service needs."""

from typing import Any, Final, Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from addercore.arch.counts import Counts, count
from addercore.arch.custom import CUSTOM
from addercore.arch.networks import METHODS, Network, network
from addercore.config import defaults
from addercore.config.datasets import DatasetInfo, dataset, is_dataset
from addercore.config.errors import field_errors
from addercore.config.fields import BatchSize, Config, Count, Epochs, ModelId, Section, Seed, merge, part_of
from addercore.config.holdout import Holdout
from addercore.config.sections import (
    CheckpointConfig,
    DatasetConfig,
    DistillConfig,
    EarlyStopConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingDatasetConfig,
    check_batch_size,
    images_of,
    without_adders,
)

Precision = Literal["fp32", "bf16"]
Augment = Literal["none", "crop", "crop_flip", "affine", "imagenet"]
Publish = Literal["last", "best"]

POWER_WORK: Final = 20
"""A step with another power than 1 takes so many times as long (benchmarks/results/powers.jsonl)."""

PASSES: Final = 3
"""A training step is a forward pass and a backward pass of about twice its work."""


class TrainConfig(Config):
    """What to train, on what, and how.

    `model.arch` and `dataset.name` are required. A field that is left out gets the paper's recipe for the dataset and
    the method (`addercore.config.recipe`), which for some datasets differs from the default stated here.
    """

    model: ModelConfig
    """The network."""
    dataset: TrainingDatasetConfig
    """The images and labels."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Stochastic gradient descent and its local learning rates."""
    epochs: Epochs = 50
    """Passes over the training images. The default of digits is 30, of CIFAR 400, of ImageNet 150."""
    batch_size: BatchSize = 256
    """Images of a batch, at most as many as the dataset trains on. The default of digits is 128."""
    seed: Seed = 0
    """Of the first weights, the order of the images and their augmentation. Equal seeds give equal bytes."""
    precision: Precision = "fp32"
    """`bf16`: layers compute in bfloat16 (autocast), and weights and optimizer stay in float32."""
    init_from: ModelId | None = None
    """Id of a model whose weights are the start; the last layer starts anew where its classes are others. Null: random
    weights."""
    augment: Augment = "none"
    """`crop`: padded by 4 pixels and cut back at random; `crop_flip` (CIFAR's default): and mirrored; `affine`: turned,
    scaled and shifted a little; `imagenet` (ImageNet's default): a random part of the image at the input's size, and
    mirrored."""
    early_stop: EarlyStopConfig | None = None
    """Ends a training that no longer improves; null: all epochs are trained."""
    distill: DistillConfig | None = None
    """Learns from a trained model beside the labels; null: from the labels alone."""
    publish: Publish = "last"
    """Which weights become the model: those of the last epoch, or of the one with the best val/accuracy."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When to save a checkpoint."""
    metrics_every_steps: Count = 10
    """Steps between two points of train/loss and the other metrics of a step."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Fields that are left out get what the dataset and the method change in the defaults."""
        if not isinstance(data, dict):
            return data
        name, method = part_of(data, "dataset", "name"), part_of(data, "model", "method", "adder")
        if not (is_dataset(name) and method in METHODS):
            return data  # the fields' own validators say so
        return merge(defaults.changes(name, method), data)

    @field_validator("dataset")
    @classmethod
    def _takes_its_images(cls, value: TrainingDatasetConfig, info: ValidationInfo) -> TrainingDatasetConfig:
        model = info.data.get("model")
        try:
            if model is not None:
                _network(model, value)
        except ValueError as error:
            where = "arch" if model is None or model.layers is None else "layers"
            raise field_errors([(f"../model/{where}", str(error))]) from None
        return value

    @field_validator("optimizer")
    @classmethod
    def _has_filters(cls, value: OptimizerConfig, info: ValidationInfo) -> OptimizerConfig:
        model = info.data.get("model")
        reason = without_adders(None if model is None else model.method)
        given = [name for name in ("filter_lr", "filter_weight_decay") if getattr(value, name) is not None]
        if reason is not None and given:
            raise field_errors([(f"/{name}", reason) for name in given])
        return value

    @field_validator("epochs")
    @classmethod
    def _is_longer_than_the_warmup(cls, epochs: int, info: ValidationInfo) -> int:
        optimizer = info.data.get("optimizer")
        if optimizer is not None and optimizer.warmup_epochs >= epochs:
            reason = f"must be less than epochs ({epochs}), got {optimizer.warmup_epochs:g}"
            raise field_errors([("../optimizer/warmup_epochs", reason)])
        return epochs

    @field_validator("distill")
    @classmethod
    def _compares_adders(cls, value: DistillConfig | None, info: ValidationInfo) -> DistillConfig | None:
        model = info.data.get("model")
        if value is not None and value.kind != "plain" and model is not None and model.method != "adder":
            reason = f"compares kernels of adder layers, and the method is {model.method}; take plain"
            raise field_errors([("/kind", reason)])
        return value

    @field_validator("batch_size")
    @classmethod
    def _fits_the_dataset(cls, batch_size: int, info: ValidationInfo) -> int | None:
        return check_batch_size(batch_size, info)

    @classmethod
    def default(cls, arch: str, dataset: str, method: str = "adder") -> Self:
        """The paper's recipe.

        Args:
            arch: one of `addercore.arch.ARCHS`.
            dataset: a published dataset, or one that `addercore.config.register` has made known.
            method: one of `addercore.arch.METHODS`.

        Returns:
            A configuration with every default filled in.

        Raises:
            InvalidConfig: one of the names is unknown, or the network does not take the dataset's images.
        """
        return cls.from_dict({"model": {"arch": arch, "method": method}, "dataset": {"name": dataset}})

    @property
    def holdout(self) -> Holdout | None:
        """The training images that validate; None: the published test images do."""
        return None if self.dataset.holdout is None else Holdout(self.dataset.holdout, self.seed)

    def network(self) -> Network:
        """The network that this configuration trains."""
        return _network(self.model, self.dataset)

    def counts(self) -> Counts:
        """What that network costs for one image: operations, parameters, activations, energy."""
        return count(self.network(), self.model.method, self.model.first_last)

    def operations(self) -> int:
        """Estimated operations of all epochs: for each training image a forward pass and twice as much backward, for
        each validation image a forward pass."""
        each = self.counts().operations
        train, validation = images_of(self.dataset)
        images = int(self.epochs * (PASSES * train + validation) * slowness(self.model))
        return images * (each.add + each.mul + each.xnor)


def unshared(config: TrainConfig, processes: int) -> str | None:
    """Why several processes cannot compute this training together; None where they can."""
    if config.batch_size < 2 * processes:
        return (
            f"batch_size must be at least {2 * processes} for {processes} processes (two images for each, as batch "
            f"normalisation needs them), got {config.batch_size}"
        )
    if config.distill is not None and config.distill.kind != "plain":
        return f"distill.kind must be plain for {processes} processes, got {config.distill.kind}"
    if config.distill is not None and config.distill.features > 0:
        return (
            f"distill.features must be 0 for {processes} processes, got {config.distill.features:g}: it compares all "
            "images of a batch with each other, of which each process has a part"
        )
    return None


def slowness(model: ModelConfig) -> float:
    """How many times the work of a training whose adder layers compute p = 1 alone."""
    schedule = model.p_schedule
    return 1.0 if schedule is None else 1 + (POWER_WORK - 1) * schedule.until


def _network(model: ModelConfig, data: DatasetConfig) -> Network:
    info = dataset(data.name)
    return network(model.arch, info.input_shape, len(info.classes), model.layer_list)


def recipe(dataset_name: str, method: str = "adder") -> dict[str, Any]:
    """The defaults of a training.

    Args:
        dataset_name: a published dataset, or one that `register` has made known.
        method: what layers compute, one of `addercore.arch.METHODS`.

    Returns:
        A training spec with every field but `model.arch`; a new dictionary each time.

    Raises:
        ValueError: the dataset or the method is unknown.
    """
    given = {"model": {"method": method}, "dataset": {"name": dataset_name}}
    changes = merge(defaults.changes(dataset_name, method), given)
    sections = {"model": _stated_defaults(ModelConfig), "dataset": _stated_defaults(TrainingDatasetConfig)}
    return merge(_stated_defaults(TrainConfig) | sections, changes)


def _stated_defaults(cls: type[Section]) -> dict[str, Any]:
    """The defaults in a section's fields, as plain values."""
    found = {name: field.get_default() for name, field in cls.model_fields.items() if not field.is_required()}
    return {name: value.to_dict() if isinstance(value, Section) else value for name, value in found.items()}


def unfit_teacher(
    manifest: dict[str, Any], info: DatasetInfo, arch: str, features: float, kind: str = "plain"
) -> str | None:
    """Why a model cannot teach a training.

    Args:
        manifest: the teacher's; its method and normalisation may be others than the training's.
        info: the dataset of the training, whose images the teacher must take and whose classes it must know.
        arch: architecture of the network that learns.
        kind: `distill.kind`; `kernels` wants a convolutional teacher.
        features: `distill.features`; above 0 the teacher must have that architecture too.

    Returns:
        A reason to put after the teacher's name, or None where it can teach.
    """
    shape, classes = manifest["network"]["input_shape"], manifest["classes"]
    if tuple(shape) != info.input_shape:
        return f"it takes images of {tuple(shape)}, this training has {info.input_shape}"
    if len(classes) != len(info.classes):
        return f"it knows {len(classes)} classes, this training has {len(info.classes)}"
    for number, (its, mine) in enumerate(zip(classes, info.classes, strict=True)):
        if its != mine:
            return f"it calls class {number} {its!r}, this training {mine!r}"
    if kind == "kernels" and manifest["network"]["method"] != "conv":
        return f"its layers compute {manifest['network']['method']}; kind kernels compares with convolutions"
    if (features > 0 or kind == "kernels") and (manifest["network"]["arch"] != arch or arch == CUSTOM):
        its = manifest["network"]["arch"]
        return f"its layers are those of {its}, this training's of {arch}; set distill.features to 0 for scores alone"
    return None
