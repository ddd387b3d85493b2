"""Small uploads of every format, made in memory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def png(seed: int = 0, size: tuple[int, int] = (8, 8), channels: int = 1, **options: Any) -> bytes:
    """A picture of noise."""
    shape = size if channels == 1 else (*size, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def folders(*classes: str, images: int = 4, prefix: str = "", **options: Any) -> dict[str, bytes]:
    """Files of class folders by name."""
    return {
        f"{prefix}{name}/{i}.png": png(100 * number + i, **options)
        for number, name in enumerate(classes)
        for i in range(images)
    }


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)  # by its name alone it would have today's date
    return sink.getvalue()


def untimed(data: bytes) -> bytes:
    """A gzip without the time at which it was made (RFC 1952, section 2.3); other bytes as they are."""
    return data[:4] + bytes(4) + data[8:] if data[:2] == b"\x1f\x8b" else data


def tarred(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    """Values that are no bytes are members as they are: links, devices."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return untimed(sink.getvalue())


def arrays(images: int = 40, classes: int = 4, size: int = 8, seed: int = 0) -> dict[str, Any]:
    """`images` and `labels`, pixels that tell the classes apart: (N, h, w) uint8."""
    labels = np.arange(images) % classes
    noise = np.random.default_rng(seed).integers(0, 50, (images, size, size))
    return {"images": (noise + (labels * 200 // classes)[:, None, None]).astype(np.uint8), "labels": labels}


def npz(**named: Any) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **named)
    return undated(sink.getvalue())


def undated(data: bytes) -> bytes:
    """A zip with the same members and without today's date, which NumPy writes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        method = archive.infolist()[0].compress_type if archive.infolist() else zipfile.ZIP_STORED
        return zipped({name: archive.read(name) for name in archive.namelist()}, method)


def written(folder: Path, data: bytes, name: str = "upload") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
