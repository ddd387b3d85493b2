"""Parquet tables with a column of encoded images and one of labels, whole or in shards, as the Hugging Face hub has
them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from addercore.data.intake.images import BadImage, Picture, decode
from addercore.data.intake.limits import MIB, Limits, Meter
from addercore.data.intake.pages import largest_page
from addercore.data.intake.parts import Kind, part_word
from addercore.data.intake.problems import listed, refuse
from addercore.data.intake.sources import Example, Part

ROWS: Final = 64  # read at a time
DECODED_BYTES: Final = 64 * MIB  # of the rows read at a time, at most, unless one row has more
MAGIC: Final = b"PAR1"
NEEDS: Final = (
    "It needs a column of images (bytes, or a struct with the field bytes; image or img) and one of labels (integers "
    "or text; label or labels). Say with columns which they are."
)
INSTALL: Final = "Parquet needs pyarrow on the workers: pip install 'adderworks[server]'. Or upload a zip or an .npz."
_IMAGES: Final = ("image", "img", "images", "picture", "photo", "png", "jpg", "jpeg")
_LABELS: Final = ("label", "labels", "fine_label", "coarse_label", "class", "target", "category", "y")
_SHARD: Final = re.compile(r"(.*)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?")
_FOOTER_ITEMS: Final = 1_000_000  # of one list in a footer
_FOOTER_BYTES: Final = 64 * MIB  # of one text in it


@dataclass(frozen=True, slots=True)
class Table:
    """One Parquet file: where it lies, how messages call it, and its part."""

    path: Path
    name: str
    part: Part | None


@dataclass(frozen=True, slots=True)
class _Opened:
    table: Table
    image: str
    path: str  # of the image's bytes: the column, or a field of it
    label: str
    rows: int
    batch: int  # rows read at a time


class ParquetSource:
    """Rows of one or more tables as a `Source`."""

    def __init__(
        self, tables: list[Table], limits: Limits, columns: tuple[str | None, str | None], transparent_on: str
    ) -> None:
        try:
            import pyarrow
        except ModuleNotFoundError:
            raise refuse(INSTALL) from None
        self._limits, self._error, self._transparent_on = limits, pyarrow.ArrowException, transparent_on
        self.notes: list[str] = []
        self.classes: list[str] | None = None
        self._opened = [self._open(table, columns) for table in tables]
        total = sum(each.rows for each in self._opened)
        if total > limits.entries:
            raise refuse(f"The table has {total:,} rows; at most {limits.entries:,} are taken.")
        first = self._opened[0]
        if (first.image, first.label) != ("image", "label") and None in columns:
            self.notes.append(f"Images are in the column {first.image}, labels in {first.label}.")

    def _open(self, table: Table, columns: tuple[str | None, str | None]) -> _Opened:
        with table.path.open("rb") as file:
            file.seek(-min(4, table.path.stat().st_size), 2)
            if file.read() != MAGIC:
                raise refuse(f"{table.name} is cut off: a Parquet file ends with PAR1. Send it again.")
        try:
            with _file(table.path) as opened:
                schema, rows = opened.schema_arrow, opened.metadata.num_rows
                if rows > self._limits.entries:
                    raise refuse(f"The table has {rows:,} rows; at most {self._limits.entries:,} are taken.")
                image, path, label = _columns(schema, columns)
                if self.classes is None:
                    self.classes = _class_names(schema, label)
                page = largest_page(table.path, opened.metadata, {path, label}, self._limits)
        except (self._error, OSError) as error:
            raise refuse(f"{table.name} cannot be read: {error}.") from None
        return _Opened(table, image, path, label, rows, max(1, min(ROWS, DECODED_BYTES // max(1, page))))

    def examples(self) -> Iterator[Example]:
        total, before = sum(each.rows for each in self._opened), 0
        for each in self._opened:
            for row, (image, label) in enumerate(self._rows(each)):
                place = f"row {row}" if len(self._opened) == 1 else f"{each.table.name} row {row}"
                done = (before + row) / max(1, total)
                found = _label(label, place)
                yield Example(place, before + row, each.table.part, found, self._decoded(image), done)
            before += each.rows

    def _rows(self, each: _Opened) -> Iterator[tuple[object, object]]:
        row, meter = 0, Meter(self._limits, each.table.path.stat().st_size)
        try:
            with _file(each.table.path) as opened:
                names = [each.path, each.label]
                for batch in opened.iter_batches(batch_size=each.batch, columns=names, use_threads=False):
                    meter.add(batch.nbytes)
                    images, labels = batch.column(each.image), batch.column(each.label)
                    for index in range(batch.num_rows):
                        yield images[index].as_py(), labels[index].as_py()
                        row += 1
        except (self._error, OSError) as error:
            raise refuse(f"{each.table.name} is damaged after row {row}: {error}.") from None

    def _decoded(self, data: object) -> Picture | BadImage:
        if isinstance(data, dict):
            data = data.get("bytes")
        if not isinstance(data, bytes):
            return BadImage("has no image")
        if len(data) > self._limits.entry_bytes:
            return BadImage(f"is longer than {self._limits.entry_bytes:,} bytes, the most for one image")
        try:
            return decode(data, self._limits, self._transparent_on)
        except BadImage as error:
            return error


def _file(path: Path) -> Any:
    """A `ParquetFile` that reads page by page."""
    from pyarrow import parquet

    return parquet.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=MIB,
        thrift_string_size_limit=_FOOTER_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
    )


def shards(names: list[str], notes: list[str]) -> list[tuple[str, Part | None]]:
    """Tables of an archive in their order, with their parts by file's or folder's name.

    Raises:
        BadDataset: a shard is missing, or there is nothing to train on.
    """
    kinds = {name: _kind(name) for name in names}
    _require_all(names)
    found = set(kinds.values())
    if found == {None}:
        return [(name, None) for name in sorted(names)]
    if "train" not in found:
        raise refuse(f"The archive has {listed(sorted(names))} but no train table beside them. Which are to train on?")
    validates: Kind | None = "validation" if "validation" in found else "test" if "test" in found else None
    if left_out := sorted(name for name, kind in kinds.items() if kind not in ("train", validates)):
        notes.append(f"Left out: the tables {listed(left_out)}.")
    if validates == "test":
        notes.append("The test tables validate.")
    return [
        (name, "train" if kind == "train" else "validation")
        for name, kind in sorted(kinds.items())
        if kind is not None and kind in ("train", validates)
    ]


def _kind(name: str) -> Kind | None:
    """`data/train-00000-of-00002.parquet`, `default/train/0000.parquet`: by the file, else by its folders."""
    *folders, file = name.split("/")
    match = _SHARD.fullmatch(file.removesuffix(".parquet"))
    for word in (match[1] if match else file.removesuffix(".parquet"), *reversed(folders)):
        if (found := part_word(word)) is not None and not found[1]:
            return found[0]
    return None


def _require_all(names: list[str]) -> None:
    series: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if match := _SHARD.fullmatch(name.removesuffix(".parquet")):
            series.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    for (name, total), numbers in sorted(series.items()):
        if missing := sorted(set(range(min(total, len(names) + 1))) - numbers):
            raise refuse(f"The archive has {len(numbers)} of {total} shards of {name}; number {missing[0]} is missing.")


def _columns(schema: Any, chosen: tuple[str | None, str | None]) -> tuple[str, str, str]:
    """The column of images, the path of their bytes in it, and the column of labels."""
    features = _features(schema)
    names = list(schema.names)
    for name in chosen:
        if name is not None and name not in names:
            raise refuse(f"The table has no column {name!r} (columns); it has {listed(names, 20)}.")
    image = chosen[0] or _one("images", names, _images(schema, features), _IMAGES)
    label = chosen[1] or _one("labels", names, _labels(schema, features, image), _LABELS)
    kind, of_labels = schema.field(image).type, schema.field(label).type
    path = _image_path(image, kind)
    if path is None:
        raise refuse(f"The column {image} has the type {kind}. {NEEDS}")
    if not _labels_type(of_labels):
        raise refuse(f"The column {label} has the type {of_labels}. {NEEDS}")
    return image, path, label


def _one(what: str, names: list[str], typed: list[str], known: tuple[str, ...]) -> str:
    """The one column of that kind: by the table's own metadata, else by its name."""
    found = [name for name in typed if name in names] or [name for name in names if name.lower() in known]
    if len(found) > 1:
        raise refuse(f"Which column has the {what}, {listed(found)}? Say it with columns: {{'{what[:-1]}': …}}.")
    if not found:
        raise refuse(f"The table has the columns {listed(names, 20)}. {NEEDS}")
    return found[0]


def _images(schema: Any, features: dict[str, Any]) -> list[str]:
    typed = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    if typed or any(name.lower() in _IMAGES for name in schema.names):
        return typed
    return [name for name in schema.names if _image_path(name, schema.field(name).type) is not None]


def _labels(schema: Any, features: dict[str, Any], image: str) -> list[str]:
    typed = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    return [name for name in typed if name in schema.names and name != image]


def _image_path(name: str, kind: Any) -> str | None:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return f"{name}.bytes" if index >= 0 and _is_binary(kind.field(index).type) else None
    return name if _is_binary(kind) else None


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _labels_type(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(test(kind) for test in tests)


def _features(schema: Any) -> dict[str, Any]:
    """What the table's `datasets` metadata say of its columns."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {name: feature for name, feature in items if isinstance(feature, dict)}


def _class_names(schema: Any, label: str) -> list[str] | None:
    """Of numbered classes, where the table's metadata have them."""
    names = _features(schema).get(label, {}).get("names")
    if isinstance(names, dict):  # number → name, as dataset cards have them
        names = list(names.values())
    return [str(name) for name in names] if isinstance(names, list) else None


def _label(value: object, place: str) -> int | str:
    if isinstance(value, int | str):
        return value
    raise refuse(f"{place} has no label.")
