"""A training configuration: the training spec of the API, less what only the service needs. Frozen and always valid.

Every section checks itself in `__post_init__` and reports all of its bad fields at once, as an `InvalidConfig`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, Literal, Self, get_args

from addercore.arch.counts import Counts, count
from addercore.arch.networks import ARCHS, FIRST_LAST, METHODS, Network, network
from addercore.config.checks import FieldError, InvalidConfig, Problems
from addercore.config.datasets import DATASETS, DatasetInfo, dataset, is_dataset
from addercore.config.recipes import recipe

Gradient = Literal["full_precision", "sign"]
AdaptiveLr = Literal["alr", "ilr", "none"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["fp32", "bf16"]
Augment = Literal["none", "crop", "crop_flip", "affine", "imagenet"]
Publish = Literal["last", "best"]

SERVICE_KEYS: Final = frozenset({"kind", "resources", "priority", "limits", "labels"})
"""Keys of a job's spec that the service reads and training does not."""

MAX_SEED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ModelConfig:
    arch: str
    method: str = "adder"
    first_last: str = "adder"
    gradient: Gradient = "full_precision"

    def __post_init__(self) -> None:
        problems = Problems("model.")
        problems.choice("arch", self.arch, tuple(ARCHS))
        problems.choice("method", self.method, METHODS)
        problems.choice("first_last", self.first_last, FIRST_LAST)
        problems.choice("gradient", self.gradient, get_args(Gradient))
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    name: str

    def __post_init__(self) -> None:
        problems = Problems("dataset.")
        if not is_dataset(self.name):
            problems.choice("name", self.name, tuple(DATASETS))
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """`clip_norm` bounds the gradient's norm over all parameters *after* the local learning rates (see optim)."""

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: Schedule
    adaptive_lr: AdaptiveLr
    eta: float
    clip_norm: float | None
    accumulate: int  # batches whose gradients make one optimizer step

    def __post_init__(self) -> None:
        problems = Problems("optimizer.")
        problems.positive("lr", self.lr)
        problems.fraction("momentum", self.momentum)
        problems.boolean("nesterov", self.nesterov)
        if self.nesterov is True and self.momentum == 0:
            problems.add("nesterov", "needs optimizer.momentum > 0, got 0; set nesterov to false or give a momentum")
        problems.not_negative("weight_decay", self.weight_decay)
        problems.choice("schedule", self.schedule, get_args(Schedule))
        problems.choice("adaptive_lr", self.adaptive_lr, get_args(AdaptiveLr))
        problems.positive("eta", self.eta)
        if self.clip_norm is not None:
            problems.positive("clip_norm", self.clip_norm)
        problems.integer("accumulate", self.accumulate, 1)
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """When to save: after every so many epochs, or so many seconds after the last one; null switches either off."""

    every_epochs: int | None
    every_seconds: float | None
    keep: int

    def __post_init__(self) -> None:
        problems = Problems("checkpoint.")
        if self.every_epochs is not None:
            problems.integer("every_epochs", self.every_epochs, 1)
        if self.every_seconds is not None:
            problems.positive("every_seconds", self.every_seconds)
        problems.integer("keep", self.keep, 1)
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class EarlyStopConfig:
    """Stop after `patience` epochs in which val/accuracy has not risen more than `min_delta` above the best so far."""

    patience: int  # epochs
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        problems = Problems("early_stop.")
        problems.integer("patience", self.patience, 1)
        problems.not_negative("min_delta", self.min_delta)
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Learn from a trained model's scores beside the labels (`addercore.train.distillation` has the formula)."""

    teacher: str  # a model's id
    temperature: float = 2.0  # T: scores of both are divided by it
    weight: float = 0.5  # of the teacher; the labels have the rest
    features: float = 1.0  # of the layers' kernels beside the scores; 0: the scores alone

    def __post_init__(self) -> None:
        problems = Problems("distill.")
        if not (isinstance(self.teacher, str) and self.teacher):
            problems.add("teacher", f"must be a model's id, got {self.teacher!r}")
        problems.positive("temperature", self.temperature)
        problems.share("weight", self.weight)
        problems.not_negative("features", self.features)
        problems.raise_any()


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train, on what, and how; field names and nesting are those of the API's training spec."""

    model: ModelConfig
    dataset: DatasetConfig
    optimizer: OptimizerConfig
    epochs: int
    batch_size: int
    seed: int
    precision: Precision
    init_from: str | None
    augment: Augment
    early_stop: EarlyStopConfig | None
    distill: DistillConfig | None
    publish: Publish
    checkpoint: CheckpointConfig
    metrics_every_steps: int

    _SECTIONS: ClassVar[dict[str, type[Any]]] = {
        "model": ModelConfig,
        "dataset": DatasetConfig,
        "optimizer": OptimizerConfig,
        "early_stop": EarlyStopConfig,
        "distill": DistillConfig,
        "checkpoint": CheckpointConfig,
    }

    def __post_init__(self) -> None:
        problems = Problems("")
        problems.integer("epochs", self.epochs, 1)
        problems.integer("batch_size", self.batch_size, 2, "batch normalisation needs two images")
        problems.integer("seed", self.seed, 0)
        if isinstance(self.seed, int) and self.seed > MAX_SEED:
            problems.add("seed", f"must be ≤ {MAX_SEED}, got {self.seed}")
        problems.choice("precision", self.precision, get_args(Precision))
        if self.init_from is not None and not (isinstance(self.init_from, str) and self.init_from):
            problems.add("init_from", f"must be null or a model's id, got {self.init_from!r}")
        problems.choice("augment", self.augment, get_args(Augment))
        problems.choice("publish", self.publish, get_args(Publish))
        problems.integer("metrics_every_steps", self.metrics_every_steps, 1)
        problems.raise_any()
        check(self)

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Self:
        """A configuration from a (partial) training spec; the recipe of its dataset and method fills what is missing.

        `model.arch` and `dataset.name` are required. The service's own keys are ignored, other unknown ones refused.
        """
        problems = Problems("")
        if not isinstance(spec, dict):
            raise InvalidConfig([FieldError("", f"a training spec must be an object, got {type(spec).__name__}")])
        given = {key: value for key, value in spec.items() if key not in SERVICE_KEYS}
        base = recipe(_name_of(given), _method_of(given))
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = given.pop(field.name, base.get(field.name))
            section = cls._SECTIONS.get(field.name)
            if section is None or (value is None and field.name in ("early_stop", "distill")):
                values[field.name] = value
            else:
                values[field.name] = problems.section(field.name, section, value, base.get(field.name) or {})
        for key in given:
            problems.add(key, f"is not a field of a training spec; known: {', '.join(f.name for f in fields(cls))}")
        if problems.found:
            problems.merge(lambda: cls(**(values | _stand_ins(values, base))))
            problems.raise_any()
        return cls(**values)

    @classmethod
    def default(cls, arch: str, dataset: str, method: str = "adder") -> Self:
        """The paper's recipe for `arch` on `dataset`."""
        return cls.from_dict({"model": {"arch": arch, "method": method}, "dataset": {"name": dataset}})

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, every default filled in; `from_dict` gives the same configuration back."""
        return asdict(self)

    def network(self) -> Network:
        """The network that this configuration trains."""
        info = dataset(self.dataset.name)
        return network(self.model.arch, info.input_shape, len(info.classes))

    def counts(self) -> Counts:
        """What that network costs for one image."""
        return count(self.network(), self.model.method, self.model.first_last)


def _name_of(spec: dict[str, Any]) -> str:
    """The dataset's name, or `InvalidConfig`: without it there are no defaults."""
    section = spec.get("dataset")
    if section is None or (isinstance(section, dict) and "name" not in section):
        raise InvalidConfig([FieldError("dataset.name", f"dataset.name is required; known: {', '.join(DATASETS)}")])
    if not isinstance(section, dict):
        raise InvalidConfig([FieldError("dataset", f"dataset must be an object, got {section!r}")])
    return DatasetConfig(section["name"]).name


def _method_of(spec: dict[str, Any]) -> str:
    section = spec.get("model")
    method = section.get("method", "adder") if isinstance(section, dict) else "adder"
    return method if method in METHODS else "adder"  # a wrong one is reported by ModelConfig


def _stand_ins(values: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Valid sections in place of those that failed, so that the remaining fields are still checked."""
    made: dict[str, Callable[[], Any]] = {
        "model": lambda: ModelConfig(next(iter(ARCHS))),
        "dataset": lambda: DatasetConfig(base["dataset"]["name"]),
        "optimizer": lambda: OptimizerConfig(**base["optimizer"]),
        "checkpoint": lambda: CheckpointConfig(**base["checkpoint"]),
    }
    return {name: make() for name, make in made.items() if values[name] is None}


def check(config: TrainConfig) -> None:
    """What spans several fields: the network fits the dataset's images, a batch fits the training set."""
    problems = Problems("")
    info = dataset(config.dataset.name)
    if config.batch_size > info.train_size:
        problems.add_sentence(
            "batch_size",
            f"batch_size {config.batch_size} exceeds the {info.train_size} training images of {info.name}; "
            f"give at most {info.train_size}",
        )
    try:
        config.network()
    except ValueError as error:
        problems.add_sentence("model.arch", str(error))
    problems.raise_any()


def unfit_teacher(manifest: dict[str, Any], info: DatasetInfo, arch: str, features: float) -> str | None:
    """Why the model of `manifest` cannot teach a training of `arch` on `info`; None where it takes the same images and
    knows the same classes. Its method and normalisation may be others, without `features` its architecture too."""
    shape, classes = manifest["network"]["input_shape"], manifest["classes"]
    if tuple(shape) != info.input_shape:
        return f"it takes images of {tuple(shape)}, this training has {info.input_shape}"
    if len(classes) != len(info.classes):
        return f"it knows {len(classes)} classes, this training has {len(info.classes)}"
    for number, (its, mine) in enumerate(zip(classes, info.classes, strict=True)):
        if its != mine:
            return f"it calls class {number} {its!r}, this training {mine!r}"
    if features > 0 and manifest["network"]["arch"] != arch:
        its = manifest["network"]["arch"]
        return f"its layers are those of {its}, this training's of {arch}; set distill.features to 0 for scores alone"
    return None
