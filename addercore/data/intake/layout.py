"""Names of an archive's files → parts and classes. Names only decide; nothing is ever written under one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from addercore.data.intake.names import Parts
from addercore.data.intake.parts import Kind, filler, parts_among
from addercore.data.intake.problems import Problems, listed, refuse
from addercore.data.intake.sources import Part


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each image belongs, by its name in the archive."""

    places: dict[str, tuple[Part | None, str]]
    notes: list[str]


@dataclass(slots=True)
class _Found:
    """What is known so far: places, folders of classes that must not be empty, and notes."""

    places: dict[str, tuple[Part | None, str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    deep: set[str] = field(default_factory=set)

    @property
    def classes(self) -> set[str]:
        """Names of all classes, those without an image too."""
        return self.folders | {label for _, label in self.places.values()}

    def put(self, name: str, part: Part | None, label: str, deeper: Parts) -> None:
        self.places[name] = (part, label)
        if deeper:
            self.deep.add(f"{label}/{deeper[0]}")


FOLDS: Final = 10
"""Folders of one depth, at most, that may be parts of other names where all of them hold the same folders."""
_NEEDED: Final = (
    "a folder for each class, such as cat/1.png and dog/1.png, optionally below train/ and val/. Labels in a table or "
    "in the files' names are not read"
)


def layout(files: dict[str, Parts], folders: list[Parts], written: Sequence[str] = ()) -> Layout:
    """Class folders, optionally below folders of parts, all of it optionally in folders that hold all.

    A part's folder is never a class. Deeper folders belong to their class. `written` are the texts and tables beside
    the images. Raises BadDataset for what cannot be told, for one class, or for a class without images.
    """
    depth = _root(list(files.values()))
    images = {name: parts[depth:] for name, parts in files.items() if len(parts) > depth + 1}
    if not images:
        raise refuse(f"The archive has no folders of images. It needs {_NEEDED}{_beside(written)}.")
    found = _Found(loose=[name for name in files if name not in images])
    below = [parts[depth:] for parts in folders if len(parts) > depth]
    outer = {parts[0] for parts in images.values()}
    named = parts_among(outer)
    if named and not _are_classes(images, outer, named, found):
        _by_parts(images, below, _used_parts(named, outer, found), found)
    elif not named and (inner := _inner_parts(images)):
        for name, parts in images.items():
            if (part := inner[parts[1]]) is not None:
                found.put(name, part, parts[0], ())
        found.notes += [f"The folders {name} are left out." for name, part in sorted(inner.items()) if part is None]
    else:
        _require_classes(images)
        for name, parts in images.items():
            found.put(name, None, parts[0], parts[1:-1])
        found.folders = {parts[0] for parts in below}
    _require_two(found, written)
    _require_images(found)
    return Layout(found.places, _notes(found))


def _root(files: list[Parts]) -> int:
    """How many outer folders hold everything and say nothing."""
    depth = 0
    while True:
        outer = {parts[depth] for parts in files if len(parts) > depth + 1}
        inner = {parts[depth + 1] for parts in files if len(parts) > depth + 2}
        if len(outer) != 1 or not inner:  # with nothing in it, it is the one class that there is
            return depth
        if parts_among(outer) and len(set(parts_among(inner).values())) < 2:
            return depth  # train/ alone, not a folder `train_data` that holds train/ and test/
        depth += 1


def _are_classes(images: dict[str, Parts], outer: set[str], named: dict[str, Kind], found: _Found) -> bool:
    """Whether the one folder that is called as a part is a class: `train` beside `bus` and `car`, with images itself.

    Raises BadDataset where that cannot be told.
    """
    others = sorted(outer - set(named))
    if not others:
        return False
    flat = all(len(parts) == 2 for parts in images.values() if parts[0] in named)
    name = next(iter(named))
    if flat and len(named) == 1 and name.lower() == "train" and len(others) > 1:
        found.notes.append(f"The folder {name} is taken for a class, as it holds images like {listed(others)}.")
        return True
    if len(named) == 1:
        raise refuse(
            f"Is {name} a part or a class? Beside it the archive has {listed(others)}. If it is a part, give every "
            "folder beside it the name of a part (train, val, test) or leave it out; if it is a class, rename it."
        )
    raise refuse(
        f"Are {listed(sorted(named))} parts or classes? Beside them the archive has {listed(others)}. If they are "
        "parts, give every folder beside them the name of a part (train, val, test) or leave it out; if they are "
        "classes, rename them."
    )


def _used_parts(named: dict[str, Kind], outer: set[str], found: _Found) -> dict[str, Part]:
    """The folders that train and validate. Raises BadDataset where it takes a choice."""
    by_kind: dict[Kind, list[str]] = {}
    for name, kind in sorted(named.items()):
        by_kind.setdefault(kind, []).append(name)
    if "train" not in by_kind:
        raise refuse(f"The archive has {listed(sorted(outer))} but no train/ beside it. Which images are to train on?")
    for kind in ("train", "validation", "test"):
        several = by_kind.get(kind, [])
        if len(several) > 1 and not (kind == "test" and "validation" in by_kind):
            raise refuse(
                f"The folders {listed(several)} are each a {kind} part. Which one is to be used? Put their classes "
                "into one folder, or leave one out."
            )
    validates = next(iter(by_kind.get("validation") or by_kind.get("test") or ()), None)
    for name in by_kind.get("test", []):
        if name != validates:
            found.notes.append(f"The folder {name} is left out: the validation part is {validates}.")
    for name in by_kind.get("unlabelled", []):
        found.notes.append(f"The folder {name} is left out: it is for images without labels.")
    if validates is not None and named[validates] == "test":
        found.notes.append(f"The images of {validates} validate.")
    used: dict[str, Part] = {by_kind["train"][0]: "train"}
    return used if validates is None else used | {validates: "validation"}


def _by_parts(images: dict[str, Parts], folders: list[Parts], used: dict[str, Part], found: _Found) -> None:
    for outer, part in used.items():
        mine = {name: parts[1:] for name, parts in images.items() if parts[0] == outer}
        depth = _inside(outer, list(mine.values()))
        for name, parts in mine.items():
            if len(parts) > depth + 1:
                found.put(name, part, parts[depth], parts[depth + 1 : -1])
            else:
                found.loose.append(name)
        found.folders |= {parts[depth + 1] for parts in folders if parts[0] == outer and len(parts) > depth + 1}


def _inside(outer: str, files: list[Parts]) -> int:
    """How many folders inside a part's say nothing: it is repeated (seg_train/seg_train), or its images are in one."""
    depth = 0
    while True:
        inner = {parts[depth] for parts in files if len(parts) > depth + 1}
        if not inner:
            raise refuse(
                f"The folder {outer} holds images itself, and no folder for each class. A part is no class: which "
                f"class does each image have? Sort them into {outer}/cat, {outer}/dog and so on."
            )
        named = parts_among(inner)
        deeper = any(len(parts) > depth + 2 for parts in files)
        if len(inner) == 1 and deeper and (len(named) == 1 or filler(next(iter(inner)))):
            depth += 1
        elif len(named) == len(inner) and len(set(named.values())) > 1:
            raise refuse(
                f"The folder {outer} is a part and holds parts again ({listed(sorted(inner))}). Which ones are to be "
                "used? Leave one outer folder, train/ or none."
            )
        else:
            return depth


def _inner_parts(images: dict[str, Parts]) -> dict[str, Part | None] | None:
    """Part by folder name where each class has its own parts, as in cat/train/1.png; None where it has none.

    Raises BadDataset where that is only half so.
    """
    inner = {parts[1] for parts in images.values() if len(parts) > 2}
    named = parts_among(inner)
    kinds = set(named.values()) - {"unlabelled"}
    if len(kinds) < 2 or "train" not in kinds:
        return None
    if set(named) != inner or any(len(parts) != 3 for parts in images.values()) or len(named) > len(kinds):
        raise refuse(
            f"The folders of classes hold parts ({listed(sorted(named))}) and other things. Put the parts outside: "
            "train/cat, train/dog, val/cat, val/dog."
        )
    validates: Kind = "validation" if "validation" in kinds else "test"
    return {
        name: "train" if kind == "train" else "validation" if kind == validates else None
        for name, kind in named.items()
    }


def _require_classes(images: dict[str, Parts]) -> None:
    """Raises BadDataset where the outer folders all hold the same ones, as parts do whose names say nothing."""
    outer = sorted({parts[0] for parts in images.values()})
    if len(outer) > FOLDS or any(len(parts) < 3 for parts in images.values()):
        return
    inner = [{parts[1] for parts in images.values() if parts[0] == name} for name in outer]
    shared = sorted(set.intersection(*inner))
    if len(outer) > 1 and len(shared) > 1:
        raise refuse(
            f"Are {listed(outer)} parts or classes? Each of them holds the folders {listed(shared)}. If those are the "
            "classes, call the outer folders train, val and test, or put the images of each class into one folder; if "
            "the outer ones are the classes, put the images straight into them."
        )


def _require_two(found: _Found, written: Sequence[str]) -> None:
    if len(found.classes) == 1:
        (label,) = found.classes
        raise refuse(
            f"There is one class only, {label!r}; a classifier needs two or more: {_NEEDED}{_beside(written)}."
        )


def _beside(written: Sequence[str]) -> str:
    return f" (the archive has {listed(written)})" if written else ""


def _require_images(found: _Found) -> None:
    trained = {label for part, label in found.places.values() if part != "validation"}
    alike = {label.casefold(): label for label in trained}
    problems = Problems()
    for label in sorted(found.classes - trained):
        other = alike.get(label.casefold())
        hint = f"fill its folder, or remove it{'' if other is None else f'; or is it {other!r}'}"
        problems.add(f"The class {label!r} has no images to train on: {hint}.")
    problems.raise_any()


def _notes(found: _Found) -> list[str]:
    notes = list(found.notes)
    if found.loose:
        notes.append(f"Left out, as they lie in no class's folder: {_several(found.loose)}.")
    if found.deep:
        notes.append(f"Images of folders inside a class belong to that class: {_several(found.deep)}.")
    return notes


def _several(names: Iterable[str]) -> str:
    return listed(sorted(names))
