"""Parts and classes of images by the names of an archive's files. Nothing is written under those names."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from addercore.data.intake.problems import Problems, refuse
from addercore.data.intake.sources import Part

_PARTS: Final[dict[str, Part]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_TEST: Final = ("test", "testing")
_IGNORED: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_LISTED: Final = 5

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Part and class of each image, by its name in the archive."""

    places: dict[str, tuple[Part | None, str]]
    notes: list[str]


def parts_of(name: str) -> Parts:
    """The folders and the file of a member's name. Raises BadDataset if the name leads out of the archive."""
    path = name.replace("\\", "/")
    shown = repr(name[:100])
    try:
        name.encode()
    except UnicodeEncodeError:
        raise refuse(f"The archive has a name that is no text: {shown}. Rename the file and pack it again.") from None
    parts = PurePosixPath(path).parts
    if path.startswith("/") or _DRIVE.match(path):
        raise refuse(f"The archive has an absolute name: {shown}. Pack the folder from beside it.")
    if ".." in parts or "\x00" in name:
        raise refuse(f"The archive has a name that leads out of it: {shown}. Pack the folder from beside it.")
    return parts


def hidden(parts: Parts) -> bool:
    """Whether a file is left by a file manager or version control."""
    return not parts or any(part.startswith(".") or part in _IGNORED for part in parts)


def layout(files: dict[str, Parts], folders: list[Parts]) -> Layout:
    """Class folders, optionally below train/ and val/ (or test/), all of it optionally in folders that hold all.

    Deeper folders belong to their class. Raises BadDataset for one class, or a class without images.
    """
    depth = _root(list(files.values()))
    inner = {name: parts[depth:] for name, parts in files.items()}
    images = {name: parts for name, parts in inner.items() if len(parts) > 1}
    if not images:
        raise refuse(
            "The archive has no folders of images. It needs a folder for each class, such as cat/1.png and dog/1.png, "
            "optionally below train/ and val/."
        )
    loose = sorted(name for name in files if name not in images)
    notes = [_left_out(loose)] if loose else []
    below = [parts[depth:] for parts in folders if len(parts) > depth]
    split = _split_names({parts[0] for parts in images.values()})
    if split is None:
        places: dict[str, tuple[Part | None, str]] = {name: (None, parts[0]) for name, parts in images.items()}
        known = {parts[0] for parts in below}
    else:
        places = {}
        for name, parts in images.items():
            part = split[parts[0]]
            if len(parts) < 3:
                notes.append(_left_out([name]))
            elif part is not None:
                places[name] = (part, parts[1])
        known = {parts[1] for parts in below if len(parts) > 1 and split.get(parts[0])}
        tests = sorted(name for name, part in split.items() if part is None)
        notes += [f"The folder {name} is left out: the validation part is another." for name in tests]
    _require_images(places, known)
    return Layout(places, notes[: _LISTED * 2])


def _root(files: list[Parts]) -> int:
    """The number of outer folders that contain everything else."""
    depth = 0
    while files:
        outer = {parts[depth] for parts in files if len(parts) > depth + 1}
        if len(outer) != 1 or outer.pop().lower() in (*_PARTS, *_TEST):
            return depth
        if not any(len(parts) > depth + 2 for parts in files):  # else it is the one class that there is
            return depth
        depth += 1
    return depth


def _split_names(outer: set[str]) -> dict[str, Part | None] | None:
    """The part of each folder name (None: a test part beside a validation part); None if the folders are classes."""
    lower = {name: name.lower() for name in outer}
    known = {name: _PARTS.get(low) for name, low in lower.items()}
    tests = [name for name, low in lower.items() if low in _TEST]
    if any(part is None for name, part in known.items() if name not in tests):
        return None
    if "train" not in known.values():
        if outer - set(tests) or len(outer) == 1:
            raise refuse(f"The archive has {', '.join(sorted(outer))} but no train/ beside it.")
        return None
    if tests and "validation" not in known.values():
        known |= dict.fromkeys(tests, "validation")
    return known


def _require_images(places: dict[str, tuple[Part | None, str]], folders: set[str]) -> None:
    trained = {label for part, label in places.values() if part != "validation"}
    named = folders | {label for _, label in places.values()}
    problems = Problems()
    for label in sorted(named - trained):
        if not hidden((label,)):
            problems.add(f"The class {label!r} has no images to train on: fill its folder, or remove it.")
    problems.raise_any()


def _left_out(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"Left out, as they lie in no class's folder: {', '.join(names[:_LISTED])}{more}."
