"""An analysis' configuration: the analyze spec of the API, less what only the service needs. Frozen, always valid."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self, get_args

from addercore.arch.networks import ARCHS, network
from addercore.config.checks import FieldError, InvalidConfig, Problems
from addercore.config.datasets import dataset
from addercore.config.figures import RECIPES, SMALL, Control, RecipeInfo
from addercore.config.train import MAX_SEED, SERVICE_KEYS, CheckpointConfig, DatasetConfig, _name_of

MOST_SEEDS: Final = 100
MOST_RUNS: Final = 500
"""Trainings of one analysis; what wants more is a sweep."""

CHECKPOINT: Final[dict[str, Any]] = {"every_epochs": None, "every_seconds": 60, "keep": 2}
"""By the clock alone: an analysis has many trainings, whose epochs may be short."""


@dataclass(frozen=True, slots=True)
class AnalyzeConfig:
    """Which table or figure to make, on what; `archs`, `methods`, `etas` and `epochs` are null where they do not apply.

    With a `model_id` (the model's file is given to `analyze`) nothing is trained: archs, methods and epochs are null.
    """

    recipe: str
    dataset: DatasetConfig
    model_id: str | None
    seeds: tuple[int, ...]
    epochs: int | None  # null: as many as the dataset's training recipe has
    archs: tuple[str, ...] | None
    methods: tuple[str, ...] | None
    etas: tuple[float, ...] | None
    batch_size: int | None  # null: the dataset's training recipe's
    control: Control
    checkpoint: CheckpointConfig

    def __post_init__(self) -> None:
        problems = Problems("")
        problems.choice("recipe", self.recipe, tuple(RECIPES))
        problems.raise_any()
        _check_values(self, problems)
        _check_options(self, RECIPES[self.recipe], problems)
        if not problems.found:
            _check_runs(self, problems)
        problems.raise_any()

    @property
    def info(self) -> RecipeInfo:
        return RECIPES[self.recipe]

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Self:
        """A configuration from a (partial) analyze spec; the recipe's defaults for its dataset fill what is missing.

        Only `recipe` is required. The service's own keys are ignored, other unknown ones refused.
        """
        if not isinstance(spec, dict):
            raise InvalidConfig([FieldError("", f"an analyze spec must be an object, got {type(spec).__name__}")])
        given = {key: value for key, value in spec.items() if key not in SERVICE_KEYS}
        problems = Problems("")
        if "recipe" not in given:
            problems.add_sentence("recipe", f"recipe is required; known: {', '.join(RECIPES)}")
        else:
            problems.choice("recipe", given["recipe"], tuple(RECIPES))
        name = problems.merge(lambda: _name_of({"dataset": given.get("dataset", {"name": SMALL})}))
        known = [field.name for field in fields(cls)]
        for key in [key for key in given if key not in known]:
            problems.add(key, f"is not a field of an analyze spec; known: {', '.join(known)}")
        if isinstance(given.get("dataset"), dict):
            for key in [key for key in given["dataset"] if key != "name"]:
                problems.add(f"dataset.{key}", "is not a field of dataset; known: name")
        checkpoint = problems.section("checkpoint", CheckpointConfig, given.get("checkpoint", {}), dict(CHECKPOINT))
        if name is None or given.get("recipe") not in RECIPES:
            problems.raise_any()
        return cls._over_defaults(given, name, checkpoint or CheckpointConfig(**CHECKPOINT), problems)

    @classmethod
    def _over_defaults(cls, given: dict[str, Any], name: str, checkpoint: CheckpointConfig, problems: Problems) -> Self:
        info = RECIPES[given["recipe"]]
        defaults = info.defaults(name)
        with_model = given.get("model_id") is not None
        values: dict[str, Any] = {
            "recipe": info.name,
            "dataset": DatasetConfig(name),
            "model_id": given.get("model_id"),
            "seeds": _tuple(given.get("seeds", defaults.seeds)),
            "epochs": given.get("epochs", defaults.epochs if info.trains else None),
            "batch_size": given.get("batch_size", defaults.batch_size),
            "control": given.get("control", "none"),
            "checkpoint": checkpoint,
        }
        for option in ("archs", "methods", "etas"):
            value = given.get(option)
            values[option] = getattr(defaults, option) if value is None else _tuple(value)
        if with_model and info.takes_model:
            values |= {"archs": None, "methods": None, "epochs": None}
        made = problems.merge(lambda: cls(**values))
        problems.raise_any()
        return made  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists; `from_dict` gives the same configuration back."""
        content = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}

    def operations(self) -> int:
        """Estimated operations of the whole: forward and twice as much backward, for every image of every epoch."""
        from addercore.config.plans import plan

        return sum(run.operations() for run in plan(self))


def _tuple(value: Any) -> Any:
    """A list as a tuple; anything else as it is, for the checks to refuse."""
    return tuple(value) if isinstance(value, list) else value


def _check_values(config: AnalyzeConfig, problems: Problems) -> None:
    info = dataset(config.dataset.name)
    if config.model_id is not None and not (isinstance(config.model_id, str) and config.model_id):
        problems.add("model_id", f"must be null or a model's id, got {config.model_id!r}")
    if _is_list("seeds", config.seeds, problems):
        for seed in config.seeds:
            if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
                problems.add("seeds", f"must be integers from 0 to {MAX_SEED}, got {seed!r}")
        if len(config.seeds) > MOST_SEEDS:
            problems.add("seeds", f"must be at most {MOST_SEEDS}, got {len(config.seeds)}")
    if config.epochs is not None:
        problems.integer("epochs", config.epochs, 1)
    if config.batch_size is not None:
        problems.integer("batch_size", config.batch_size, 2, "batch normalisation needs two images")
        if isinstance(config.batch_size, int) and config.batch_size > info.train_size:
            problems.add_sentence(
                "batch_size",
                f"batch_size {config.batch_size} exceeds the {info.train_size} training images of {info.name}; "
                f"give at most {info.train_size}",
            )
    problems.choice("control", config.control, get_args(Control))


def _is_list(name: str, value: object, problems: Problems) -> bool:
    """Whether it is a list of something, each once."""
    if not isinstance(value, tuple) or not value:
        problems.add(name, f"must be a list with at least one entry, got {value!r}")
        return False
    if any(value.index(item) != place for place, item in enumerate(value)):
        problems.add(name, f"must have each entry once, got {list(value)!r}")
        return False
    return True


def _check_options(config: AnalyzeConfig, info: RecipeInfo, problems: Problems) -> None:
    """What this recipe takes."""
    for option in ("archs", "methods", "etas"):
        value = getattr(config, option)
        if value is None:
            continue
        if option not in info.options():
            takes = ", ".join(info.options()) or "neither archs, methods nor etas"
            problems.add(option, f"is no option of recipe {info.name}, which takes {takes}; leave it out")
        elif _is_list(option, value, problems):
            _check_entries(option, value, info, problems)
    if info.one_arch and config.archs is not None and len(config.archs) > 1:
        problems.add("archs", f"must be one network: recipe {info.name} compares within it, got {list(config.archs)!r}")
    if config.model_id is not None and not info.takes_model:
        takers = ", ".join(name for name, other in RECIPES.items() if other.takes_model)
        problems.add("model_id", f"is no option of recipe {info.name}; recipes that take a model: {takers}")
    if config.epochs is not None and not info.trains:
        problems.add("epochs", f"is no option of recipe {info.name}, which trains nothing; leave it out")
    if config.control in get_args(Control) and config.control not in info.controls:
        known = ", ".join(info.controls)
        problems.add("control", f"must be one of {known} for recipe {info.name}, got {config.control!r}")
    elif config.control == "permuted_labels" and config.model_id is not None:
        problems.add("control", "permuted_labels needs a training; leave out model_id, or take permuted_weights")


def _check_entries(option: str, value: tuple[Any, ...], info: RecipeInfo, problems: Problems) -> None:
    for item in value:
        if option == "etas":
            problems.positive(option, item)
        else:
            problems.choice(option, item, tuple(ARCHS) if option == "archs" else info.known_methods)


def _check_runs(config: AnalyzeConfig, problems: Problems) -> None:
    """The networks fit the images, and the trainings are few enough for one job."""
    info = dataset(config.dataset.name)
    for arch in config.archs or ():
        try:
            network(arch, info.input_shape, len(info.classes))
        except ValueError as error:
            problems.add_sentence("archs", str(error))
    if config.recipe == "figure1" and config.archs is not None and config.archs != ("lenet5_bn_2d",):
        problems.add("archs", f"must be lenet5_bn_2d: its last hidden layer is a plane, got {list(config.archs)!r}")
    if not problems.found:
        from addercore.config.plans import rows_of

        runs = len(rows_of(config)) * len(config.seeds)
        if runs > MOST_RUNS:
            problems.add_sentence(
                "seeds", f"{runs} trainings are too many for one analysis, which takes {MOST_RUNS}; give fewer seeds"
            )
