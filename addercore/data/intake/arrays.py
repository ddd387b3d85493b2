"""Arrays of images with arrays of labels, as a `Source`: of `.npz`, IDX and CIFAR's files."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

import numpy as np

from addercore.data.intake.images import BadImage, Picture, on_ground
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import Problems, refuse
from addercore.data.intake.sources import Example, Part

Array = np.ndarray[Any, Any]

LABEL_BYTES: Final = 1024
_ROWS: Final = 4096  # of one-hot labels looked at together
_CHANNELS: Final = (1, 3)
_ALPHA: Final = 4


@dataclass(frozen=True, slots=True)
class ArraySet:
    """Images (N, …) and labels (N,) with the names that messages call them by."""

    images: str
    labels: str
    x: Array
    y: Array
    part: Part | None


class ArraySource:
    """One or two sets as a `Source`."""

    def __init__(
        self, sets: list[ArraySet], classes: list[str] | None, notes: list[str], limits: Limits, transparent_on: str
    ) -> None:
        self.classes, self.notes = classes, notes
        self._transparent_on = transparent_on
        problems = Problems()
        for each in sets:
            _check(each, problems, limits)
        problems.raise_any()
        self._sets = [(each, labels_of(each.labels, each.y, limits, notes)) for each in sets]
        for each, labels in self._sets:
            if len(each.x) != len(labels):
                problems.add(
                    f"{each.images} has {len(each.x):,} images and {each.labels} {len(labels):,} labels; they must be "
                    "as many."
                )
        problems.raise_any()

    def examples(self) -> Iterator[Example]:
        total, before = sum(len(each.x) for each, _ in self._sets), 0
        for each, labels in self._sets:
            for i in range(len(each.x)):
                place, image = f"{each.images}[{i}]", self._image(each.x[i])
                yield Example(place, before + i, each.part, labels[i], image, (before + i) / total)
            before += len(each.x)

    def _image(self, values: Array) -> Picture | BadImage:
        """`values` (h, w), (h, w, c) or (c, h, w)."""
        if values.ndim == 3 and values.shape[2] not in (*_CHANNELS, _ALPHA):
            values = values.transpose(1, 2, 0)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return BadImage("has pixels that are NaN or infinite")
        if values.ndim == 3 and values.shape[2] == _ALPHA:
            try:
                return on_ground(values, self._transparent_on)
            except BadImage as error:
                return error
        return Picture(values.astype(np.uint8) if values.dtype.kind == "b" else values)


def _check(each: ArraySet, problems: Problems, limits: Limits) -> None:
    name, x = each.images, each.x
    if x.dtype.kind not in "uifb":
        problems.add(f"{name} has the type {x.dtype}; it must be uint8, other integers, or floats in 0…1.")
    if x.ndim == 4 and x.shape[1] in _CHANNELS and x.shape[3] in _CHANNELS:
        problems.add(
            f"{name} has the shape {x.shape}, which can be (N, h, w, c) and (N, c, h, w). Save grey images as "
            "(N, h, w); pad colour images to more than 3 rows and columns."
        )
    elif (hint := _shape_hint(each)) is not None:
        problems.add(
            f"{name} has the shape {x.shape}; it must be (N, h, w), (N, h, w, c) or (N, c, h, w), c 1 or 3{hint}."
        )
    elif np.prod(x.shape[1:], dtype=np.int64) > limits.pixels:
        problems.add(f"{name} has images of {x.shape[1:]}; at most {limits.pixels:,} pixels are read.")
    elif len(x) == 0:
        problems.add(f"{name} has no images.")
    elif len(x) > limits.entries:
        problems.add(f"{name} has {len(x):,} images; at most {limits.entries:,} are taken.")


def _shape_hint(each: ArraySet) -> str | None:
    """What mends a shape that is none of images; None where it is one."""
    name, x = each.images, each.x
    if x.ndim in (3, 4) and each.y.shape[:1] == x.shape[-1:] != x.shape[:1]:
        return f". The number of the image is its last axis: {name} = np.moveaxis({name}, -1, 0)"
    if x.ndim == 2 and x.shape[1]:
        return _flat_hint(name, x.shape[1])
    if x.ndim == 4 and 0 not in x.shape[1:]:
        if x.shape[3] in _CHANNELS or x.shape[1] in _CHANNELS or (x.shape[3] == _ALPHA and x.dtype == np.uint8):
            return None
        if x.shape[1] == _ALPHA:
            return f". Leave out alpha: {name} = {name}[:, :3]"
        return f". If there are more channels, choose: {name} = {name}[..., :3]"
    return None if x.ndim == 3 and 0 not in x.shape[1:] else ""


def _flat_hint(name: str, pixels: int) -> str:
    side = isqrt(pixels)
    if side * side == pixels:
        return f". Its images are flat: {name} = {name}.reshape(-1, {side}, {side})"
    side = isqrt(pixels // 3)
    if 3 * side * side == pixels:
        return (
            f". Its images are flat: {name} = {name}.reshape(-1, 3, {side}, {side}) where all red comes first (CIFAR), "
            f"or .reshape(-1, {side}, {side}, 3)"
        )
    return f". Its images are flat: {name} = {name}.reshape(-1, h, w)"


def labels_of(name: str, y: Array, limits: Limits, notes: list[str]) -> list[int] | list[str]:
    """Labels of (N,), (N, 1), (1, N) or one-hot (N, classes); whether numbers are in range is for the plan to say."""
    if y.ndim == 2 and 1 in y.shape:
        y = y.ravel()
    if len(y.shape) and len(y) > limits.entries:
        raise refuse(f"{name} has {len(y):,} labels; at most {limits.entries:,} are taken.")
    if y.ndim == 2 and y.dtype.kind in "uifb":
        y = _from_one_hot(name, y, notes)
    if y.ndim != 1:
        raise refuse(f"{name} has the shape {y.shape}; it must be (N,), the number of each image's class.")
    if y.dtype.kind in "US":
        return texts(name, y)
    if y.dtype.kind == "f":
        return _whole_numbers(name, y, notes)
    if y.dtype.kind == "b":
        notes.append(f"{name} holds truth values: False is class 0 and True class 1.")
    elif y.dtype.kind not in "ui":
        raise refuse(f"{name} has the type {y.dtype}; labels are integers from 0 on, or names.")
    return [int(label) for label in y.tolist()]


def _from_one_hot(name: str, y: Array, notes: list[str]) -> Array:
    """(N, classes) of 0 and 1, one 1 a row → (N,)."""
    for begin in range(0, len(y), _ROWS):
        rows = np.asarray(y[begin : begin + _ROWS])
        if not np.isin(rows, (0, 1)).all():
            raise refuse(
                f"{name} has the shape {y.shape} with other values than 0 and 1; labels are (N,). Of probabilities "
                f"take the largest: {name} = {name}.argmax(axis=1)."
            )
        if (wrong := np.flatnonzero(rows.sum(axis=1) != 1)).size:
            raise refuse(
                f"{name}[{begin + wrong[0]}] names {int(rows[wrong[0]].sum())} classes; every image has one. Leave out "
                f"the others (keep = {name}.sum(axis=1) == 1), then {name} = {name}.argmax(axis=1)."
            )
    notes.append(f"{name} has a column for each of {y.shape[1]} classes (one-hot): the column with 1 became the label.")
    return np.concatenate([np.asarray(y[at : at + _ROWS]).argmax(axis=1) for at in range(0, len(y), _ROWS)])


def _whole_numbers(name: str, y: Array, notes: list[str]) -> list[int]:
    problems = Problems()
    for i in np.flatnonzero(~np.isfinite(y)):
        problems.add(f"{name}[{i}] is NaN or infinite; labels are integers from 0 on.")
    problems.raise_any()
    for i in np.flatnonzero(y != np.rint(y)):
        problems.add(f"{name}[{i}] is {y[i]:g}; labels are integers from 0 on.")
    problems.raise_any()
    notes.append(f"{name} holds floats that are whole numbers: they were taken as integers.")
    return [int(label) for label in y.tolist()]


def texts(name: str, array: Array) -> list[str]:
    """Names in an array of text, or of bytes in UTF-8."""
    if array.dtype.itemsize > LABEL_BYTES:
        raise refuse(f"{name} has names of {array.dtype.itemsize:,} bytes; at most {LABEL_BYTES} are taken.")
    if array.dtype.kind == "U":
        return [str(text) for text in array.tolist()]
    try:
        return [bytes(text).decode() for text in array.tolist()]
    except UnicodeDecodeError:
        raise refuse(f"{name} has names that are not UTF-8; save them as text: {name} = {name}.astype(str).") from None
