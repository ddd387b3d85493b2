"""Pages of a Parquet file, measured by their headers before anything is unpacked.

What a page says of its unpacked size is what a reader makes room for. So the sizes are read from the headers of all
pages of the columns that will be read, not from the file's footer, which nothing holds to the truth.

Source: parquet-format, `parquet.thrift` (PageHeader) and the Thrift compact protocol.
"""

from pathlib import Path
from typing import Any, BinaryIO, Final

from addercore.data.intake.limits import Limits, Meter
from addercore.data.intake.problems import refuse

_HEAD: Final = 4096  # bytes read for a header, which may hold statistics; then more
_MOST: Final = 2**22
_DEPTH: Final = 16
_UNPACKED, _PACKED = 2, 3  # fields of a PageHeader: i32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_VARINTS: Final = (4, 5, 6)


class _Short(Exception):
    """A header goes on behind the bytes that were read."""


def largest_page(path: Path, metadata: Any, columns: set[str], limits: Limits) -> int:
    """The unpacked bytes of the largest page of some columns.

    Args:
        path: the Parquet file.
        metadata: its `pyarrow.parquet.FileMetaData`.
        columns: dotted paths of the leaf columns that will be read, such as `image.bytes`.

    Raises:
        BadDataset: they unpack to more than the limits, or the pages are damaged.
    """
    meter, largest, number = Meter(limits, path.stat().st_size), 0, 0
    with path.open("rb") as file:
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(index)
                if chunk.path_in_schema not in columns:
                    continue
                at = chunk.data_page_offset
                if chunk.dictionary_page_offset is not None:
                    at = min(at, chunk.dictionary_page_offset)
                end = at + chunk.total_compressed_size
                while at < end:
                    header, unpacked, packed = _header(file, at)
                    meter.add(unpacked)
                    largest, number = max(largest, unpacked), number + 1
                    if number > 2 * limits.entries:
                        raise refuse(
                            f"The table has more than {2 * limits.entries:,} pages; write it with larger ones."
                        )
                    at += header + packed
    return largest


def _header(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Bytes of the page header at `at`, and of its page, unpacked and packed."""
    length = _HEAD
    while True:
        file.seek(max(0, at))
        data = file.read(length)
        try:
            fields, end = _struct(data, 0)
        except _Short:
            if len(data) < length or length >= _MOST:
                raise refuse("The table is damaged: a page of it has no header.") from None
            length *= 8
            continue
        unpacked, packed = fields.get(_UNPACKED, -1), fields.get(_PACKED, -1)
        if unpacked < 0 or packed < 0:
            raise refuse("The table is damaged: a page of it has no size.")
        return end, unpacked, packed


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, int], int]:
    """Whole numbers of a struct by field, and where it ends."""
    found: dict[int, int] = {}
    field = 0
    while True:
        head = _byte(data, at)
        at += 1
        if head == 0:
            return found, at
        kind, step = head & 0x0F, head >> 4
        if step:
            field += step
        else:
            number, at = _varint(data, at)
            field = (number >> 1) ^ -(number & 1)
        if kind in _VARINTS:
            number, at = _varint(data, at)
            found[field] = (number >> 1) ^ -(number & 1)
        elif kind not in (_TRUE, _FALSE):
            at = _skip(data, at, kind, depth)


def _skip(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends that is of no interest."""
    if depth > _DEPTH:
        raise refuse("The table is damaged: a page header nests too deep.")
    if kind in (_BYTE, _TRUE, _FALSE):
        return at + 1
    if kind in _VARINTS:
        return _varint(data, at)[1]
    if kind == _DOUBLE:
        return at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)[1]
    if kind not in (_LIST, _SET):
        raise refuse("The table is damaged: a page header has a field of no known type.")
    head = _byte(data, at)
    length, at = head >> 4, at + 1
    if length == 15:
        length, at = _varint(data, at)
    for _ in range(length):
        at = _skip(data, at, head & 0x0F, depth + 1)
        if at > len(data):
            raise _Short
    return at


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise _Short
    return data[at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = _byte(data, at)
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise refuse("The table is damaged: a page header has a number that is too long.")
