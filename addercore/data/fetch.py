"""Brings a published dataset into the data folder: copied from this machine or a folder, or downloaded.

What counts is the content: a copy in any packing is taken whose uncompressed files have the published checksums, all of
them or none. A download that breaks off leaves `.NAME.part`, from which the next attempt goes on; one that turns out to
be another file leaves nothing.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
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
from addercore.data.copies import Copy, copies_in
from addercore.data.folder import imagenet
from addercore.data.published import Download
from addercore.data.sets import SPLITS, read
from addercore.errors import BadData
from addercore.files import rename, replacing

Say = Callable[[str], None]

_CHUNK: Final = 1 << 20  # bytes
_SILENCE: Final = 30.0  # seconds without a byte after which a connection counts as broken
_TRIES: Final = 3  # of each address
_EVERY: Final = 5.0  # seconds between two words about progress


class FetchError(BadData):
    """A dataset could not be brought here; the message says what to do."""


def fetch(
    info: DatasetInfo,
    downloads: Sequence[Download],
    data_dir: Path,
    folder: Path | None = None,
    say: Say = print,
    elsewhere: Sequence[Path] = (),
) -> Path:
    """The folder of the dataset's files, whole and checked, below `data_dir`.

    Args:
        info: the dataset.
        downloads: its published files.
        data_dir: where datasets lie.
        folder: take it from there, in whatever packing (of ImageNet a link is made), and download nothing.
        say: gets a sentence about each step.
        elsewhere: folders that are looked through before anything is downloaded.

    Raises:
        FetchError: it cannot be brought here; the message says what to do.
        BadData: what is there already is not what was published.
    """
    if not info.files:
        raise FetchError(f"{info.name} need not be fetched: {info.source}")
    target = data_dir / info.name
    if not missing_files(info, data_dir):
        return _checked(info, data_dir, f"{info.name} is in {target} already", say)
    if not downloads:
        return _linked(info, data_dir, folder, say)
    refused: list[str] = []
    for place in (target, *elsewhere) if folder is None else (folder,):
        if (copy := _copied(info, place, data_dir, refused, say)) is not None:
            return _checked(info, data_dir, f"{info.name} is in {target}, taken from {copy}", say)
    if folder is not None:
        raise FetchError(_no_copy(info, downloads, folder, refused))
    for reason in refused:
        say(f"Not taken: {reason}")
    target.mkdir(parents=True, exist_ok=True)
    try:
        for download in downloads:
            _bring(info, download, target, say)
    finally:
        with suppress(OSError):  # it holds something
            target.rmdir()
    return _checked(info, data_dir, f"{info.name} is in {target}", say)


def _copied(info: DatasetInfo, folder: Path, data_dir: Path, refused: list[str], say: Say) -> Path | None:
    """Where the first right copy in a folder lies, once its files are in the data folder: all of them, or nothing."""
    target = data_dir / info.name
    for copy in copies_in(info, folder):
        say(f"Looking at {copy.path}")
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{info.name}-", dir=data_dir) as staged:
            try:
                _stage(copy, Path(staged) / info.name)
                for split in SPLITS:
                    read(info, split, Path(staged))
            except BadData as error:
                refused.append(str(error).replace(f"{staged}{os.sep}{info.name}", str(copy.path)))
                continue
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted((Path(staged) / info.name).iterdir()):
                path.replace(target / path.name)
        return copy.path
    return None


def _stage(copy: Copy, folder: Path) -> None:
    """Writes a copy's files, each of which must have its published checksum."""
    folder.mkdir()
    sums = dict(zip(copy.info.files, copy.info.checksums, strict=False))
    for name, data in copy.contents():
        found = hashlib.sha256(data).hexdigest()
        if sums.get(name, found) != found:
            raise BadData(
                f"{copy.path} is not the published {copy.path.name if copy.kind != 'files' else copy.info.name}: its "
                f"{name} has sha256 {found} uncompressed, instead of {sums[name]}"
            )
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _no_copy(info: DatasetInfo, downloads: Sequence[Download], folder: Path, refused: list[str]) -> str:
    if refused:
        return f"{'; '.join(refused)}. Nothing was kept. Try another source, such as {downloads[0].addresses[0]}"
    wanted = ", ".join(download.name for download in downloads)
    return (
        f"{folder} has neither {wanted} nor {', '.join(info.files)}, nor the folders of torchvision or Keras; get them "
        f"from {downloads[0].addresses[0]} ({info.source}) and put them there"
    )


def _checked(info: DatasetInfo, data_dir: Path, what: str, say: Say) -> Path:
    """Reads both splits as a training does, with all its checks."""
    sizes = [len(read(info, split, data_dir)) for split in SPLITS]
    say(f"{what}: {sizes[0]:,} training and {sizes[1]:,} validation images, checked")
    return data_dir / info.name


def _bring(info: DatasetInfo, download: Download, target: Path, say: Say) -> None:
    """One published file into `target`: an archive's members, or the file itself."""
    with _partial(target / f".{download.name}.part", download) as (path, part):
        _download(info, download, part, target, say)
        part.flush()
        os.fsync(part.fileno())
        _verify(path, download)
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


def _verify(path: Path, download: Download) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != download.sha256:
        size = path.stat().st_size
        path.unlink()
        raise FetchError(
            f"it is not the published {download.name}: {size:,} bytes with sha256 {found} instead of "
            f"{download.bytes:,} with {download.sha256}; nothing was kept. Try again, or another source"
        )


def _unpack(info: DatasetInfo, path: Path, target: Path) -> None:
    """The members that are `info.files`, each in one step under its own name; where they lie in the archive does not
    matter."""
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
    """Goes on where `part` ends; `OSError` where the connection breaks off."""
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
    """A link to a folder of images, where it is whole; copying it would take hours and twice the disk."""
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
    """`target` links to `folder` from here on, unless the caller finds a fault with it."""
    if target.exists() or target.is_symlink():
        raise FetchError(f"{target} is there, and not whole; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(folder, target_is_directory=True)
    try:
        yield
    except BaseException:
        target.unlink()
        raise
