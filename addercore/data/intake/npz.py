"""`.npz` files: plain arrays only, unpacked to the disk beside the result and mapped, never unpickled."""

import re
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Final

import numpy as np

from addercore.data.intake.archives import DAMAGED, READ, Zip, damage
from addercore.data.intake.arrays import Array, ArraySet, ArraySource, texts
from addercore.data.intake.contents import Between
from addercore.data.intake.limits import Limits, Meter
from addercore.data.intake.parts import Kind, part_word
from addercore.data.intake.problems import listed, refuse
from addercore.data.intake.sources import Part

_MAGIC: Final = b"\x93NUMPY"
_PICKLE: Final = b"\x80"
_HEAD: Final = 16  # bytes
NEEDS: Final = (
    "It needs x_train and y_train (or train_images and train_labels), with x_test and y_test if there is such a part, "
    "or images and labels: np.savez('mine.npz', x_train=…, y_train=…)."
)
_IMAGES: Final = re.compile(r"xs?|(image|img|feature|input|pixel|sample)s?|data")
_LABELS: Final = re.compile(r"ys?|(label|target)s?")
_CLASSES: Final = re.compile(r"classes|(class|target|labels?)_?names|categories")
_SHORT: Final = {"tr": "train", "te": "test", "va": "val"}
_JOINED: Final = re.compile(r"([xy])_?(tr|te|va|train|test|val|valid|dev)")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class _Key:
    """What an array is, by its name."""

    labels: bool
    part: Kind | None


def open_npz(path: Path, folder: Path, limits: Limits, between: Between, transparent_on: str) -> ArraySource:
    """Arrays as a `Source`; they are unpacked into `folder`."""
    members = _members(path, limits)
    names = [name for name in sorted(members) if _CLASSES.fullmatch(name.lower())]
    keys = {name: key for name in sorted(members) if (key := _key(name)) is not None}
    chosen = _choose(keys, sorted(members))
    wanted = [name for images, labels, _ in chosen for name in (*images, labels)] + names[:1]
    arrays = _unpack(path, folder, {name: members[name] for name in wanted}, limits, between)
    sets = [ArraySet(best, labels, arrays[best], arrays[labels], part) for best, labels, part in _best(chosen, arrays)]
    used = {name for each in sets for name in (each.images, each.labels)} | set(names[:1])
    notes = []
    if left_out := sorted(set(members) - used):
        notes.append(f"Left out: the arrays {listed(left_out, 10)}.")
    notes += [
        f"{each.images} validates." for each in sets if each.part == "validation" and keys[each.images].part == "test"
    ]
    classes = _names(names[0], arrays[names[0]]) if names else None
    return ArraySource(sets, classes, notes, limits, transparent_on)


def _key(name: str) -> _Key | None:
    """Whether a name is that of images or labels, and of which part: `x_train`, `trainX`, `val_labels`, `target`."""
    plain = _CAMEL.sub("_", name).lower()
    if _CLASSES.fullmatch(plain):
        return None
    if joined := _JOINED.fullmatch(plain):
        plain = f"{joined[1]}_{_SHORT.get(joined[2], joined[2])}"
    words = [word for word in re.split(r"[\W_]+", plain) if word]
    labels = {word for word in words if _LABELS.fullmatch(word)}
    role = labels | {word for word in words if _IMAGES.fullmatch(word)}
    rest = [word for word in words if word not in role]
    part = part_word("_".join(rest)) if rest else None
    if not role or (rest and (part is None or part[1])):
        return None
    return _Key(bool(labels), None if part is None else part[0])


def _choose(keys: dict[str, _Key], every: list[str]) -> list[tuple[list[str], str, Part | None]]:
    """Candidates for the images, the labels, and the part of each set that is used."""
    found: dict[Kind | None, tuple[list[str], list[str]]] = {}
    for name, key in keys.items():
        found.setdefault(key.part, ([], []))[key.labels].append(name)
    found.pop("unlabelled", None)
    first: Kind | None = "train" if "train" in found else None
    if first not in found:
        raise refuse(f"The file has {listed(every, 10) or 'no arrays'}. {NEEDS}")
    second = next((kind for kind in ("validation", "test") if kind in found), None)
    chosen: list[tuple[list[str], str, Part | None]] = []
    for kind in [first] if second is None else [first, second]:
        images, labels = found[kind]
        if not images or not labels:
            lacking = "labels" if images else "images"
            here = listed(images or labels)
            raise refuse(f"The file has {listed(every, 10)}, but no {lacking} to {here}. {NEEDS}")
        if len(labels) > 1:
            raise refuse(f"Which array has the labels, {listed(labels)}? Leave the others out, or call them otherwise.")
        part: Part | None = "validation" if kind == second and kind is not None else "train"
        chosen.append((images, labels[0], part if second is not None or kind == "train" else None))
    return chosen


def _best(
    chosen: list[tuple[list[str], str, Part | None]], arrays: dict[str, Array]
) -> list[tuple[str, str, Part | None]]:
    """Of several arrays of images the one that has rows and columns, as `images` beside `data` of scikit-learn."""
    found = []
    for images, labels, part in chosen:
        shaped = [name for name in images if arrays[name].ndim in (3, 4)] or images
        if len(shaped) > 1:
            raise refuse(f"Which array has the images, {listed(shaped)}? Leave the others out, or call them otherwise.")
        found.append((shaped[0], labels, part))
    return found


def _members(path: Path, limits: Limits) -> dict[str, str]:
    """Array by name → name of its member."""
    found: dict[str, str] = {}
    for member, _ in Zip(path, limits).members():
        name = member.info.filename.removesuffix(".npy")
        if name == member.info.filename:
            raise refuse(f"The file holds {name!r}, which is no array: an .npz has .npy files only.")
        if name in found:
            raise refuse(f"The file has two arrays {name!r}.")
        found[name] = member.info.filename
    return found


def _unpack(path: Path, folder: Path, members: dict[str, str], limits: Limits, between: Between) -> dict[str, Array]:
    """Arrays by name, mapped from files under names of our own."""
    meter = Meter(limits, path.stat().st_size)
    arrays: dict[str, Array] = {}
    with damage(), zipfile.ZipFile(path) as archive:
        for number, (name, member) in enumerate(members.items()):
            target = folder / f"array-{number}.npy"
            with archive.open(member) as stream, target.open("wb") as file:
                head = stream.read(_HEAD)
                if not head.startswith(_MAGIC):
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
    """Refuses Python objects by the header alone: nothing is unpickled to find out."""
    try:
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OverflowError, TypeError, TokenError) as error:  # numpy's and mmap's, of a header that is none
        if "Python objects" in str(error):
            key = _key(name)
            line = (
                f"{name} = {name}.astype(str)" if key and key.labels else f"{name} = np.stack({name}).astype(np.uint8)"
            )
            why = "names of classes as text" if key and key.labels else "images, which need one size"
            raise refuse(
                f"{name} holds Python objects, a pickle, which is never read. Save plain arrays; of {why}: {line}."
            ) from None
        raise refuse(DAMAGED.format(f"{name}: {error}")) from None
    with suppress(OSError):
        path.unlink()  # the mapping holds it
    return array


def _names(name: str, array: Array) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise refuse(
            f"{name} has the shape {array.shape} and type {array.dtype}; it must be a list of names: "
            f"{name} = np.array(['cat', 'dog'])."
        )
    return texts(name, array)
