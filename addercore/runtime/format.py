"""`model.adder`: a program as one file, which the engine maps and reads in place (docs/integer.md has every byte).

    header (64 bytes) · six entries of sections (32 bytes each) · sections, each on a multiple of 64 bytes

All numbers are little-endian. A file of equal content has equal bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any, Final

from addercore.errors import BadModel
from addercore.files import write_atomic
from addercore.runtime.checks import MOST_MANIFEST, MOST_VALUES, check
from addercore.runtime.layout import layouts
from addercore.runtime.program import LEVELS, Program, Shape
from addercore.runtime.records import RECORD, Constants, decode, encode

MAGIC: Final = b"ADDER\r\n\x1a"
VERSION: Final = 1
ALIGNMENT: Final = 64
HEADER: Final = struct.Struct("<8sIIQIIIIIIIIII")  # 64 bytes; see _header
ENTRY: Final = struct.Struct("<IIQQQ")  # kind, CRC-32, offset, size, 0
VALUE: Final = struct.Struct("<III")
SECTIONS: Final = ("manifest", "names", "tables", "values", "operations", "data")
"""In the file's order; a section's kind is its place here, from 1."""
_CRC_AT: Final = 28
_BEGIN: Final = HEADER.size + len(SECTIONS) * ENTRY.size


def write(program: Program, path: str | Path) -> str:
    """Writes a model file, whole or not at all.

    Args:
        program: what `check` has nothing against.
        path: where to, conventionally `….adder`.

    Returns:
        The file's sha256.

    Raises:
        ValueError: a program that is inconsistent, or could overflow.
    """
    return write_atomic(Path(path), to_bytes(program))


def to_bytes(program: Program) -> bytes:
    """The bytes of the model file; errors as of `write`."""
    check(program)
    data, names, records = Constants(), bytearray(), bytearray()
    chosen = layouts(program.operations, program.input_shape[0])
    for operation, layout in zip(program.operations, chosen, strict=True):
        name = operation.name.encode()
        records += encode(operation, layout, data, (len(names), len(name)))
        names += name
    manifest = json.dumps(program.manifest, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    if len(manifest) > MOST_MANIFEST:
        raise ValueError(f"the manifest has {len(manifest)} bytes; at most {MOST_MANIFEST} fit")
    values = b"".join(VALUE.pack(*shape) for shape in program.values)
    parts = (manifest, bytes(names), program.tables.tobytes(), values, bytes(records), bytes(data.content))
    return _assembled(program, parts)


def _assembled(program: Program, parts: tuple[bytes, ...]) -> bytes:
    body, table, at = bytearray(), bytearray(), _BEGIN
    for kind, part in enumerate(parts, 1):
        room = -at % ALIGNMENT
        body += bytes(room)
        at += room
        table += ENTRY.pack(kind, zlib.crc32(part), at, len(part), 0)
        body += part
        at += len(part)
    sizes = (*program.input_shape, program.classes, len(program.values), len(program.operations))
    head = bytearray(HEADER.pack(MAGIC, VERSION, _BEGIN, at, len(parts), 0, *sizes, 0, 0) + table)
    struct.pack_into("<I", head, _CRC_AT, zlib.crc32(head))
    return bytes(head + body)


def read(path: str | Path) -> Program:
    """The program in a model file, with all checks and checksums. The engine reads files by itself.

    Args:
        path: a `model.adder`.

    Returns:
        The program that was written.

    Raises:
        BadModel: the file is missing, damaged, or of another version; the message names the place.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return from_bytes(content)
    except ValueError as error:
        raise BadModel(f"{path}: {error}; take the file from its source again") from error


def from_bytes(content: bytes) -> Program:
    """The program in the bytes of a model file; `ValueError` says what is wrong with them."""
    sizes, parts = _parts(content)
    shape, counts = (sizes[0], sizes[1], sizes[2]), sizes[3:]
    manifest = _manifest(parts["manifest"])
    values = _values(parts["values"], counts[1])
    tables = Constants(parts["tables"]).array(0, (shape[0], LEVELS), "u1")
    if len(parts["tables"]) != tables.nbytes:
        raise ValueError(f"the pixel tables have {len(parts['tables'])} bytes instead of {tables.nbytes}")
    if len(parts["operations"]) != counts[2] * RECORD.size:
        raise ValueError(f"{counts[2]} operations do not fill {len(parts['operations'])} bytes")
    data, operations, chosen = Constants(parts["data"]), [], []
    for at in range(0, len(parts["operations"]), RECORD.size):
        record = parts["operations"][at : at + RECORD.size]
        operation, layout = decode(record, values, data, parts["names"])
        operations.append(operation)
        chosen.append(layout)
    program = Program(shape, tables, values, tuple(operations), manifest)
    check(program)
    if chosen != layouts(program.operations, shape[0]):
        raise ValueError("weights have a layout that the format does not give them")
    if program.classes != counts[0]:
        raise ValueError(f"the header says {counts[0]} classes, the last operation {program.classes}")
    return program


def _parts(content: bytes) -> tuple[tuple[int, ...], dict[str, bytes]]:
    """Sizes in the header (C, H, W, classes, values, operations), and the sections by name."""
    if len(content) < _BEGIN:
        raise ValueError(f"{len(content)} bytes are too few for a model file")
    magic, version, begin, size, count, crc, *sizes, zero, none = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise ValueError("no adder model: it does not begin with the format's signature")
    if version != VERSION:
        raise ValueError(f"format version {version}; this program reads version {VERSION}")
    if (begin, count, zero, none) != (_BEGIN, len(SECTIONS), 0, 0) or size != len(content):
        raise ValueError(f"the header does not fit the file of {len(content)} bytes (it says {size})")
    head = bytearray(content[:_BEGIN])
    struct.pack_into("<I", head, _CRC_AT, 0)
    if zlib.crc32(head) != crc:
        raise ValueError("the header's checksum differs")
    parts, least = {}, _BEGIN
    for number, name in enumerate(SECTIONS):
        kind, crc, offset, length, zero = ENTRY.unpack_from(content, HEADER.size + number * ENTRY.size)
        if kind != number + 1 or zero or offset % ALIGNMENT or offset < least or offset + length > size:
            raise ValueError(f"section {name!r} lies outside of its place")
        parts[name] = content[offset : offset + length]
        if zlib.crc32(parts[name]) != crc:
            raise ValueError(f"the checksum of section {name!r} differs")
        least = offset + length
    return tuple(sizes), parts


def _values(part: bytes, count: int) -> tuple[Shape, ...]:
    if not 1 <= count <= MOST_VALUES or len(part) != count * VALUE.size:
        raise ValueError(f"{count} values do not fill {len(part)} bytes")
    return tuple(VALUE.iter_unpack(part))


def _manifest(part: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(part.decode())
    except ValueError as error:
        raise ValueError(f"the manifest is no JSON ({error})") from None
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is no JSON object")
    return manifest
