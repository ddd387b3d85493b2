"""The canonical file of a user's dataset: safetensors, the same bytes for the same images, labels and classes.

`train_images` uint8 (N, c, h, w), `train_labels` int64 (N,), `validation_images`, `validation_labels`. Labels come
first, so that they are aligned. The metadata's one key, `adderworks`, has the names of the classes as JSON.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from addercore.arch.manifest import METADATA_KEY
from addercore.data.intake.plan import Plan
from addercore.data.intake.ranges import Pixels
from addercore.data.intake.sources import Part

ALIGNMENT: Final = 8  # bytes
LABEL_BYTES: Final = 8


class CanonicalFile:
    """Writes images one by one, in any order: the header is known before the pixels."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._image_bytes = int(np.prod(plan.shape))
        sizes: dict[Part, int] = {"train": plan.train_size, "validation": plan.validation_size}
        header, self._offsets, total = _layout(plan, sizes, self._image_bytes)
        self._file = path.open("w+b")
        self._shape = plan.shape
        self._file.truncate(len(header) + total)
        self._file.write(header)
        self._begin = len(header)
        for part, size in sizes.items():
            labels = np.zeros(size, dtype="<i8")
            for label, (where, slot) in zip(plan.labels, plan.slots, strict=True):
                if where == part:
                    labels[slot] = label
            self._write(f"{part}_labels", 0, labels.tobytes())

    def put(self, part: Part, slot: int, image: Pixels) -> None:
        """Writes one image (c, h, w)."""
        self._write(f"{part}_images", slot * self._image_bytes, image.tobytes())

    def get(self, part: Part, slot: int) -> Pixels:
        """The image (c, h, w) that was put there."""
        self._file.seek(self._begin + self._offsets[f"{part}_images"] + slot * self._image_bytes)
        return np.frombuffer(self._file.read(self._image_bytes), dtype=np.uint8).reshape(self._shape)

    def _write(self, tensor: str, offset: int, data: bytes) -> None:
        self._file.seek(self._begin + self._offsets[tensor] + offset)
        self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def _layout(plan: Plan, sizes: dict[Part, int], image_bytes: int) -> tuple[bytes, dict[str, int], int]:
    """The header with its length, each tensor's offset behind it, and the bytes of all tensors."""
    entries: dict[str, object] = {"__metadata__": {METADATA_KEY: json.dumps({"classes": plan.classes})}}
    offsets: dict[str, int] = {}
    at = 0
    for kind, dtype, each in (("labels", "I64", LABEL_BYTES), ("images", "U8", image_bytes)):
        for part, size in sizes.items():
            name, end = f"{part}_{kind}", at + size * each
            shape = [size] if kind == "labels" else [size, *plan.shape]
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
            offsets[name], at = at, end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, offsets, at
