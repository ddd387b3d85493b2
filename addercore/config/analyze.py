"""An analysis' configuration, and the trainings that it needs: the analyze spec of the API, less the service's part."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from addercore.arch.networks import METHODS, network
from addercore.config.datasets import dataset, is_dataset
from addercore.config.errors import field_errors
from addercore.config.fields import (
    BatchSize,
    Config,
    Epochs,
    ModelId,
    PositiveFloat,
    Seed,
    merge,
    names,
    one_of,
    part_of,
)
from addercore.config.recipes import RECIPES, SMALL, Control, RecipeInfo
from addercore.config.rows import TEACHER, TEACHER_PASSES, Row, rows_of
from addercore.config.sections import Arch, CheckpointConfig, TrainingDatasetConfig, check_batch_size, images_of
from addercore.config.train import PASSES, TrainConfig

MOST_SEEDS: Final = 100
MOST_RUNS: Final = 500
"""Trainings of one analysis; what wants more is a sweep."""

OPTIONS: Final = ("archs", "methods", "etas")
"""Of these null means the recipe's default."""


@dataclass(frozen=True, slots=True)
class Run:
    """One network of a row with one seed; `name` is ROW-SEED and stands before the names of its metrics."""

    name: str
    row: str
    seed: int
    config: TrainConfig
    trains: bool
    teacher: str | None = None  # the run whose model teaches this one

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        if not self.trains:
            return 0
        full, rest = divmod(images_of(self.config.dataset)[0], self.config.batch_size)
        return self.config.epochs * ceil((full + (rest > 1)) / self.config.optimizer.accumulate)

    def operations(self) -> int:
        """Estimated operations of the training, or of the one step where nothing is trained."""
        if self.trains:
            return self.config.operations()
        each = self.config.counts().operations
        return PASSES * self.config.batch_size * (each.add + each.mul + each.xnor)


def _once(values: Sequence[Any]) -> Sequence[Any]:
    if any(values.index(value) != place for place, value in enumerate(values)):
        raise field_errors([("", f"must have each entry once, got {list(values)!r}")])
    return values


class AnalyzeConfig(Config):
    """Which table or figure of the paper to compute, on what; only `recipe` is required.

    With a `model_id` (the model's file is given to `addercore.analyze`) nothing is trained: archs, methods and epochs
    are null.
    """

    recipe: Annotated[str, names(RECIPES, examples=["table1"]), one_of(RECIPES)]
    """Which table or figure; `GET /v1/recipes` lists them, each with its options and defaults."""
    dataset: TrainingDatasetConfig = TrainingDatasetConfig(name=SMALL)
    """The images and labels; of an analysis of a model by default those on which it was trained."""
    model_id: ModelId | None = None
    """A model to look at in place of networks that the job trains, where the recipe takes one."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS, strict=False)] = (0,)
    """Every row of the table is computed once for each. The default is the recipe's."""
    epochs: Epochs | None = None
    """Of each training; null: as many as the dataset's training recipe has."""
    archs: Annotated[tuple[Arch, ...], Field(min_length=1, max_length=100, strict=False)] | None = None
    """Networks; null: the recipe's."""
    methods: (
        Annotated[
            tuple[Annotated[str, names(METHODS), one_of(METHODS)], ...],
            Field(min_length=1, max_length=100, strict=False),
        ]
        | None
    ) = None
    """What their layers compute; null: the recipe's."""
    etas: Annotated[tuple[PositiveFloat, ...], Field(min_length=1, max_length=100, strict=False)] | None = None
    """Values of η (eq. 13), where the recipe compares them; null: the recipe's."""
    batch_size: BatchSize | None = None
    """Of each training; null: the dataset's training recipe's."""
    control: Control = "none"
    """Destroys what the verdict is about, which should then say the contrary."""
    checkpoint: CheckpointConfig = CheckpointConfig(every_epochs=None, every_seconds=60.0)
    """When to save a checkpoint: by default by the clock alone, as an analysis has many trainings with short epochs."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Fields that are left out get the recipe's defaults for the dataset, and for the model if one is named."""
        if not isinstance(data, dict) or "recipe" not in data:
            return data
        recipe, stated = data["recipe"], cls.model_fields["checkpoint"].get_default().to_dict()
        name = part_of({"dataset": {"name": SMALL}} | data, "dataset", "name")
        if not (isinstance(recipe, str) and recipe in RECIPES and is_dataset(name)):
            return merge({"checkpoint": stated}, data)  # the fields' own validators say so
        info, given = RECIPES[recipe], {key: data[key] for key in data if data[key] is not None or key not in OPTIONS}
        filled = merge({"checkpoint": stated, **asdict(info.defaults(name))}, given)
        if data.get("model_id") is not None and info.takes_model:
            filled |= {"archs": None, "methods": None, "epochs": None}
        return filled

    @field_validator("seeds", "archs", "methods", "etas")
    @classmethod
    def _each_once(cls, values: Sequence[Any] | None) -> Sequence[Any] | None:
        return values if values is None else _once(values)

    @field_validator("archs", "methods", "etas")
    @classmethod
    def _is_an_option(cls, values: Sequence[Any] | None, info: ValidationInfo) -> Sequence[Any] | None:
        recipe, option = _recipe(info), str(info.field_name)
        if values is not None and recipe is not None and option not in recipe.options():
            takes = ", ".join(recipe.options()) or "neither archs, methods nor etas"
            raise field_errors([("", f"is no option of recipe {recipe.name}, which takes {takes}; leave it out")])
        return values

    @field_validator("archs")
    @classmethod
    def _networks_fit(cls, archs: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        recipe, chosen = _recipe(info), info.data.get("dataset")
        if archs is None or recipe is None:
            return archs
        if recipe.one_arch and len(archs) > 1:
            reason = f"must be one network: recipe {recipe.name} compares within it, got {list(archs)!r}"
            raise field_errors([("", reason)])
        if recipe.name == "figure1" and archs != ("lenet5_bn_2d",):
            reason = f"must be lenet5_bn_2d: its last hidden layer is a plane, got {list(archs)!r}"
            raise field_errors([("", reason)])
        unfit = [] if chosen is None else list(_unfit(archs, chosen.name))
        if unfit:
            raise field_errors(unfit)
        return archs

    @field_validator("methods")
    @classmethod
    def _methods_of_the_recipe(cls, methods: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        recipe = _recipe(info)
        known = METHODS if recipe is None else recipe.known_methods
        bad = [(place, method) for place, method in enumerate(methods or ()) if method not in known]
        if bad:
            raise field_errors((f"/{place}", f"must be one of {', '.join(known)}, got {one!r}") for place, one in bad)
        return methods

    @field_validator("model_id")
    @classmethod
    def _takes_a_model(cls, model_id: str | None, info: ValidationInfo) -> str | None:
        recipe = _recipe(info)
        if model_id is not None and recipe is not None and not recipe.takes_model:
            takers = ", ".join(name for name, other in RECIPES.items() if other.takes_model)
            raise field_errors([("", f"is no option of recipe {recipe.name}; recipes that take a model: {takers}")])
        return model_id

    @field_validator("epochs")
    @classmethod
    def _trains(cls, epochs: int | None, info: ValidationInfo) -> int | None:
        recipe = _recipe(info)
        if epochs is not None and recipe is not None and not recipe.trains:
            raise field_errors([("", f"is no option of recipe {recipe.name}, which trains nothing; leave it out")])
        return epochs

    @field_validator("batch_size")
    @classmethod
    def _fits_the_dataset(cls, batch_size: int | None, info: ValidationInfo) -> int | None:
        return check_batch_size(batch_size, info)

    @field_validator("control")
    @classmethod
    def _has_the_control(cls, control: Control, info: ValidationInfo) -> Control:
        recipe = _recipe(info)
        if recipe is not None and control not in recipe.controls:
            known = ", ".join(recipe.controls)
            raise field_errors([("", f"must be one of {known} for recipe {recipe.name}, got {control!r}")])
        if control == "permuted_labels" and info.data.get("model_id") is not None:
            raise field_errors([("", "permuted_labels needs a training; leave out model_id, or take permuted_weights")])
        return control

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        runs = len(self.rows()) * len(self.seeds)
        if runs > MOST_RUNS:
            reason = f"make {runs} trainings, too many for one analysis, which takes {MOST_RUNS}; give fewer seeds"
            raise field_errors([("/seeds", reason)])
        return self

    @classmethod
    def default(cls, recipe: str, dataset: str = SMALL) -> Self:
        """A recipe with its defaults for a dataset.

        Args:
            recipe: one of `addercore.config.RECIPES`.
            dataset: a published dataset, or one that `addercore.config.register` has made known.

        Returns:
            A configuration with every default filled in.

        Raises:
            InvalidConfig: one of the names is unknown, or no network of the recipe takes the dataset's images.
        """
        return cls.from_dict({"recipe": recipe, "dataset": {"name": dataset}})

    @property
    def info(self) -> RecipeInfo:
        """What is known of the recipe."""
        return RECIPES[self.recipe]

    def rows(self) -> tuple[Row, ...]:
        """The rows in the order of the table; none where a given model is looked at."""
        if self.model_id is not None:
            return ()
        return rows_of(self.recipe, self.dataset.name, self.archs or (), self.methods or (), self.etas or ())

    def runs(self) -> tuple[Run, ...]:
        """Every training (or network that is only looked at) in order: all rows with the first seed, then the next."""
        return tuple(self._run(row, seed) for seed in self.seeds for row in self.rows())

    def operations(self) -> int:
        """Estimated operations of the whole: forward and twice as much backward, for every image of every epoch."""
        return sum(run.operations() for run in self.runs())

    def _run(self, row: Row, seed: int) -> Run:
        spec: dict[str, Any] = {
            "dataset": self.dataset.to_dict(),
            "seed": seed,
            "checkpoint": self.checkpoint.to_dict(),
            **row.spec,
        }
        if self.epochs is not None:
            spec["epochs"] = self.epochs
        if self.batch_size is not None:
            spec["batch_size"] = self.batch_size
        teacher = f"{TEACHER}-{seed}" if row.spec.get("distill", {"kind": "pkkd"}).get("kind") != "pkkd" else None
        if teacher is not None:
            spec["distill"] = {**row.spec["distill"], "teacher": teacher}
        training = TrainConfig.from_dict(spec)
        if row.key == TEACHER and self.recipe == "distillation":
            training = training.replace(epochs=TEACHER_PASSES * training.epochs)
        return Run(f"{row.key}-{seed}", row.key, seed, training, self.info.trains, teacher)


def recipe_spec(recipe: str, dataset: str = SMALL) -> dict[str, Any]:
    """The spec of an analyze job that computes a recipe on a dataset, every default filled in.

    Raises:
        InvalidConfig: the recipe or the dataset is unknown, or the dataset's images fit none of its networks.
    """
    return {"kind": "analyze", **AnalyzeConfig.default(recipe, dataset).to_dict()}


def _recipe(info: ValidationInfo) -> RecipeInfo | None:
    """The recipe of a configuration that is being validated; None where it is unknown."""
    return RECIPES.get(info.data.get("recipe", ""))


def _unfit(archs: Iterable[str], name: str) -> Iterable[tuple[str, str]]:
    """Networks that do not take the dataset's images."""
    info = dataset(name)
    for place, arch in enumerate(archs):
        try:
            network(arch, info.input_shape, len(info.classes))
        except ValueError as error:
            yield f"/{place}", str(error)
