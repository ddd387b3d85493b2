"""Zip and tar archives of class folders: members are read one by one into memory and never written out by name."""

import bz2
import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, Self, cast

from addercore.data.intake.images import BadImage, Pixels, decode
from addercore.data.intake.layout import Parts, hidden, layout, parts_of
from addercore.data.intake.limits import MIB, Limits, Meter
from addercore.data.intake.problems import refuse
from addercore.data.intake.sources import Example

READ: Final = MIB  # bytes
MOST_SHOWN: Final = 160  # characters of a name
HEADER_BYTES: Final = MIB  # of a tar's headers between two members; longer ones are read by nobody
BLOCK: Final = 512  # bytes; tar's
DAMAGED: Final = "The archive is cut off or damaged ({}). Pack it again, and compare its size after sending."
_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_END64_PLACE: Final = b"PK\x06\x07"
_END_BYTES: Final = 22 + 65_535  # with the longest comment
_ENTRY_BYTES: Final = 46 + 200  # of a zip's directory, with a name of usual length


class Member(Protocol):
    """One regular file of an archive."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes:
        """The whole content. Raises BadImage if only this file is damaged or too long."""


class Archive(Protocol):
    """An archive that can be read more than once."""

    def members(self) -> Iterator[tuple[Member, float]]:
        """Yields regular files with the progress (0…1). Each must be read before the next one is taken."""

    def folders(self) -> list[Parts]:
        """Folders seen in the last pass."""


class ArchiveSource:
    """Class folders of images as a `Source`. Opening it reads all names once."""

    classes: list[str] | None = None

    def __init__(self, archive: Archive, limits: Limits, between: Callable[[], None]) -> None:
        self._archive, self._limits = archive, limits
        files: dict[str, Parts] = {}
        for member, _ in archive.members():
            between()
            if member.name in files:
                raise refuse(f"The archive has two files {member.name!r}. Remove one.")
            parts = parts_of(member.name)
            if not hidden(parts):
                files[member.name] = parts
            if len(files) > limits.entries:
                raise refuse(f"The archive has more than {limits.entries:,} files, the most that are taken.")
        if not files:
            raise refuse("The archive is empty.")
        found = layout(files, [parts for parts in archive.folders() if not hidden(parts)])
        self._places, self.notes = found.places, found.notes

    def examples(self) -> Iterator[Example]:
        for member, done in self._archive.members():
            if member.name in self._places:
                part, label = self._places[member.name]
                yield Example(_shown(member.name), member.name, part, label, self._image(member), done)

    def _image(self, member: Member) -> Pixels | BadImage:
        try:
            return decode(member.read(), self._limits)
        except BadImage as error:
            return error


def _shown(name: str) -> str:
    return name if len(name) <= MOST_SHOWN else f"{name[: MOST_SHOWN // 2]}…{name[-MOST_SHOWN // 2 :]}"


@contextmanager
def damage() -> Iterator[None]:
    """Turns the exceptions of the libraries about damaged archives into BadDataset."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, struct.error, gzip.BadGzipFile) as error:
        raise refuse(DAMAGED.format(str(error) or type(error).__name__)) from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile's, of versions and passwords
        raise refuse(f"The archive cannot be read: {error}.") from None


def _whole(stream: IO[bytes], limits: Limits, meter: Meter) -> bytes:
    """Reads at most `limits.entry_bytes`, whatever the header says; more is a BadImage."""
    pieces, size = [], 0
    while piece := stream.read(READ):
        meter.add(len(piece))
        size += len(piece)
        if size > limits.entry_bytes:
            raise BadImage(f"is longer than {limits.entry_bytes:,} bytes, the most for one image")
        pieces.append(piece)
    return b"".join(pieces)


class Zip:
    """A zip archive, stored or deflated."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._folders: list[Parts] = []
        most = limits.entries * _ENTRY_BYTES
        with path.open("rb") as file:
            if _directory_bytes(file) > most:
                raise refuse(f"The archive's directory is longer than {most:,} bytes: it has too many files.")

    def folders(self) -> list[Parts]:
        return self._folders

    def members(self) -> Iterator[tuple[Member, float]]:
        meter = Meter(self._limits, self._path.stat().st_size)
        self._folders = []
        with damage(), zipfile.ZipFile(self._path) as archive:
            infos = archive.infolist()
            for number, info in enumerate(infos):
                if _is_folder(info):
                    self._folders.append(parts_of(info.filename))
                    continue
                yield _ZipMember(archive, info, self._limits, meter), number / len(infos)


class _ZipMember:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits, meter: Meter) -> None:
        self._archive, self._info, self._limits, self._meter = archive, info, limits, meter

    @property
    def name(self) -> str:
        return self._info.filename

    def open(self) -> IO[bytes]:
        return self._archive.open(self._info)

    def read(self) -> bytes:
        try:
            with self.open() as stream:
                return _whole(stream, self._limits, self._meter)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BadImage(f"is damaged in the archive: {error}") from None


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder and not a regular file. Everything else, and what cannot be read, is refused."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & _ENCRYPTED:
        raise refuse(f"The archive is encrypted ({info.filename!r} needs a password). Pack it without one.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse(f"The archive has a link or device, {info.filename!r}; only files and folders are taken.")
    if info.is_dir():
        return True
    if info.compress_type not in _METHODS:
        raise refuse(f"{info.filename!r} is packed by method {info.compress_type}; pack it with deflate, as zip does.")
    return False


def _directory_bytes(file: BinaryIO) -> int:
    """The directory's length by the zip's end record, as the library takes it: it reads that much into memory."""
    size = file.seek(0, 2)
    begin = max(0, size - _END_BYTES)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise refuse(DAMAGED.format("its directory, which ends a zip, is missing"))
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length == 0xFFFFFFFF and tail[at - 20 : at - 16] == _END64_PLACE:
        file.seek(min(int.from_bytes(tail[at - 12 : at - 4], "little"), size))
        end = file.read(56)
        if not end.startswith(_END64) or len(end) < 56:
            raise refuse(DAMAGED.format("its directory, which ends a zip, is missing"))
        length = int.from_bytes(end[40:48], "little")
    return length


class Tar:
    """A tar archive, plain or compressed, read from beginning to end."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._folders: list[Parts] = []

    def folders(self) -> list[Parts]:
        return self._folders

    def members(self) -> Iterator[tuple[Member, float]]:
        size = self._path.stat().st_size
        self._folders = []
        with ExitStack() as opened:
            opened.enter_context(damage())
            raw = opened.enter_context(self._path.open("rb"))
            stream = _Metered(opened.enter_context(_unpacked(raw)), Meter(self._limits, size))
            archive = opened.enter_context(tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Strict))
            while (info := _next(archive, stream)) is not None:
                if info.isdir():
                    self._folders.append(parts_of(info.name))
                elif not info.isreg() or info.issparse():
                    raise refuse(
                        f"The archive has a link, device or sparse file, {info.name!r}; only files and folders are "
                        "taken."
                    )
                else:
                    yield _TarMember(archive, info, stream, self._limits), min(1.0, raw.tell() / max(1, size))


def _next(archive: tarfile.TarFile, stream: "_Metered") -> tarfile.TarInfo | None:
    stream.allow_header()
    info = archive.next()
    cast(Any, archive).members.clear()  # the library keeps them all
    if info is not None:
        stream.allow_content(info.size)
    return info


class _TarMember:
    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo, stream: "_Metered", limits: Limits) -> None:
        self._archive, self._info, self._stream, self._limits = archive, info, stream, limits

    @property
    def name(self) -> str:
        return self._info.name

    def read(self) -> bytes:
        if self._info.size > self._limits.entry_bytes:
            raise BadImage(f"is longer than {self._limits.entry_bytes:,} bytes, the most for one image")
        with damage():
            stream = self._archive.extractfile(self._info)
            data = b"" if stream is None else stream.read(self._info.size)
            if len(data) < self._info.size:
                raise tarfile.ReadError(f"{self._info.name!r} ends too early")
        return data


_END_OF_ARCHIVE: type[tarfile.HeaderError] = cast(Any, tarfile).EOFHeaderError  # its stubs lack it


class _Strict(tarfile.TarInfo):
    """Raises at a damaged header, which the library would take for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except _END_OF_ARCHIVE:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _unpacked(file: BinaryIO) -> IO[bytes]:
    head = file.read(3)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return cast(IO[bytes], bz2.BZ2File(file)) if head == b"BZh" else file


class _Metered:
    """Counts what a compressed tar unpacks to, and limits headers to `HEADER_BYTES`."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream, self._meter = stream, meter
        self._content, self._room = 0, HEADER_BYTES

    def allow_header(self) -> None:
        """Allows the bytes up to the next member's header, after the rest of the current content."""
        self._room = self._content + HEADER_BYTES

    def allow_content(self, size: int) -> None:
        self._content = -(-size // BLOCK) * BLOCK
        self._room = self._content + HEADER_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._meter.add(len(data))
        self._room -= len(data)
        if self._room < 0:
            raise refuse(f"The archive has a header of more than {HEADER_BYTES:,} bytes.")
        return data
