"""Parquet tables with a column of encoded images and one of labels, as the Hugging Face hub has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from addercore.data.intake.images import BadImage, Pixels, decode
from addercore.data.intake.limits import Limits, Meter
from addercore.data.intake.problems import refuse
from addercore.data.intake.sources import Example

ROWS: Final = 64  # read at a time
MAGIC: Final = b"PAR1"
NEEDS: Final = "It needs the columns image (bytes, or a struct with the field bytes) and label (integers or text)."
INSTALL: Final = "Parquet needs pyarrow on the workers: pip install 'adderworks[parquet]'. Or upload a zip or an .npz."


class ParquetSource:
    """Rows as a `Source`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise refuse(INSTALL) from None
        self._path, self._limits, self._error = path, limits, pyarrow.ArrowException
        self.notes: list[str] = []
        with path.open("rb") as file:
            file.seek(-min(4, path.stat().st_size), 2)
            if file.read() != MAGIC:
                raise refuse("The table is cut off: a Parquet file ends with PAR1. Send it again.")
        try:
            self._file = parquet.ParquetFile(path)
            self._rows: int = self._file.metadata.num_rows
            self._image = _image_column(self._file.schema_arrow)
            self.classes = _class_names(self._file.schema_arrow)
        except (self._error, OSError) as error:
            raise refuse(f"The table cannot be read: {error}.") from None
        if self._rows > limits.entries:
            raise refuse(f"The table has {self._rows:,} rows; at most {limits.entries:,} are taken.")

    def examples(self) -> Iterator[Example]:
        meter, row = Meter(self._limits, self._path.stat().st_size), 0
        try:
            for batch in self._file.iter_batches(batch_size=ROWS, columns=[self._image, "label"], use_threads=False):
                meter.add(batch.nbytes)
                images, labels = batch.column(0).to_pylist(), batch.column(1).to_pylist()
                for image, label in zip(images, labels, strict=True):
                    done = row / max(1, self._rows)
                    yield Example(f"row {row}", row, None, _label(label, row), self._decoded(image), done)
                    row += 1
        except (self._error, OSError) as error:
            raise refuse(f"The table is damaged after row {row}: {error}.") from None

    def _decoded(self, data: object) -> Pixels | BadImage:
        if isinstance(data, dict):
            data = data.get("bytes")
        if not isinstance(data, bytes):
            return BadImage("has no image")
        if len(data) > self._limits.entry_bytes:
            return BadImage(f"is longer than {self._limits.entry_bytes:,} bytes, the most for one image")
        try:
            return decode(data, self._limits)
        except BadImage as error:
            return error


def _image_column(schema: Any) -> str:
    """The column `image`, or its field `image.bytes`. Raises BadDataset without one of them, or without labels."""
    import pyarrow as pa

    names = ", ".join(schema.names[:20])
    if not {"image", "label"} <= set(schema.names):
        raise refuse(f"The table has the columns {names}. {NEEDS}")
    kind, label = schema.field("image").type, schema.field("label").type
    if not (pa.types.is_integer(label) or pa.types.is_string(label) or pa.types.is_large_string(label)):
        raise refuse(f"The column label has the type {label}. {NEEDS}")
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return "image.bytes"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "image"
    raise refuse(f"The column image has the type {kind}. {NEEDS}")


def _class_names(schema: Any) -> list[str] | None:
    """Names of numbered classes, from the table's `datasets` metadata; None without them."""
    try:
        document = json.loads((schema.metadata or {})[b"huggingface"])
        names = document["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _label(value: object, row: int) -> int | str:
    if isinstance(value, int | str):
        return value
    raise refuse(f"row {row} has no label.")
