"""Brings a published dataset into the data folder, by download or from a folder.

A file gets its name only after its checksum was verified. An interrupted download leaves `.NAME.part`, which the next
attempt continues; a file with another checksum leaves nothing. Nothing is done if the dataset is there already.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, BinaryIO, Final

from addercore.config import DatasetInfo
from addercore.config.datasets import missing_files
from addercore.data.folder import imagenet
from addercore.data.published import Download
from addercore.data.sets import SPLITS, read
from addercore.errors import BadData
from addercore.files import rename, replacing

Say = Callable[[str], None]

_CHUNK: Final = 1 << 20  # bytes
_SILENCE: Final = 30.0  # seconds without a byte after which a connection counts as broken
_TRIES: Final = 3  # of each address
_EVERY: Final = 5.0  # seconds between two reports of progress


class FetchError(BadData):
    """A dataset could not be fetched. The message says what to do."""


def fetch(
    info: DatasetInfo, downloads: Sequence[Download], data_dir: Path, folder: Path | None = None, say: Say = print
) -> Path:
    """Fetches and verifies the files of a dataset, and returns their folder below `data_dir`.

    With `folder`, files are copied from there (ImageNet is linked) and nothing is downloaded. Raises `FetchError` with
    the remedy.
    """
    if not info.files:
        raise FetchError(f"{info.name} need not be fetched: {info.source}")
    target = data_dir / info.name
    if not missing_files(info, data_dir):
        return _checked(info, data_dir, f"{info.name} is in {target} already", say)
    if not downloads:
        return _linked(info, data_dir, folder, say)
    target.mkdir(parents=True, exist_ok=True)
    try:
        loose = [] if folder is None else _loose(info, downloads, folder)
        if loose:
            for path in loose:
                _copy(path, target / path.name)
        else:
            for download in downloads:
                _bring(info, download, target, folder, say)
    finally:
        with suppress(OSError):  # it holds something
            target.rmdir()
    return _checked(info, data_dir, f"{info.name} is in {target}", say)


def _checked(info: DatasetInfo, data_dir: Path, what: str, say: Say) -> Path:
    """Reads both splits as a training does, with all its checks."""
    sizes = [len(read(info, split, data_dir)) for split in SPLITS]
    say(f"{what}: {sizes[0]:,} training and {sizes[1]:,} validation images, checked")
    return data_dir / info.name


def _loose(info: DatasetInfo, downloads: Sequence[Download], folder: Path) -> list[Path]:
    """The dataset's files in `folder`, if it has all of them, but not the published downloads."""
    if all(_in(folder, info, download.name) for download in downloads):
        return []
    found = [_in(folder, info, name) for name in info.files]
    if None not in found:
        return [path for path in found if path is not None]
    wanted = ", ".join(download.name for download in downloads)
    raise FetchError(
        f"{folder} has neither {wanted} nor {', '.join(info.files)}; get them from {downloads[0].addresses[0]} "
        f"({info.source}) and put them there"
    )


def _in(folder: Path, info: DatasetInfo, name: str) -> Path | None:
    """Finds `name` in `folder`, in its subfolder for this dataset, or where an archive was unpacked."""
    places = [folder / name, folder / info.name / name, *sorted(folder.glob(f"cifar*/{name}"))]
    return next((path for path in places if path.is_file()), None)


def _bring(info: DatasetInfo, download: Download, target: Path, folder: Path | None, say: Say) -> None:
    """Brings one published file into `target`, or the members of an archive."""
    with _partial(target / f".{download.name}.part", download) as (path, part):
        found = None if folder is None else _in(folder, info, download.name)
        if found is not None:
            part.truncate(0)
            with found.open("rb") as file:
                shutil.copyfileobj(file, part, _CHUNK)
        else:
            _download(info, download, part, target, say)
        part.flush()
        os.fsync(part.fileno())
        _verify(path, download, "it" if found is None else str(found))
        if download.name == info.archive:
            _unpack(info, path, target)
            path.unlink()
        else:
            rename(path, target / download.name)


@contextmanager
def _partial(path: Path, download: Download) -> Iterator[tuple[Path, BinaryIO]]:
    """Opens the unfinished file for appending, locked for this process."""
    while True:
        with path.open("a+b") as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FetchError(f"another process is fetching {download.name} into {path.parent}") from error
            if not _is_still(path, part):
                continue  # its owner ended between the two lines above: the lock is on a file that is finished or gone
            part.seek(0, os.SEEK_END)
            yield path, part
            return


def _is_still(path: Path, file: BinaryIO) -> bool:
    """Whether `file` is what lies at `path` now."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _verify(path: Path, download: Download, what: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != download.sha256:
        size = path.stat().st_size
        path.unlink()
        raise FetchError(
            f"{what} is not the published {download.name}: {size:,} bytes with sha256 {found} instead of "
            f"{download.bytes:,} with {download.sha256}; nothing was kept. Try again, or another source"
        )


def _unpack(info: DatasetInfo, path: Path, target: Path) -> None:
    """Extracts the members called `info.files`, in whatever folder of the archive they are. Each appears atomically."""
    wanted = set(info.files)
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            content = archive.extractfile(member) if member.isfile() and name in wanted else None
            if content is not None:
                wanted.remove(name)
                _write(content, target / name)
    if wanted:
        raise FetchError(f"{info.archive} does not hold {', '.join(sorted(wanted))}")


def _copy(path: Path, target: Path) -> None:
    with path.open("rb") as content:
        _write(content, target)


def _write(content: IO[bytes], target: Path) -> None:
    with replacing(target) as file:
        shutil.copyfileobj(content, file, _CHUNK)


def _download(info: DatasetInfo, download: Download, part: BinaryIO, target: Path, say: Say) -> None:
    reasons = []
    for address in download.addresses:
        for _ in range(_TRIES):
            try:
                _receive(address, download, part, say)
            except (OSError, HTTPException, urllib.error.URLError) as error:
                reasons.append(f"{address}: {getattr(error, 'reason', error)}")
                if isinstance(error, urllib.error.HTTPError) or part.tell() == 0:
                    break  # it will say the same again
            else:
                return
    path = target / f".{download.name}.part"
    if part.tell() == 0:
        path.unlink()
    raise FetchError(
        f"{download.name} could not be downloaded ({'; '.join(dict.fromkeys(reasons))}). Where there is a network, "
        f"get it from {download.addresses[0]}, then run `adder datasets fetch {info.name} --from FOLDER` with the "
        "folder it is in"
    )


def _receive(address: str, download: Download, part: BinaryIO, say: Say) -> None:
    """Continues a download where `part` ends. Raises `OSError` if the connection breaks."""
    have = part.tell()
    if have >= download.bytes:
        return  # whole; the checksum will tell
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_SILENCE) as response:
        if have and response.status != 206:
            part.truncate(0)  # the server cannot go on from there
            have = part.seek(0)
        told = time.monotonic()
        while chunk := response.read(_CHUNK):
            part.write(chunk)
            have += len(chunk)
            if have > download.bytes:
                return  # another file; the checksum will tell
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                say(f"{download.name}: {have / 2**20:.0f} of {download.bytes / 2**20:.0f} MiB")
    if have < download.bytes:
        raise OSError(f"the connection broke off after {have:,} of {download.bytes:,} bytes")


def _linked(info: DatasetInfo, data_dir: Path, folder: Path | None, say: Say) -> Path:
    """Links to a folder of images, after checking it. A copy would take hours and twice the disk space."""
    target = data_dir / info.name
    if folder is None:
        raise FetchError(
            f"{info.name} cannot be downloaded without an account. Get ILSVRC2012_img_train.tar and "
            f"ILSVRC2012_img_val.tar from {info.source}, unpack them to FOLDER/train/CLASS/*.JPEG and "
            f"FOLDER/val/CLASS/*.JPEG, then run `adder datasets fetch {info.name} --from FOLDER`, or put both folders "
            f"into {target}"
        )
    folder = folder.resolve()
    with _linked_once(target, folder):
        sizes = [len(imagenet(info, data_dir, split)) for split in SPLITS]
    say(f"{target} links to {folder}: {sizes[0]:,} training and {sizes[1]:,} validation images")
    return target


@contextmanager
def _linked_once(target: Path, folder: Path) -> Iterator[None]:
    """Makes `target` a link to `folder`; removes it if the block raises."""
    if target.exists() or target.is_symlink():
        raise FetchError(f"{target} is there, and not whole; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(folder, target_is_directory=True)
    try:
        yield
    except BaseException:
        target.unlink()
        raise
