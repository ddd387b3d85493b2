"""The networks that an analysis looks at, one `Run` each: what is varied makes the rows, seeds repeat a row."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final

from addercore.arch.counts import count
from addercore.config.analyze import AnalyzeConfig
from addercore.config.datasets import dataset
from addercore.config.figures import SMALL
from addercore.config.train import TrainConfig

PASSES: Final = 3
"""A training step is a forward pass and a backward pass of about twice its work."""

TEACHER: Final = "twin"
"""The row of the distillation recipe whose model teaches."""
TEACHER_PASSES: Final = 2
"""The teacher trains this many times as many epochs as its students, on digits also on augmented images: a twin of the
students' own recipe holds them back (docs/distillation.md)."""
DISTILL: Final = {"weight": 0.9}

GRADIENTS: Final = ("full_precision", "sign")
RATES: Final = ("alr", "ilr", "none")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: its `key` (as in the runs' names), what is varied, and the training spec's part of it."""

    key: str
    labels: tuple[tuple[str, Any], ...]
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One network of a row with one seed; `name` is KEY-SEED and the prefix of its metrics."""

    name: str
    row: str
    seed: int
    config: TrainConfig
    trains: bool
    teacher: str | None = None  # the run whose model teaches this one

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training, as the trainer counts them."""
        if not self.trains:
            return 0
        full, rest = divmod(dataset(self.config.dataset.name).train_size, self.config.batch_size)
        return self.config.epochs * ceil((full + (rest > 1)) / self.config.optimizer.accumulate)

    def operations(self) -> int:
        """Estimated operations of the training, or of the one step where nothing is trained."""
        info = dataset(self.config.dataset.name)
        model = self.config.model
        each = count(self.config.network(), model.method, model.first_last).operations
        images = PASSES * self.config.batch_size
        if self.trains:
            images = self.config.epochs * (PASSES * info.train_size + info.validation_size)
        return images * (each.add + each.mul + each.xnor)


def rows_of(config: AnalyzeConfig) -> tuple[Row, ...]:
    """The rows in the order of the table; none where a given model is looked at."""
    if config.model_id is not None:
        return ()
    arch = (config.archs or ("",))[0]
    match config.recipe:
        case "table4":
            return tuple(
                Row(f"eta{eta:g}", (("eta", eta),), _of(arch, "adder") | {"optimizer": {"eta": eta}})
                for eta in config.etas or ()
            )
        case "figure3":
            return tuple(_scheme(arch, gradient, rate) for gradient in GRADIENTS for rate in RATES)
        case "distillation":
            return (
                Row(TEACHER, (("network", "convolutional twin (teacher)"),), _of(arch, "conv") | _teaching(config)),
                Row("plain", (("network", "AdderNet"),), _of(arch, "adder")),
                Row("distilled", (("network", "AdderNet, distilled"),), _of(arch, "adder") | {"distill": DISTILL}),
            )
        case _:
            return tuple(_cell(config, arch, method) for arch in config.archs or () for method in config.methods or ())


def _teaching(config: AnalyzeConfig) -> dict[str, Any]:
    """What a teacher has that its students have not, beside its longer training."""
    return {"augment": "affine"} if config.dataset.name == SMALL else {}


def _of(arch: str, method: str, **model: str) -> dict[str, Any]:
    return {"model": {"arch": arch, "method": method, **model}}


def _scheme(arch: str, gradient: str, rate: str) -> Row:
    spec = _of(arch, "adder", gradient=gradient) | {"optimizer": {"adaptive_lr": rate}}
    return Row(f"{gradient}-{rate}", (("gradient", gradient), ("local_rate", rate)), spec)


def _cell(config: AnalyzeConfig, arch: str, method: str) -> Row:
    """A network by a method; in the published tables first and last layer stay convolutions."""
    kept = config.recipe in ("table2", "table3", "xnor_table")
    several = len(config.archs or ()) > 1
    return Row(
        f"{arch}-{method}" if several else method,
        (("network", arch), ("method", method)),
        _of(arch, method, **({"first_last": "conv"} if kept else {})),
    )


def plan(config: AnalyzeConfig) -> tuple[Run, ...]:
    """Every run in order: all rows with the first seed, then with the next."""
    return tuple(_run(config, row, seed) for seed in config.seeds for row in rows_of(config))


def _run(config: AnalyzeConfig, row: Row, seed: int) -> Run:
    spec: dict[str, Any] = {
        "dataset": {"name": config.dataset.name},
        "seed": seed,
        "checkpoint": {
            "every_epochs": config.checkpoint.every_epochs,
            "every_seconds": config.checkpoint.every_seconds,
            "keep": config.checkpoint.keep,
        },
        **row.spec,
    }
    if config.epochs is not None:
        spec["epochs"] = config.epochs
    if config.batch_size is not None:
        spec["batch_size"] = config.batch_size
    teacher = f"{TEACHER}-{seed}" if "distill" in row.spec else None
    if teacher is not None:
        spec["distill"] = {**row.spec["distill"], "teacher": teacher}
    training = TrainConfig.from_dict(spec)
    if row.key == TEACHER:
        training = replace(training, epochs=TEACHER_PASSES * training.epochs)
    return Run(f"{row.key}-{seed}", row.key, seed, training, config.info.trains, teacher)
