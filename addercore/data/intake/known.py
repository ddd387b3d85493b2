"""Archives of other things than image files: IDX files, CIFAR's Python files, shards of tables."""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from addercore.config import IntakeOptions
from addercore.data import cifar, idx
from addercore.data.intake.archives import READ
from addercore.data.intake.arrays import Array, ArraySet, ArraySource
from addercore.data.intake.contents import Between, Contents
from addercore.data.intake.folders import FolderSource, shown
from addercore.data.intake.limits import MIB, Meter
from addercore.data.intake.parts import Kind, part_word
from addercore.data.intake.problems import listed, refuse
from addercore.data.intake.sources import Part, Source
from addercore.data.intake.tables import ParquetSource, Table, shards
from addercore.data.pickles import BadPickle
from addercore.errors import BadData

Read = TypeVar("Read")

PICKLE_BYTES: Final = 256 * MIB  # of one of CIFAR's files: the largest has 148 MiB
_IDX: Final = re.compile(r"(.*?)[-._]?(images|labels)[-._]idx\d[-._]ubyte(\.gz)?", re.IGNORECASE)
_CIFAR10: Final = re.compile(r"data_batch_\d|test_batch|batches\.meta")
_PACKED: Final = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".rar", ".7z")
_ARRAYS: Final = (".npz", ".npy", ".mat", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".tfrecord", ".arrow")


def open_archive(contents: Contents, folder: Path, options: IntakeOptions, between: Between) -> Source:
    """The source that an archive's names speak of; what is unpacked on the way lies in `folder`."""
    names = {key: parts[-1] for key, parts in contents.files.items()}
    if any(name.lower().endswith(".parquet") for name in names.values()):
        return _tables(contents, folder, options, between)
    if any(_IDX.fullmatch(name) for name in names.values()):
        return _idx(contents, folder, options, between)
    if (which := _cifar_kind(set(names.values()))) is not None:
        return _cifar(which, contents, folder, options, between)
    _require_images(names)
    return FolderSource(contents, options.transparent_on)


def _require_images(names: dict[str, str]) -> None:
    """Raises BadDataset where an archive is packed round another one, or holds arrays."""
    for key, name in sorted(names.items()):
        low = name.lower()
        if low in ("data_batch_1.bin", "test_batch.bin") or (low == "train.bin" and "test.bin" in names.values()):
            which = "cifar100" if low == "train.bin" else "cifar10"
            raise refuse(
                f"This is CIFAR's binary version, which the service knows as {which}: put it into a folder on the "
                f"server and run adder datasets fetch {which} --from FOLDER."
            )
        if low.endswith(_PACKED):
            raise refuse(f"The archive holds another one, {shown(key)}. Unpack it, and pack its folders once.")
        if low.endswith(_ARRAYS):
            raise refuse(
                f"The archive holds {shown(key)}, which is no image. Arrays go into one .npz, uploaded as it is: "
                "np.savez('mine.npz', x_train=…, y_train=…)."
            )


def _places(keys: Iterable[str], folder: Path, kind: str) -> dict[str, Path]:
    return {key: folder / f"{kind}-{number}" for number, key in enumerate(keys)}


def _extracted(contents: Contents, places: dict[str, Path], notes: list[str], between: Between) -> None:
    """Writes the files, and notes which others of the archive are not used."""
    if others := sorted(set(contents.files) - set(places)):
        notes.append(f"Left out: {listed(others)}.")
    contents.extract(places, between)


def _tables(contents: Contents, folder: Path, options: IntakeOptions, between: Between) -> Source:
    keys = [key for key, parts in contents.files.items() if parts[-1].lower().endswith(".parquet")]
    notes: list[str] = []
    chosen = shards(keys, notes)
    places = _places(keys, folder, "table")
    _extracted(contents, places, notes, between)
    tables = [Table(places[key], shown(key), part) for key, part in chosen]
    source = ParquetSource(tables, contents.limits, options.named_columns, options.transparent_on)
    source.notes[:0] = [*contents.notes, *notes]
    return source


# IDX files


def _idx(contents: Contents, folder: Path, options: IntakeOptions, between: Between) -> Source:
    """Files called as MNIST's: `train-images-idx3-ubyte.gz`, `t10k-labels.idx1-ubyte`."""
    found: dict[tuple[Kind | None, str], list[str]] = {}
    for key, parts in sorted(contents.files.items()):
        if match := _IDX.fullmatch(parts[-1]):
            plain = match[3] is None
            role = (_idx_part(match[1], parts[:-1]), match[2].lower())
            known = found.setdefault(role, [])
            if plain and f"{key}.gz" in known:
                known.remove(f"{key}.gz")
            if plain or key.removesuffix(".gz") not in known:
                known.append(key)
    kinds = {kind for kind, _ in found}
    first: Kind | None = "train" if "train" in kinds else None
    second: Kind | None = "validation" if "validation" in kinds else "test" if "test" in kinds else None
    notes: list[str] = []
    wanted = [(kind, role) for kind in dict.fromkeys((first, second)) for role in ("images", "labels")]
    if second is None:
        wanted = wanted[:2]
    keys = [_one(found.get(role, []), role) for role in wanted]
    places = _places(keys, folder, "idx")
    _extracted(contents, places, notes, between)
    meter = Meter(contents.limits, sum(place.stat().st_size for place in places.values()))
    arrays = [_idx_array(shown(key), places[key], meter) for key in keys]
    if any("emnist" in key.lower() for key in keys):
        notes.append("EMNIST's files have rows and columns exchanged: they were exchanged back.")
        arrays[::2] = [x.transpose(0, 2, 1) if x.ndim == 3 else x for x in arrays[::2]]
    sets = [ArraySet(shown(keys[0]), shown(keys[1]), arrays[0], arrays[1], "train" if second else None)]
    if second is not None:
        sets.append(ArraySet(shown(keys[2]), shown(keys[3]), arrays[2], arrays[3], "validation"))
    if second == "test":
        notes.append(f"{shown(keys[2])} validates.")
    return ArraySource(sets, None, [*contents.notes, *notes], contents.limits, options.transparent_on)


def _idx_part(stem: str, folders: tuple[str, ...]) -> Kind | None:
    for word in (stem, *reversed(folders)):
        if (found := part_word(word)) is not None:
            return found[0]
    return None


def _one(keys: list[str], role: tuple[Kind | None, str]) -> str:
    what = " ".join(word for word in role if word)
    if not keys:
        example = f"train-{role[1]}-idx{1 if role[1] == 'labels' else 3}-ubyte"
        raise refuse(f"The archive has no IDX file of {what}, such as {example}.")
    if len(keys) > 1:
        raise refuse(f"Which IDX file has the {what}, {listed(keys)}? Leave the others out of the archive.")
    return keys[0]


def _idx_array(name: str, path: Path, meter: Meter) -> Array:
    """Mapped from the disk, unpacked first where it is compressed."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        target = path.with_name(f"{path.name}-unpacked")
        try:
            with gzip.open(path) as stream, target.open("wb") as out:
                while piece := stream.read(READ):
                    meter.add(len(piece))
                    out.write(piece)
        except (OSError, EOFError, zlib.error) as error:
            raise refuse(f"{name} is damaged: {error}.") from None
        path = target
    with path.open("rb") as file:
        head = file.read(idx.HEAD)
    try:
        kind, shape, begin = idx.header(head, Path(name))
    except BadData as error:
        raise refuse(f"{error}.") from None
    dtype = np.dtype(idx.TYPES[kind])
    total = 1
    for size in shape:
        total *= size
    if total == 0 or path.stat().st_size - begin != total * dtype.itemsize:
        raise refuse(f"{name} says that it holds {shape}, but has {path.stat().st_size - begin:,} bytes of values.")
    return np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape)


# CIFAR's Python files


def _cifar_kind(names: set[str]) -> str | None:
    if any(_CIFAR10.fullmatch(name) for name in names):
        return "cifar10"
    return "cifar100" if {"train", "test", "meta"} <= names else None


def _cifar(which: str, contents: Contents, folder: Path, options: IntakeOptions, between: Between) -> Source:
    """`cifar-10-python.tar.gz` as it is published, or part of it."""
    meta = cifar.PYTHON_META[which]
    wanted = (*cifar.PYTHON_FILES[which], meta)
    keys = {parts[-1]: key for key, parts in contents.files.items() if parts[-1] in wanted}
    notes = [f"These are CIFAR's Python files; the service knows them as {which} too (adder datasets fetch {which})."]
    places = _places(keys.values(), folder, "pickle")
    _extracted(contents, places, notes, between)
    batches = {name: places[keys[name]] for name in cifar.PYTHON_FILES[which] if name in keys}
    test = {name: path for name, path in batches.items() if name.startswith("test")}
    train = {name: path for name, path in batches.items() if name not in test}
    if not train:
        raise refuse(f"The archive has no {listed(cifar.PYTHON_FILES[which][:-1])} of CIFAR to train on.")
    label = options.named_columns[1]
    sets = [_joined(train, "train" if test else None, folder / "train", label, notes, between)]
    sets += [_joined(test, "validation", folder / "test", label, notes, between)] if test else []
    names = _read(meta, places[keys[meta]], cifar.python_names) if meta in keys else {}
    notes = [*contents.notes, *dict.fromkeys(notes)]
    return ArraySource(sets, names.get(sets[0].labels), notes, contents.limits, options.transparent_on)


def _joined(
    batches: dict[str, Path], part: Part | None, target: Path, label: str | None, notes: list[str], between: Between
) -> ArraySet:
    """Batches one behind the other: their images go to the disk, batch by batch."""
    labels, chosen = [], ""
    with target.open("wb") as file:
        for name, path in sorted(batches.items()):
            between()
            images, found = _read(name, path, cifar.python_batch)
            chosen = label or next(key for key in ("labels", "fine_labels", "coarse_labels") if key in found)
            if chosen not in found:
                raise refuse(f"{name} has no labels called {chosen!r} (columns); it has {listed(found)}.")
            if len(found) > 1 and label is None:
                notes.append(f"The labels are {chosen}; columns takes others: {listed(set(found) - {chosen})}.")
            file.write(images.tobytes())
            labels.append(found[chosen])
    y = np.concatenate(labels)
    x = np.memmap(target, dtype=np.uint8, mode="r", shape=(len(y), 3, 32, 32)) if len(y) else np.empty((0, 3, 32, 32))
    name = "train" if part != "validation" else "test"
    return ArraySet(name, chosen, x, y, part)


def _read(name: str, path: Path, read: Callable[[bytes], Read]) -> Read:
    """What a pickle holds, by the reader that builds nothing but arrays and texts."""
    if path.stat().st_size > PICKLE_BYTES:
        raise refuse(f"{name} is longer than {PICKLE_BYTES:,} bytes, the most for a file of CIFAR.")
    try:
        return read(path.read_bytes())
    except BadPickle as error:
        raise refuse(f"{name} {error}. The service knows CIFAR: adder datasets fetch cifar10 or cifar100.") from None
