"""Finds published files of datasets, plain, gzipped or in an archive, and verifies the sha256 of their content."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from addercore.config import DatasetInfo
from addercore.config.datasets import find_file, how_to_get
from addercore.errors import BadData

_AGAIN = "remove it and get it again"


@dataclass(frozen=True, slots=True)
class Content:
    """The uncompressed content of a published file, and the path it was read from."""

    name: str
    path: Path
    data: bytes

    def verify(self, info: DatasetInfo) -> None:
        """Raises `BadData` if this is not the published content. Takes 0.1 s for 150 MB: done at each reading."""
        if not info.checksums:
            return
        expected = info.checksums[info.files.index(self.name)]
        found = hashlib.sha256(self.data).hexdigest()
        if found != expected:
            raise BadData(
                f"{self.path}: {self.name} is not the published file (its sha256 is {found}, not {expected}); "
                f"{_AGAIN}: adder datasets fetch {info.name}"
            )


def read(info: DatasetInfo, data_dir: Path | None, names: Sequence[str]) -> list[Content]:
    """Reads files of a published dataset in the order of `names`. `BadData` says what is missing, and how to get it."""
    if data_dir is None:
        raise BadData(f"{info.name} needs a data folder with {', '.join(info.files)}, from {info.source}")
    places = {name: find_file(info, data_dir, name) for name in names}
    missing = [name for name, path in places.items() if path is None]
    if missing:
        raise BadData(f"{', '.join(missing)} of {info.name}: missing. {how_to_get(info, data_dir)}")
    archives: dict[Path, dict[str, bytes]] = {}
    found = []
    for name in names:
        path = places[name]
        assert path is not None  # for types: none is missing
        if path.name == info.archive:
            if path not in archives:
                archives[path] = _members(path, [each for each in names if places[each] == path])
            found.append(Content(name, path, archives[path][name]))
        else:
            found.append(Content(name, path, _plain(path)))
    return found


def _plain(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path} cannot be read ({error}); {_AGAIN}") from error


def _members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The files called `names` in any folder of a .tar.gz, in one pass over it."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                content = archive.extractfile(member) if member.isfile() and name in names else None
                if content is not None:
                    found[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BadData(f"{path} cannot be read ({error}); {_AGAIN}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise BadData(f"{path} does not hold {', '.join(missing)}: is it another archive under this name? {_AGAIN}")
    return found
