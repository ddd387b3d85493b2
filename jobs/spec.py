"""Job specs as they arrive by REST and as they are stored: unknown fields forbidden, every default filled in.

The names, nesting and defaults of a training are those of `addercore.config.TrainConfig` (a test compares them); the
defaults that depend on the dataset come from the paper's recipes in `addercore.config`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from addercore import arch, config

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=config.MAX_SIDE)]
LabelKey = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^:\x00]+$")]
LabelValue = Annotated[str, Field(max_length=256, pattern=r"^[^\x00]*$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _one_of(known: Collection[str], *also: Callable[[str], bool]) -> AfterValidator:
    """Refuses what is not among the names that addercore knows, and lists them; `also` accepts further ones."""

    def check(name: str) -> str:
        if name not in known and not any(accepts(name) for accepts in also):
            raise PydanticCustomError("unknown_name", "must be one of {known}", {"known": ", ".join(known)})
        return name

    return AfterValidator(check)


class ModelSpec(Strict):
    arch: Annotated[str, Field(max_length=40, examples=["lenet5_bn"]), _one_of(arch.ARCHS)]
    """Network architecture."""
    method: Literal["adder", "conv", "bnn", "xnor", "bwn"] = "adder"
    """What a layer computes: `adder` (negative L1 distance, eq. 2), `conv` (the multiplying twin), `bnn` (1-bit weights
    and activations, DoReFa-Net), `xnor` (XNOR-Net) or `bwn` (binary weights, float activations)."""
    first_last: Literal["adder", "conv"] = "adder"
    """Whether the first and the last layer are turned into what the method makes of the others (`adder`), or stay
    convolutions (`conv`, the default of all methods but `adder`)."""
    gradient: Literal["full_precision", "sign"] = "full_precision"
    """Filter gradient of adder layers: eq. 5, or the sign gradient of eq. 4."""


class DatasetSpec(Strict):
    name: Annotated[str, Field(max_length=100, examples=["digits"]), _one_of(config.DATASETS, config.is_dataset)]
    """A published dataset, or a user's: its name (the newest version) or its id."""


class OptimizerSpec(Strict):
    lr: PositiveFloat = 0.1
    """Global learning rate γ at the first step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: NonNegativeFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    adaptive_lr: Literal["alr", "ilr", "none"] = "alr"
    """Local rate of adder layers: eq. 13, the ablation's constant 100, or none."""
    eta: PositiveFloat = 0.1
    """η of eq. 13."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient; has no effect on adder layers under `alr`, which normalises theirs."""
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    """Batches whose gradients are summed for one step."""


class EarlyStopSpec(Strict):
    patience: Annotated[int, Field(ge=1)]
    """Epochs without a better validation accuracy after which the training ends."""
    min_delta: NonNegativeFloat = 0.0


class DistillSpec(Strict):
    teacher: Annotated[str, Field(pattern=r"^model_\w+$", max_length=40)]
    """Id of the model whose scores the training shall match: the convolutional twin, or any other that takes the same
    images and knows the same classes."""
    temperature: PositiveFloat = 2.0
    """What the scores of both are divided by before they are compared."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the teacher in the loss; the labels have the rest."""
    features: NonNegativeFloat = 1.0
    """Of the layers' kernels (which images of a batch are alike after each batch normalisation) beside the scores; 0:
    the scores alone, and then also from another architecture."""


class CheckpointSpec(Strict):
    every_epochs: Annotated[int, Field(ge=1)] | None = 1
    every_seconds: PositiveFloat | None = 300
    keep: Annotated[int, Field(ge=1, le=100)] = 2


class ResourcesSpec(Strict):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` waits for a GPU; `auto` takes one where the worker has any."""
    gpus: Literal[1] = 1
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    memory_gb: PositiveFloat | None = None
    """Largest data memory of the training process (RLIMIT_DATA), in GiB; the job waits for a worker that has as much
    free."""
    exact: bool = True
    """Whether the job, once it has begun, goes on only where its bytes come out the same: the same kind of device,
    kernel backend, torch and instruction set. False: on any worker, with differences in the last bits."""
    loader_workers: Annotated[int, Field(ge=0, le=16)] = 0
    """Processes that make a training's batches ahead of time, a core each; the results are the same bytes."""


class LimitsSpec(Strict):
    max_seconds: PositiveFloat | None = None
    """Longest time one attempt may run."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Faults (lost workers) after which the job fails."""


class CommonSpec(Strict):
    resources: ResourcesSpec = ResourcesSpec()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher is claimed first."""
    limits: LimitsSpec = LimitsSpec()
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = {}


class TrainSpec(CommonSpec):
    """Train a network on a dataset."""

    kind: Literal["train"]
    model: ModelSpec
    dataset: DatasetSpec
    optimizer: OptimizerSpec = OptimizerSpec()
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    init_from: Annotated[str, Field(pattern=r"^model_\w+$", max_length=40)] | None = None
    """Id of a model whose weights are the start."""
    augment: Literal["none", "crop", "crop_flip", "affine", "imagenet"] = "none"
    """`crop`: padded by 4 pixels and cut back at random; `crop_flip`: and mirrored; `affine`: turned, scaled and
    shifted a little; `imagenet`: a random part of the image at the input's size, and mirrored."""
    early_stop: EarlyStopSpec | None = None
    distill: DistillSpec | None = None
    """Learn from a trained model beside the labels."""
    publish: Literal["last", "best"] = "last"
    checkpoint: CheckpointSpec = CheckpointSpec()
    metrics_every_steps: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="before")
    @classmethod
    def _recipe_defaults(cls, data: Any) -> Any:
        """Fields that are left out get the paper's recipe for the dataset."""
        if not isinstance(data, dict):
            return data
        dataset, model = data.get("dataset"), data.get("model")
        name = dataset.get("name") if isinstance(dataset, dict) else None
        method = model.get("method", "adder") if isinstance(model, dict) else None
        if not (config.is_dataset(name) and method in arch.METHODS):
            return data  # the fields' own validators say so
        return merge(config.recipe(name, method), data)

    @model_validator(mode="after")
    def _fits(self) -> TrainSpec:
        """What spans fields (the network fits the images, the batch fits the dataset): said now, not by the worker."""
        try:
            config.TrainConfig.from_dict(self.model_dump(mode="json"))
        except config.InvalidConfig as error:
            raise field_errors((e.pointer, e.detail) for e in error.errors) from None
        return self


class EvaluateSpec(CommonSpec):
    """Accuracy, loss and confusion matrix of a model on a split of a dataset."""

    kind: Literal["evaluate"]
    model_id: Annotated[str, Field(pattern=r"^model_\w+$", max_length=40)]
    dataset: DatasetSpec
    split: Literal["train", "validation"] = "validation"
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 256


class ColumnsSpec(Strict):
    """Which columns of a table hold the images and the labels."""

    image: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class IngestOptions(Strict):
    """What the uploader of a dataset chose."""

    size: tuple[Side, Side] | None = None
    """(height, width) to which images are resized. Left out: their own size where all have the same, else 64×64."""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour), to which images are converted. Left out: as they are, where all are alike."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Part of each class that validates, where the upload has no validation part of its own."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of the choice of that part."""
    on_bad_image: Literal["fail", "skip"] = "fail"
    """What becomes of an upload with images that cannot be read: it fails, or they are left out."""
    max_skipped: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Images that may be left out so, at most."""
    transparent_on: Literal["white", "black", "refuse"] = "white"
    """The ground on which transparent images are laid."""
    value_range: Literal["auto", "0..1", "0..255", "-1..1", "bits"] = "auto"
    """What is black and what is white in arrays and 16-bit images; `bits`: 0 to the largest number of as many bits."""
    columns: ColumnsSpec | None = None
    """Columns of a table, `{"image": …, "label": …}`. Left out: told by their names."""


class IngestSpec(CommonSpec):
    """Validate an uploaded dataset and make it ready. `POST /v1/datasets` submits it, nothing else does."""

    kind: Literal["ingest"]
    dataset_id: Annotated[str, Field(pattern=r"^ds_\w+$", max_length=40)]
    options: IngestOptions = IngestOptions()
    resources: ResourcesSpec = ResourcesSpec(device="cpu", threads=1)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 100


class AnalyzeSpec(CommonSpec):
    """Compute a table or figure of the paper: a verdict, a table and a picture."""

    kind: Literal["analyze"]
    recipe: Annotated[str, Field(max_length=40, examples=["table1"]), _one_of(config.RECIPES)]
    """Which one; `GET /v1/recipes` lists them, each with its options and defaults."""
    dataset: DatasetSpec = DatasetSpec(name="digits")
    model_id: Annotated[str, Field(pattern=r"^model_\w+$", max_length=40)] | None = None
    """A model to look at in place of networks that the job trains, where the recipe takes one."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=100)] = [0]
    """Every row of the table is computed once for each."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Of each training; null: as many as the dataset's training recipe has."""
    archs: Annotated[list[Annotated[str, _one_of(arch.ARCHS)]], Field(min_length=1, max_length=100)] | None = None
    """Networks; null: the recipe's."""
    methods: Annotated[list[Annotated[str, _one_of(arch.METHODS)]], Field(min_length=1, max_length=100)] | None = None
    """What their layers compute; null: the recipe's."""
    etas: Annotated[list[PositiveFloat], Field(min_length=1, max_length=100)] | None = None
    """Values of η (eq. 13), where the recipe compares them; null: the recipe's."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Null: the dataset's training recipe's."""
    control: Literal["none", "permuted_labels", "permuted_weights"] = "none"
    """Destroys what the verdict is about, which should then say the contrary."""
    checkpoint: CheckpointSpec = CheckpointSpec()

    @model_validator(mode="before")
    @classmethod
    def _recipe_defaults(cls, data: Any) -> Any:
        """Fields that are left out get the recipe's defaults for the dataset, and for the model if one is named."""
        if not (isinstance(data, dict) and isinstance(data.get("recipe"), str)):
            return data
        given = {key: value for key, value in data.items() if value is not None or key not in OPTIONS}
        named = {key: given[key] for key in ("recipe", "dataset", "model_id") if given.get(key) is not None}
        try:
            return merge(config.AnalyzeConfig.from_dict(named).to_dict(), given)
        except config.InvalidConfig:
            return data  # the fields' own validators and `_fits` say so

    @model_validator(mode="after")
    def _fits(self) -> AnalyzeSpec:
        """What spans fields: options that the recipe has, networks that take the images, trainings few enough."""
        try:
            config.AnalyzeConfig.from_dict(self.model_dump(mode="json"))
        except config.InvalidConfig as error:
            raise field_errors((e.pointer, e.detail) for e in error.errors) from None
        return self


OPTIONS = ("archs", "methods", "etas")
"""Of an analysis: null is the recipe's default."""

Kind = Literal["train", "evaluate", "analyze", "ingest"]
SubmittedSpec = TrainSpec | EvaluateSpec | AnalyzeSpec
"""What `POST /v1/jobs` takes."""
Spec = SubmittedSpec | IngestSpec
KINDS: Final[dict[str, type[Spec]]] = dict(zip(get_args(Kind), get_args(Spec), strict=True))
"""The model of each kind's spec: `Kind` and `Spec`, in one order, are where a new kind is entered."""
AnySpec = Annotated[Spec, Field(discriminator="kind")]
SPEC: TypeAdapter[Spec] = TypeAdapter(AnySpec)
SUBMITTED: Final = tuple(kind for kind, model in KINDS.items() if model is not IngestSpec)
"""Kinds that `POST /v1/jobs` takes."""
SUBMITTED_SPEC: TypeAdapter[SubmittedSpec] = TypeAdapter(Annotated[SubmittedSpec, Field(discriminator="kind")])


def field_errors(errors: Iterable[tuple[str, str]]) -> PydanticCustomError:
    """One pydantic error that carries several `(pointer, message)`; `api/http/problems.py` lists each of them."""
    found = list(errors)
    return PydanticCustomError(
        "field_errors", "{summary}", {"summary": "; ".join(message for _, message in found), "errors": found}
    )


def merge(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, objects field by field."""
    merged = dict(defaults)
    for key, value in given.items():
        below = defaults.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
