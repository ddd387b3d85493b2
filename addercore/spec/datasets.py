"""What is known of a dataset before it is there: shapes, sizes, classes, files, normalisation."""

from dataclasses import dataclass
from typing import Any, Final, Self, TypeGuard


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset as a network sees it.

    Pixels are scaled to 0…1, resized (bilinear) to `input_shape`'s height and width, then (x − mean) / std a channel.
    """

    name: str
    description: str
    source: str
    input_shape: tuple[int, int, int]  # (c, h, w) after resizing
    stored_shape: tuple[int, int]  # (h, w) of an image as it is stored
    classes: tuple[str, ...]
    train_size: int
    validation_size: int
    mean: tuple[float, ...]  # of the training images, pixels in 0…1
    std: tuple[float, ...]
    files: tuple[str, ...] = ()  # needed in the data folder; a name with .gz added is taken as well

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": self.description,
            "source": self.source,
            "input_shape": list(self.input_shape),
            "stored_shape": list(self.stored_shape),
            "classes": list(self.classes),
            "train_size": self.train_size,
            "validation_size": self.validation_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "files": list(self.files),
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """What `to_dict` gave."""
        lists = {name: tuple(value) for name, value in document.items() if isinstance(value, list)}
        return cls(**document | lists)


_DIGIT_NAMES: Final = tuple("0123456789")

DATASETS: Final[dict[str, DatasetInfo]] = {
    "digits": DatasetInfo(
        name="digits",
        description="1,797 handwritten digits, 8×8, light strokes on dark; the last 360 (other writers) validate",
        source="scikit-learn's load_digits (UCI Optical Recognition of Handwritten Digits); comes with the package",
        input_shape=(1, 32, 32),
        stored_shape=(8, 8),
        classes=_DIGIT_NAMES,
        train_size=1437,
        validation_size=360,
        mean=(0.3054,),
        std=(0.3228,),
    ),
    "mnist": DatasetInfo(
        name="mnist",
        description="70,000 handwritten digits, 28×28, light strokes on dark; the 10,000 test images validate",
        source="http://yann.lecun.com/exdb/mnist/ (four IDX files, plain or .gz)",
        input_shape=(1, 32, 32),
        stored_shape=(28, 28),
        classes=_DIGIT_NAMES,
        train_size=60_000,
        validation_size=10_000,
        mean=(0.1307,),
        std=(0.3081,),
        files=(
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
    ),
}


_UPLOADED: Final[dict[str, DatasetInfo]] = {}
"""Users' datasets that this process has heard of, by id. An id's content never changes, so nothing here gets stale."""


def register(info: DatasetInfo) -> None:
    """Makes a user's dataset known to this process under `info.name`, its id; twice is no harm.

    Raises:
        ValueError: the name is a published dataset's, or was registered with another content.
    """
    if info.name in DATASETS or _UPLOADED.get(info.name, info) != info:
        raise ValueError(f"another dataset is known as {info.name!r}")
    _UPLOADED[info.name] = info


def is_dataset(name: object) -> TypeGuard[str]:
    """Whether `dataset(name)` knows it."""
    return isinstance(name, str) and (name in DATASETS or name in _UPLOADED)


def dataset(name: str) -> DatasetInfo:
    """The dataset called `name`, published or registered; `ValueError` naming it and the published ones."""
    if not is_dataset(name):
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS.get(name) or _UPLOADED[name]
