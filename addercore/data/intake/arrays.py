"""`.npz` files with plain numeric arrays: unpacked to disk beside the result and mapped, never unpickled."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from addercore.data.intake.archives import DAMAGED, READ, Zip, damage
from addercore.data.intake.images import BadImage, Pixels, from_array
from addercore.data.intake.limits import Limits, Meter
from addercore.data.intake.problems import Problems, refuse
from addercore.data.intake.sources import Example, Part

Array = np.ndarray[Any, Any]

_PAIRS: Final[tuple[tuple[str, str, Part | None], ...]] = (
    ("x_train", "y_train", "train"),
    ("x_val", "y_val", "validation"),
    ("x_test", "y_test", "validation"),
    ("images", "labels", None),
)
LABEL_BYTES: Final = 1024
_MAGIC: Final = b"\x93NUMPY"
_PICKLE: Final = b"\x80"
NEEDS: Final = "It needs x_train and y_train, with x_test and y_test if there is such a part, or images and labels."


class NpzSource:
    """Arrays as a `Source`. Opening it unpacks them into `folder`."""

    def __init__(self, path: Path, folder: Path, limits: Limits, between: Callable[[], None]) -> None:
        self.notes: list[str] = []
        members = _members(path, limits)
        pairs = self._choose(set(members))
        wanted = [name for images, labels, _ in pairs for name in (images, labels)]
        wanted += ["classes"] if "classes" in members else []
        arrays = _unpack(path, folder, [members[name] for name in wanted], limits, between)
        self.classes = _names(arrays["classes"]) if "classes" in arrays else None
        self._sets = [
            (images, arrays[images], _labels(labels, arrays[labels], limits), part) for images, labels, part in pairs
        ]
        problems = Problems()
        for (images, x, y, _), (_, labels, _) in zip(self._sets, pairs, strict=True):
            _check_shape(images, x, problems, limits)
            if len(x) != len(y):
                problems.add(f"{images} has {len(x):,} images and {labels} {len(y):,} labels; they must be as many.")
        problems.raise_any()

    def _choose(self, names: set[str]) -> list[tuple[str, str, Part | None]]:
        whole = [pair for pair in _PAIRS if {pair[0], pair[1]} & names]
        for images, labels, _ in whole:
            if not {images, labels} <= names:
                lacking = labels if images in names else images
                raise refuse(f"The file has {', '.join(sorted(names))}, but no {lacking}. {NEEDS}")
        parts = [part for _, _, part in whole]
        if not ("train" in parts or parts == [None]):
            raise refuse(f"The file has {', '.join(sorted(names)) or 'no arrays'}. {NEEDS}")
        whole = [pair for pair in whole if pair[2] is not None or "train" not in parts]
        if parts.count("validation") == 2:
            whole = [pair for pair in whole if pair[0] != "x_test"]
        used = {name for pair in whole for name in pair[:2]} | {"classes"}
        if left_out := sorted(names - used):
            self.notes.append(f"Left out: the arrays {', '.join(left_out[:10])}.")
        return whole

    def examples(self) -> Iterator[Example]:
        total, before = sum(len(x) for _, x, _, _ in self._sets), 0
        for name, x, y, part in self._sets:
            for i in range(len(x)):
                place = f"{name}[{i}]"
                yield Example(place, before + i, part, y[i], _image(x[i]), (before + i) / total)
            before += len(x)


def _members(path: Path, limits: Limits) -> dict[str, str]:
    """The archive's member of each array, by the array's name."""
    found: dict[str, str] = {}
    for member, _ in Zip(path, limits).members():
        name = member.name.removesuffix(".npy")
        if name == member.name:
            raise refuse(f"The file holds {name!r}, which is no array: an .npz has .npy files only.")
        if name in found:
            raise refuse(f"The file has two arrays {name!r}.")
        found[name] = member.name
    return found


def _unpack(
    path: Path, folder: Path, members: list[str], limits: Limits, between: Callable[[], None]
) -> dict[str, Array]:
    """Unpacks arrays to files with names of our own, and maps them; by array name."""
    meter = Meter(limits, path.stat().st_size)
    arrays: dict[str, Array] = {}
    with damage(), zipfile.ZipFile(path) as archive:
        for number, member in enumerate(members):
            name, target = member.removesuffix(".npy"), folder / f"array-{number}.npy"
            with archive.open(member) as stream, target.open("wb") as file:
                head = stream.read(len(_MAGIC))
                if head != _MAGIC:
                    kind = "a pickle, which is never read" if head.startswith(_PICKLE) else "no array"
                    raise refuse(f"{name} is {kind}. Save plain arrays: np.savez(…, x_train=x.astype(np.uint8), …).")
                file.write(head)
                while piece := stream.read(READ):
                    between()
                    meter.add(len(piece))
                    file.write(piece)
            arrays[name] = _mapped(name, target)
    return arrays


def _mapped(name: str, path: Path) -> Array:
    """Maps an array. Python objects are refused by the header, without unpickling anything."""
    try:
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        if "Python objects" in str(error):
            raise refuse(
                f"{name} holds Python objects, a pickle, which is never read. Give all images one size and save plain "
                "arrays: np.stack(images).astype(np.uint8)."
            ) from None
        raise refuse(DAMAGED.format(f"{name}: {error}")) from None
    with suppress(OSError):
        path.unlink()  # the mapping holds it
    return array


def _check_shape(name: str, x: Array, problems: Problems, limits: Limits) -> None:
    if x.dtype.kind not in "uif":
        problems.add(f"{name} has the type {x.dtype}; it must be uint8, or floats in 0…1.")
    axes = _channel_axes(x)
    if len(axes) > 1:
        problems.add(
            f"{name} has the shape {x.shape}, which can be (N, h, w, c) and (N, c, h, w). Save grey images as "
            "(N, h, w); pad colour images to more than 3 rows and columns."
        )
    elif x.ndim not in (3, 4) or 0 in x.shape[1:] or (x.ndim == 4 and not axes):
        problems.add(f"{name} has the shape {x.shape}; it must be (N, h, w), (N, h, w, c) or (N, c, h, w), c 1 or 3.")
    elif np.prod(x.shape[1:], dtype=np.int64) > limits.pixels:
        problems.add(f"{name} has images of {x.shape[1:]}; at most {limits.pixels:,} pixels are read.")
    elif len(x) == 0:
        problems.add(f"{name} has no images.")
    elif len(x) > limits.entries:
        problems.add(f"{name} has {len(x):,} images; at most {limits.entries:,} are taken.")


def _channel_axes(x: Array) -> list[int]:
    """The axes of a (N, h, w, c) or (N, c, h, w) array that could be the channels; two mean that it is ambiguous."""
    return [] if x.ndim != 4 else [axis for axis in (3, 1) if x.shape[axis] in (1, 3)]


def _image(values: Array) -> Pixels | BadImage:
    """`values` (h, w), (h, w, c) or (c, h, w)."""
    if values.ndim == 3 and values.shape[2] not in (1, 3):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    try:
        return from_array(np.asarray(values))
    except BadImage as error:
        return error


def _labels(name: str, y: Array, limits: Limits) -> list[int] | list[str]:
    """Labels of an array (N,) or (N, 1). The plan checks their range."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise refuse(f"{name} has the shape {y.shape}; it must be (N,), the number of each image's class.")
    if len(y) > limits.entries:
        raise refuse(f"{name} has {len(y):,} labels; at most {limits.entries:,} are taken.")
    if y.dtype.kind in "US":
        return _texts(name, y)
    if y.dtype.kind == "f":
        return _whole_numbers(name, y)
    if y.dtype.kind not in "ui":
        raise refuse(f"{name} has the type {y.dtype}; labels are integers from 0 on, or names.")
    return [int(label) for label in y.tolist()]


def _whole_numbers(name: str, y: Array) -> list[int]:
    problems = Problems()
    for i in np.flatnonzero(~np.isfinite(y)):
        problems.add(f"{name}[{i}] is NaN or infinite; labels are integers from 0 on.")
    problems.raise_any()
    for i in np.flatnonzero(y != np.rint(y)):
        problems.add(f"{name}[{i}] is {y[i]:g}; labels are integers from 0 on.")
    problems.raise_any()
    return [int(label) for label in y.tolist()]


def _names(array: Array) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise refuse(f"classes has the shape {array.shape} and type {array.dtype}; it must be a list of names.")
    return _texts("classes", array)


def _texts(name: str, array: Array) -> list[str]:
    if array.dtype.itemsize > LABEL_BYTES:
        raise refuse(f"{name} has names of {array.dtype.itemsize:,} bytes; at most {LABEL_BYTES} are taken.")
    try:
        return [str(text) for text in array.astype("U").tolist()]
    except UnicodeDecodeError:
        raise refuse(f"{name} has names that are not ASCII; save them as text, not as bytes.") from None
