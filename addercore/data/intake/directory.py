"""A zip's directory, measured before Python's library reads all of it into memory."""

import struct
from pathlib import Path
from typing import BinaryIO, Final

from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import refuse

ENTRY_BYTES: Final = 46 + 200  # of a directory, with a name of usual length
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_END64_PLACE: Final = b"PK\x06\x07"
_ENTRY: Final = b"PK\x01\x02"
_END_BYTES: Final = 22 + 65_535  # with the longest comment
_ENTRY_FIXED: Final = 46
_END64_BYTES: Final = 56


def check_directory(path: Path, limits: Limits) -> None:
    """Raises BadDataset where a zip's directory is missing, too long, or has too many entries.

    It is looked for wherever a version of `zipfile` finds it, and its entries are counted: no number is believed.
    """
    most = limits.entries * ENTRY_BYTES
    with path.open("rb") as file:
        found = _directories(file)
        if not found:
            raise refuse(
                "The archive is cut off or damaged (its directory, which ends a zip, is missing). Pack it again, and "
                "compare its size after sending."
            )
        for start, length in found:
            if length > most:
                raise refuse(f"The archive's directory is longer than {most:,} bytes: it has too many files.")
            file.seek(max(0, start))
            if _count(file.read(length), limits.entries) > limits.entries:
                raise refuse(f"The archive has more than {limits.entries:,} files, the most that are taken.")


def _directories(file: BinaryIO) -> list[tuple[int, int]]:
    """Start and length of what can be taken for the directory; in an honest archive there is one."""
    size = file.seek(0, 2)
    begin = max(0, size - _END_BYTES)
    file.seek(begin)
    tail = file.read()
    ends = {tail.rfind(_END), len(tail) - 22 if tail[-22:-18] == _END else -1}
    found: list[tuple[int, int]] = []
    for at in sorted(ends):
        if at < 0 or len(tail) - at < 22:
            continue
        long = _long_directories(file, begin + at, size)
        (length,) = struct.unpack_from("<L", tail, at + 12)
        found += long or [(begin + at - length, length)]
    return found


def _long_directories(file: BinaryIO, end: int, size: int) -> list[tuple[int, int]]:
    """The same by the record of 64-bit archives, before the end record or where its locator says."""
    if end < 20:
        return []
    file.seek(end - 20)
    locator = file.read(20)
    if not locator.startswith(_END64_PLACE):
        return []
    found = []
    for place in {end - 20 - _END64_BYTES, min(struct.unpack_from("<Q", locator, 8)[0], size)}:
        file.seek(max(0, place))
        record = file.read(_END64_BYTES)
        if record.startswith(_END64) and len(record) == _END64_BYTES:
            (length,) = struct.unpack_from("<Q", record, 40)
            found.append((place - length, length))
    return found


def _count(directory: bytes, most: int) -> int:
    """Entries of a directory, up to one more than `most`."""
    at = count = 0
    while count <= most and directory[at : at + 4] == _ENTRY and at + _ENTRY_FIXED <= len(directory):
        name, extra, comment = struct.unpack_from("<3H", directory, at + 28)
        at += _ENTRY_FIXED + name + extra + comment
        count += 1
    return count
