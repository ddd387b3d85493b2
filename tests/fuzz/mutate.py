"""Mutations that know the structure: of archives, pictures, arrays, tables and JSON, down to their checksums."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.support.uploads import undated, untimed

NAMES = (
    *("../../x.png", "/etc/x.png", "a\x00b/1.png", "café/1.png", "cafe\u0301/1.png", "C:\\x\\1.png", "a//b/./1.png"),
    *("x" * 300 + "/1.png", ".hidden/1.png", "__MACOSX/cat/._1.png", "cat", "cat/", "train/cat/1.png", "test/1.png"),
    *("cat/1.txt", "\udcff/1.png", "\u202e/1.png", " /1.png", "cat/con.png", "Thumbs.db", "train-images-idx3-ubyte"),
)
NUMBERS = (0, -1, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64, 10**400, 0.5, 1e-320, float("inf"))
LEAVES = (*NUMBERS, float("nan"), None, True, "", "\ud800", "\x00", "x" * 5000, [], {}, [[[]]], {"a": {"b": {}}})


TURNED = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"
CHUNKS = (
    None,
    (b"tEXt", b"k\x00" + b"v" * 10_000),
    (b"zTXt", b"k\x00\x00" + zlib.compress(b"v" * 10**7)),
    (b"PLTE", b"\x01\x02\x03"),
    (b"tRNS", b"\x00"),
    (b"eXIf", TURNED),
    (b"acTL", b"\x00\x00\x00\x09\x00\x00\x00\x00"),
)
"""Chunks to put into a PNG file: long texts, a palette, transparency, an orientation, an animation."""
HEADERS = (
    *(("(", "(9"), ("(", "(-"), (", )", ",)"), ("|u1", "|O"), ("False", "True"), ("'shape'", "'sharp'"), ("{", "{{")),
)
"""What to write for what into the header of an array."""


class Mutator:
    """Draws all its choices from one generator, so that a case is known by its number."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def some(self, kind: str, data: bytes) -> bytes:
        """One to three mutations of an upload."""
        for _ in range(self.random.choice((1, 1, 2, 3))):
            try:
                data = self._one(kind, data)
            except Exception:  # noqa: BLE001  (a mutation took away what the next one wants to change)
                data = self.bytes(data)
        return data

    def _one(self, kind: str, data: bytes) -> bytes:
        if self.random.random() < 0.25:
            return self.bytes(data)
        if data[:2] == b"PK":
            return self.npz(data) if kind.startswith("npz") else self.zip(data)
        if kind.startswith("tar"):
            return self.tar(data)
        return self.safetensors(data) if kind == "model" else self.picture(data)

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    # any bytes

    def bytes(self, data: bytes) -> bytes:
        """Flips, cuts, doubles or overwrites, at the ends more often than in the middle."""
        if not data:
            return b"\x00"
        near = self.random.randrange(min(len(data), 400))
        at = self.pick((self.random.randrange(len(data)), near, len(data) - 1 - near))
        length = self.pick((1, 1, 4, 16, 200))
        how: Sequence[Callable[[], bytes]] = (
            lambda: data[:at],
            lambda: data[at:],
            lambda: data[:at] + bytes([data[at] ^ (1 << self.random.randrange(8))]) + data[at + 1 :],
            lambda: data[:at] + self.random.randbytes(length) + data[at + length :],
            lambda: data[:at] + self.pick((b"\x00", b"\xff", b"\x7f\xff\xff\xff")) * length + data[at + length :],
            lambda: data[:at] + data[at : at + length] * 50 + data[at + length :],
            lambda: data + data,
        )
        return bytes(self.pick(how)())

    # archives

    def zip(self, data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        members = self.members(members)
        sink = io.BytesIO()
        method = self.pick((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(sink, "w", method) as new, warnings.catch_warnings(action="ignore"):  # of a doubled name
            for name, content in members:
                new.writestr(zipfile.ZipInfo(name or "x"), content, method)
        return self.zip_headers(bytearray(sink.getvalue())) if self.random.random() < 0.4 else sink.getvalue()

    def zip_headers(self, data: bytearray) -> bytes:
        """Writes another number into a field of one of the directory's entries, or of the end record."""
        signature, fields = self.pick(
            ((b"PK\x01\x02", ((8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (42, "I"))),
             (b"PK\x03\x04", ((6, "H"), (8, "H"), (18, "I"), (22, "I"), (26, "H"))),
             (b"PK\x05\x06", ((8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))))
        )  # fmt: skip
        places = [at for at in range(len(data) - 4) if data[at : at + 4] == signature]
        offset, code = self.pick(fields)
        most = 2 ** (8 * struct.calcsize(code)) - 1
        struct.pack_into(f"<{code}", data, self.pick(places) + offset, self.pick((0, 1, 8, 99, most // 2, most)))
        return bytes(data)

    def tar(self, data: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found = [(entry.name, archive.extractfile(entry)) for entry in archive if entry.isfile()]
            members = self.members([(name, b"" if file is None else file.read()) for name, file in found])
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode=self.pick(("w", "w:gz", "w:xz"))) as new:
            for name, content in members:
                info = tarfile.TarInfo(name.replace("\x00", "") or "x")
                info.size = len(content)
                info.type = self.pick((*[tarfile.REGTYPE] * 20, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE))
                new.addfile(info, io.BytesIO(content))
        return untimed(sink.getvalue())

    def members(self, members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Another name, another content, one less, one twice, another order."""
        at = self.random.randrange(len(members))
        name, content = members[at]
        how = self.random.randrange(7)
        if how == 0:
            members[at] = (self.pick(NAMES), content)
        elif how == 1:
            members.pop(at)
        elif how == 2:
            members.append(members[at])
        elif how == 3:
            self.random.shuffle(members)
        elif how == 4:
            members.append((self.pick(NAMES), self.pick((b"", content, b"\x00" * 100_000))))
        else:
            members[at] = (name, self.picture(content) if content[:4] != b"\x00\x00\x08" else self.bytes(content))
        return members or [("x", b"")]

    # pictures

    def picture(self, data: bytes) -> bytes:
        if data.startswith(b"\x89PNG"):
            return self.png(data)
        return self.jpeg(data) if data.startswith(b"\xff\xd8") else self.bytes(data)

    def png(self, data: bytes) -> bytes:
        """Changes a chunk and mends its checksum, so that the decoder gets to see it."""
        chunks = []
        at = 8
        while at < len(data):
            (length,) = struct.unpack_from(">I", data, at)
            chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
            at += 12 + length
        place = self.random.randrange(len(chunks))
        kind, content = chunks[place]
        if kind == b"IHDR":
            fields = list(struct.unpack(">IIBBBBB", content))
            which = self.random.randrange(7)
            fields[which] = self.pick((0, 1, 3, 8, 16, 2**16, 2**31 - 1) if which < 2 else (0, 1, 2, 3, 4, 6, 16, 255))
            content = struct.pack(">IIBBBBB", *fields)
        elif kind == b"IDAT":
            content = self.pick((b"", zlib.compress(b"\x00" * self.pick((1, 10**6))), self.bytes(content)))
        chunks[place] = (kind, content)
        extra = self.pick(CHUNKS)
        if extra is not None:
            chunks.insert(1, extra)
        return data[:8] + b"".join(
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )

    def jpeg(self, data: bytes) -> bytes:
        """Other sizes or components in the frame header, or an orientation that is none."""
        changed = bytearray(data)
        frame = next((at for at in range(len(data) - 9) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC2)), None)
        if frame is None:
            return self.bytes(data)
        changed[frame + self.pick((4, 5, 6, 7, 8, 9))] = self.pick((0, 1, 4, 16, 255))
        return bytes(changed)

    # arrays, tensors, JSON

    def npz(self, data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as found:
            named: dict[str, Any] = dict(found)
        name = self.pick(list(named))
        array = named[name]
        changes: Sequence[Callable[[], Any]] = (
            lambda: array.astype(self.pick(("f2", "f8", "i8", "u4", "?", "c8", "S4", "U3", "M8[s]"))),
            lambda: array[..., None],
            lambda: array.reshape(-1),
            lambda: array[: self.random.randrange(len(array))],
            lambda: np.asfortranarray(array),
            lambda: array[0],
            lambda: np.full(array.shape, self.pick((0, 255, -1, 1e300, np.nan, np.inf))),
            lambda: array.repeat(3, axis=-1),
            lambda: np.zeros(array.shape, [("a", "u1"), ("b", "f4")]),
            lambda: array + self.pick((1, 100, -5)),
        )
        if self.random.random() < 0.2:
            named[self.pick(("x_train", "labels", "y", "extra", "train_images", "../x", "a" * 300))] = named.pop(name)
        else:
            named[name] = self.pick(changes)()
        sink = io.BytesIO()
        np.savez(sink, **named)
        made = undated(sink.getvalue())
        return self.npy_header(made) if self.random.random() < 0.3 else made

    def npy_header(self, data: bytes) -> bytes:
        """Another shape or type in an array's header, of the same length."""
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        at = self.random.randrange(len(members))
        name, content = members[at]
        (length,) = struct.unpack_from("<H", content, 8)
        header = content[10 : 10 + length].decode("latin1")
        old, new = self.pick(HEADERS)
        header = header.replace(old, new, 1)[: length - 1].ljust(length - 1) + "\n"
        members[at] = (name, content[:10] + header.encode("latin1") + content[10 + length :])
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as new_archive:
            for member, bytes_ in members:
                new_archive.writestr(zipfile.ZipInfo(member), bytes_)
        return sink.getvalue()

    def safetensors(self, data: bytes) -> bytes:
        """Another value in the header or in the manifest inside it."""
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        if self.random.random() < 0.5:
            manifest = json.loads(header["__metadata__"]["adderworks"])
            self.leaf(manifest)
            header["__metadata__"]["adderworks"] = json.dumps(manifest)
        else:
            self.leaf(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    def leaf(self, document: Any) -> None:
        """Puts another value somewhere into a document, in place."""
        while True:
            keys = list(document) if isinstance(document, dict) else list(range(len(document)))
            if not keys:
                return
            key = self.pick(keys)
            below = document[key]
            if isinstance(below, dict | list) and below and self.random.random() < 0.7:
                document = below
                continue
            if isinstance(document, dict) and self.random.random() < 0.2:
                document[self.pick(("", "x", "\ud800", "k" * 1000))] = document.pop(key)
            else:
                document[key] = self.deep() if self.random.random() < 0.1 else self.pick(LEAVES)
            return

    def deep(self) -> Any:
        value: Any = 1
        for _ in range(self.pick((33, 300, 900))):
            value = [value] if self.random.random() < 0.5 else {"a": value}
        return value
