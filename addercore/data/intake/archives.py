"""Zip and tar archives: members are read one by one, and never written out under a name of theirs."""

import bz2
import errno
import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, Self, cast

from addercore.config.uploads import FORMATS, SNIFF_BYTES, sniff, unknown_format
from addercore.data.intake.directory import check_directory
from addercore.data.intake.images import BadImage
from addercore.data.intake.limits import MIB, Limits, Meter
from addercore.data.intake.problems import refuse

READ: Final = MIB  # bytes
HEADER_BYTES: Final = MIB  # of a tar's headers between two members; longer ones are read by nobody
BLOCK: Final = 512  # bytes; tar's
DAMAGED: Final = "The archive is cut off or damaged ({}). Pack it again, and compare its size after sending."
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_UNICODE_PATH: Final = 0x7075  # Info-ZIP's extra field: version, crc32 of the name, the name in UTF-8
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Member(Protocol):
    """One regular file of an archive."""

    @property
    def raw(self) -> bytes:
        """Its name as it stands in the archive."""

    @property
    def declared(self) -> str | None:
        """Its name where the archive says in which encoding it is."""

    def pieces(self) -> Iterator[bytes]:
        """All of it, counted; BadImage where it alone is damaged."""


class Archive(Protocol):
    """An archive that can be gone through more than once."""

    def members(self) -> Iterator[tuple[Member, float]]:
        """Regular files, each to be read before the next one is asked for, and how far this is (0…1)."""

    def folders(self) -> list[tuple[bytes, str | None]]:
        """Names of the last pass, raw and declared."""


def whole(member: Member, most: int) -> bytes:
    """At most `most` bytes, whatever a header says; BadImage for more."""
    pieces, size = [], 0
    for piece in member.pieces():
        size += len(piece)
        if size > most:
            raise BadImage(f"is longer than {most:,} bytes, the most for one image")
        pieces.append(piece)
    return b"".join(pieces)


OUTSIDE = "its directory names a place that is not in the file"
"""What EINVAL means where an archive is read: zipfile seeks to the place that a damaged directory names."""


@contextmanager
def damage() -> Iterator[None]:
    """Says of what the libraries raise at damaged archives that they are."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, struct.error, gzip.BadGzipFile) as error:
        raise refuse(DAMAGED.format(str(error) or type(error).__name__)) from None
    except UnicodeDecodeError:
        raise refuse(DAMAGED.format("a name in it is said to be UTF-8 and is not")) from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile's, of versions and passwords
        raise refuse(f"The archive cannot be read: {error}.") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise refuse(DAMAGED.format(OUTSIDE)) from None


class Zip:
    """A zip archive, stored or deflated."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._folders: list[tuple[bytes, str | None]] = []
        check_directory(path, limits)

    def folders(self) -> list[tuple[bytes, str | None]]:
        return self._folders

    def members(self) -> Iterator[tuple["ZipMember", float]]:
        meter = Meter(self._limits, self._path.stat().st_size)
        self._folders = []
        with damage(), zipfile.ZipFile(self._path) as archive:
            infos = archive.infolist()
            for number, info in enumerate(infos):
                member = ZipMember(archive, info, meter)
                if _is_folder(info):
                    self._folders.append((member.raw, member.declared))
                    continue
                yield member, number / len(infos)


class ZipMember:
    """A file of a zip archive."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, meter: Meter) -> None:
        self._archive, self.info, self._meter = archive, info, meter

    @property
    def raw(self) -> bytes:
        return self.info.orig_filename.encode("utf-8" if self.info.flag_bits & _UTF8 else "cp437")

    @property
    def declared(self) -> str | None:
        return self.info.orig_filename if self.info.flag_bits & _UTF8 else _unicode_path(self.info.extra, self.raw)

    def open(self) -> IO[bytes]:
        return self._archive.open(self.info)

    def pieces(self) -> Iterator[bytes]:
        try:
            with self.open() as stream:
                while piece := stream.read(READ):
                    self._meter.add(len(piece))
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BadImage(f"is damaged in the archive: {error}") from None
        except OSError as error:
            raise (
                BadImage(f"is damaged in the archive: {OUTSIDE}") if error.errno == errno.EINVAL else error
            ) from None


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the extra field for it, unless that is of another name (APPNOTE.TXT, 4.6.9)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[:5] == b"\x01" + zlib.crc32(raw).to_bytes(4, "little"):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, else a regular file; what is neither, or cannot be read, is refused by name."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not info.filename:  # zipfile cuts a name at its first NUL, and asks for its last character
        raise refuse(DAMAGED.format("an entry of it has no name"))
    if info.flag_bits & _ENCRYPTED:
        raise refuse(f"The archive is encrypted ({info.filename!r} needs a password). Pack it without one.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse(f"The archive has a link or device, {info.filename!r}; only files and folders are taken.")
    if info.is_dir():
        return True
    if info.compress_type not in _METHODS:
        raise refuse(f"{info.filename!r} is packed by method {info.compress_type}; pack it with deflate, as zip does.")
    return False


class Tar:
    """A tar archive, plain or compressed, read from beginning to end."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._folders: list[tuple[bytes, str | None]] = []

    def folders(self) -> list[tuple[bytes, str | None]]:
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
                member = _TarMember(archive, info)
                if info.isdir():
                    self._folders.append((member.raw, None))
                elif not info.isreg() or info.issparse():
                    raise refuse(
                        f"The archive has a link, device or sparse file, {info.name!r}; only files and folders are "
                        "taken."
                    )
                else:
                    yield member, min(1.0, raw.tell() / max(1, size))


def _next(archive: tarfile.TarFile, stream: "_Metered") -> tarfile.TarInfo | None:
    stream.allow_header()
    info = archive.next()
    cast(Any, archive).members.clear()  # the library keeps them all
    if info is not None:
        stream.allow_content(info.size)
    return info


class _TarMember:
    declared = None

    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive, self._info = archive, info

    @property
    def raw(self) -> bytes:
        try:
            return self._info.name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise refuse(DAMAGED.format("a name in it is no text")) from None

    def pieces(self) -> Iterator[bytes]:
        with damage():
            stream, size = self._archive.extractfile(self._info), 0
            while stream is not None and (piece := stream.read(READ)):
                size += len(piece)
                yield piece
            if size < self._info.size:
                raise tarfile.ReadError(f"{self._info.name!r} ends too early")


_END_OF_ARCHIVE: type[tarfile.HeaderError] = cast(Any, tarfile).EOFHeaderError  # its stubs lack it


class _Strict(tarfile.TarInfo):
    """The library takes a damaged header for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except _END_OF_ARCHIVE:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _unpacked(file: BinaryIO) -> IO[bytes]:
    """The tar in a file, without its compression. Raises BadDataset where something else is compressed."""
    head = file.read(3)
    file.seek(0)
    if not head.startswith((b"\x1f\x8b", b"BZh")):
        return file
    gzipped = head.startswith(b"\x1f\x8b")
    unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=file) if gzipped else bz2.BZ2File(file))
    _require_tar(unpacked.read(SNIFF_BYTES), "gzip" if gzipped else "bzip2")
    unpacked.seek(0)
    return unpacked


def _require_tar(head: bytes, packer: str) -> None:
    """Raises BadDataset for the beginning of another kind of file; not for a damaged tar, nor one from before POSIX."""
    kind = sniff(head)
    if kind == "tar" or not head.strip(b"\0"):
        return
    if kind is not None:
        raise refuse(
            f"The file is packed with {packer}, and it is {FORMATS[kind]}. Unpack it, and send what comes out."
        )
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise refuse(f"The file is packed with {packer}; what is in it {unknown_format(head)}.") from None


class _Metered:
    """What comes out of a tar's compression, counted; headers may not be longer than `HEADER_BYTES`."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream, self._meter = stream, meter
        self._content, self._room = 0, HEADER_BYTES

    def allow_header(self) -> None:
        """The next member's header, after what is left of the last one's content."""
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
