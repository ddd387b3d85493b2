"""What is known of a dataset before it is there: shapes, sizes, classes, files, normalisation."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self, TypeGuard


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset as a network sees it.

    Pixels are bytes, 0…`top`. They are scaled to 0…1, resized (bilinear) to `input_shape`'s height and width, then
    (x − mean) / std a channel.
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
    files: tuple[str, ...] = ()  # needed in the data folder (or folders of images); a name with .gz is taken as well
    checksums: tuple[str, ...] = ()  # sha256 of the files' contents, uncompressed, where they are published
    archive: str = ""  # published file that holds `files`; it can be read as it is
    top: int = 255  # the value of a white pixel

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
            "checksums": list(self.checksums),
            "archive": self.archive,
            "top": self.top,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """What `to_dict` gave."""
        lists = {name: tuple(value) for name, value in document.items() if isinstance(value, list)}
        return cls(**document | lists)


_DIGIT_NAMES: Final = tuple("0123456789")

_MNIST_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_CIFAR_MEAN: Final = (0.4914, 0.4822, 0.4465)
_CIFAR_STD: Final = (0.2023, 0.1994, 0.2010)  # the authors' code has these for both


def _names(file: str) -> tuple[str, ...]:
    """Class names, one a line."""
    return tuple((files("addercore.config") / file).read_text(encoding="ascii").splitlines())


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
        top=16,
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
        files=_MNIST_FILES,
        checksums=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": DatasetInfo(
        name="fashion_mnist",
        description="70,000 articles of clothing, 28×28, light on dark; the 10,000 test images validate",
        source="https://github.com/zalandoresearch/fashion-mnist (four IDX files, plain or .gz)",
        input_shape=(1, 32, 32),
        stored_shape=(28, 28),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        train_size=60_000,
        validation_size=10_000,
        mean=(0.2860,),
        std=(0.3530,),
        files=_MNIST_FILES,
        checksums=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "cifar10": DatasetInfo(
        name="cifar10",
        description="60,000 colour photographs, 32×32, of ten classes; the 10,000 test images validate",
        source="https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
        input_shape=(3, 32, 32),
        stored_shape=(32, 32),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        train_size=50_000,
        validation_size=10_000,
        mean=_CIFAR_MEAN,
        std=_CIFAR_STD,
        files=(*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
        checksums=(
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
        archive="cifar-10-binary.tar.gz",
    ),
    "cifar100": DatasetInfo(
        name="cifar100",
        description="60,000 colour photographs, 32×32, of a hundred classes; the 10,000 test images validate",
        source="https://www.cs.toronto.edu/~kriz/cifar.html (binary version, fine labels)",
        input_shape=(3, 32, 32),
        stored_shape=(32, 32),
        classes=_names("cifar100.txt"),  # the fine labels
        train_size=50_000,
        validation_size=10_000,
        mean=_CIFAR_MEAN,
        std=_CIFAR_STD,
        files=("train.bin", "test.bin"),
        checksums=(
            "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        ),
        archive="cifar-100-binary.tar.gz",
    ),
    "imagenet": DatasetInfo(
        name="imagenet",
        description="ILSVRC 2012: 1,281,167 photographs of a thousand classes; the 50,000 validation images validate",
        source="https://www.image-net.org/download.php (after registration; ILSVRC2012, CLS-LOC)",
        input_shape=(3, 224, 224),
        stored_shape=(224, 224),  # as they leave the decoder
        # `n01440764 tench`: the folder's name, then WordNet's first word for it, which two classes may share
        classes=_names("imagenet.txt"),
        train_size=1_281_167,
        validation_size=50_000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        files=("train", "val"),
    ),
}


def file_names(name: str) -> tuple[str, ...]:
    """What a published file is called where it lies: `train-images-idx3-ubyte`, with a dot before `idx`, with .gz."""
    names = dict.fromkeys((name, name.replace("-idx", ".idx")))
    return (*names, *(f"{each}.gz" for each in names))


def find_file(info: DatasetInfo, data_dir: Path, name: str) -> Path | None:
    """Where `name`, one of `info.files`, lies below `data_dir/DATASET`: itself, in a folder there, as torchvision has
    it, in each form of `file_names`, or in the published archive, whose path it is then. MNIST is also found in
    `data_dir` itself."""
    folder = data_dir / info.name
    if info.name == "mnist" and not folder.is_dir():
        folder = data_dir
    names = file_names(name)
    places = [folder / each for each in names]
    places += [path for each in names for where in ("*", "*/raw") for path in sorted(folder.glob(f"{where}/{each}"))]
    if info.archive:
        places.append(folder / info.archive)
    return next((path for path in places if path.exists()), None)


def missing_files(info: DatasetInfo, data_dir: Path) -> list[Path]:
    """What of `info.files` is not in `data_dir`."""
    return [data_dir / info.name / name for name in info.files if find_file(info, data_dir, name) is None]


def how_to_get(info: DatasetInfo, data_dir: Path) -> str:
    """One sentence for a user who lacks it: the command, or the files and their place."""
    if not info.files:
        return info.source
    folder = data_dir / info.name
    if info.name == "imagenet":
        return (
            f"Unpack train/ and val/, a folder of images for each class, into {folder}, or run `adder datasets fetch "
            f"imagenet --from FOLDER` there. Source: {info.source}"
        )
    what = info.archive or f"{', '.join(info.files)} (plain or .gz)"
    return f"Run `adder datasets fetch {info.name}` on the server, or put {what} into {folder}. Source: {info.source}"


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
