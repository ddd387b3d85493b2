"""Copies of published datasets in any packing: IDX files under any name, archives, Keras's and torchvision's folders.

A copy is known by where it lies; whether it is what was published, the checksums of its uncompressed content say.
"""

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import numpy as np

from addercore.config import DatasetInfo
from addercore.config.datasets import file_names
from addercore.data import cifar
from addercore.data.pickles import BadPickle
from addercore.errors import BadData

MOST_BYTES: Final = 256 * 2**20  # of one file, uncompressed: the largest published one has 153 MB
_DAMAGE: Final = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, ValueError, KeyError)
_FOLDERS: Final = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    "cifar10": (
        "cifar10",
        "cifar-10-batches-bin",
        "cifar-10-batches-py",
        "cifar-10-batches-py-target/cifar-10-batches-py",
    ),
    "cifar100": ("cifar100", "cifar-100-binary", "cifar-100-python", "cifar-100-python-target/cifar-100-python"),
}
"""Where a dataset lies in folders for several: our own names, the archives' own, torchvision's and Keras's."""
_KERAS_ARCHIVES: Final = {"cifar10": "cifar-10-batches-py.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
_NPZ: Final = {"mnist": "mnist.npz"}  # Keras's; its Fashion-MNIST is the four IDX files
_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, slots=True)
class Copy:
    """Where each of a dataset's files can be read: from itself, from an archive, or out of Keras's arrays."""

    info: DatasetInfo
    path: Path
    """An archive or `.npz`, or the folder of the files."""
    kind: str
    """`files`, `archive`, or `arrays`."""
    python: bool = False
    """Whether it is CIFAR's Python version."""

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name (one of `info.files`) and uncompressed content of each file.

        Raises:
            BadData: one cannot be read.
        """
        names = dict(zip(cifar.PYTHON_FILES[self.info.name], self.info.files, strict=True)) if self.python else {}
        try:
            match self.kind:
                case "archive":
                    found = self._members(set(names or self.info.files))
                case "arrays":
                    found = self._arrays()
                case _:
                    found = self._files(names or self.info.files)
            for name, data in found:
                yield (names[name], cifar.to_binary(data)) if self.python else (name, data)
        except BadPickle as error:
            raise BadData(f"{self.path} is not CIFAR's Python version: a file of it {error}") from error
        except _DAMAGE as error:
            raise BadData(f"{self.path} cannot be read ({error})") from error

    def _files(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            path = _found(self.path, name)
            if path is None:
                raise BadData(f"{self.path} has no {name}")
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                yield name, _read(cast(IO[bytes], file), path)

    def _members(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(self.path, "r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                content = archive.extractfile(member) if member.isfile() and name in wanted else None
                if content is not None:
                    wanted.remove(name)
                    yield name, _read(content, self.path)
        if wanted:
            raise BadData(f"{self.path} does not hold {', '.join(sorted(wanted))}")

    def _arrays(self) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(self.path) as archive:
            for key, name in zip(_ARRAYS, self.info.files, strict=True):
                with archive.open(f"{key}.npy") as file:
                    values = np.load(io.BytesIO(_read(file, self.path)), allow_pickle=False)
                if values.dtype != np.uint8:
                    raise BadData(f"{self.path}: {key} holds {values.dtype}, not bytes")
                head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
                yield name, head + values.tobytes()


def _read(file: IO[bytes], path: Path) -> bytes:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadData(f"{path} unpacks to more than {MOST_BYTES:,} bytes: it is another file")
    return data


def _found(folder: Path, name: str) -> Path | None:
    return next((folder / each for each in file_names(name) if (folder / each).is_file()), None)


def copies_in(info: DatasetInfo, folder: Path) -> list[Copy]:
    """What looks like a copy of the dataset in a folder, or in the folders that it has for several datasets."""
    if not folder.is_dir():
        return []
    found: list[Copy] = []
    python = cifar.PYTHON_FILES.get(info.name, ())
    archives = [(info.archive, False), (cifar.PYTHON_ARCHIVES.get(info.name), True)]
    archives.append((_KERAS_ARCHIVES.get(info.name), True))
    for place in dict.fromkeys((folder, *(folder / name for name in _FOLDERS.get(info.name, ())))):
        if all(_found(place, name) for name in info.files):
            found.append(Copy(info, place, "files"))
        if python and all(_found(place, name) for name in python):
            found.append(Copy(info, place, "files", python=True))
        for name, of_python in archives:
            if name and (place / name).is_file():
                found.append(Copy(info, place / name, "archive", python=of_python))
        if info.name in _NPZ and (place / _NPZ[info.name]).is_file():
            found.append(Copy(info, place / _NPZ[info.name], "arrays"))
    return found


def machine_folders() -> list[Path]:
    """Where other tools keep published datasets here: Debian's packages, Keras, torchvision's usual roots."""
    home = Path.home()
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    return [
        Path("/usr/share/datasets"),
        keras / "datasets",
        Path("data"),
        Path("datasets"),
        home / "data",
        home / "datasets",
    ]
