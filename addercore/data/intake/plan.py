"""Checks the result of the first reading as a whole: classes, shapes, and the position of each image."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from addercore.config import IntakeOptions
from addercore.data.intake.images import BadImage, channels_of
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import Problems, refuse
from addercore.data.intake.sources import Example, Part, Source

FALLBACK_SIZE: Final = (64, 64)  # of images that differ
MAX_NAME: Final = 100  # characters of a class's name


@dataclass(slots=True)
class Survey:
    """What was found of every example, in the order of the source."""

    keys: list[str | int] = field(default_factory=list)
    labels: list[str | int] = field(default_factory=list)
    parts: list[Part | None] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    problems: Problems = field(default_factory=Problems)

    def note(self, example: Example) -> None:
        if isinstance(example.image, BadImage):
            self.problems.add(f"{example.place} {example.image}.")
            return
        self.keys.append(example.key)
        self.labels.append(example.label)
        self.parts.append(example.part)
        self.sizes[(example.image.shape[0], example.image.shape[1])] += 1
        self.channels[channels_of(example.image)] += 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The canonical dataset without its pixels."""

    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # (c, h, w)
    labels: list[int]  # of each example, in the source's order
    slots: list[tuple[Part, int]]  # where each example goes
    train_size: int
    validation_size: int
    notes: list[str]


def plan(survey: Survey, source: Source, options: IntakeOptions, limits: Limits) -> Plan:
    """Plans the dataset. Raises BadDataset with everything that is wrong."""
    survey.problems.raise_any()
    if not survey.keys:
        raise refuse("The upload has no images.")
    classes, labels = _classes(survey, source.classes, limits)
    channels = _channels(survey, options)
    size = options.size or (next(iter(survey.sizes)) if len(survey.sizes) == 1 else FALLBACK_SIZE)
    notes = list(source.notes)
    if options.size is None and len(survey.sizes) > 1:
        notes.append(f"The images have {len(survey.sizes):,} different sizes; all became 64×64. size sets another.")
    total = len(labels) * channels * size[0] * size[1]
    if total > limits.canonical_bytes:
        raise refuse(
            f"{len(labels):,} images of {channels}×{size[0]}×{size[1]} take {total:,} bytes; at most "
            f"{limits.canonical_bytes:,} are taken. Give a smaller size."
        )
    parts = _parts(survey, labels, options, classes, notes)
    slots, sizes = _slots(survey, parts)
    _require_trained(classes, labels, parts)
    shape = (channels, size[0], size[1])
    return Plan(classes, shape, labels, slots, sizes["train"], sizes["validation"], notes)


def _classes(survey: Survey, names: list[str] | None, limits: Limits) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the class index of each example."""
    if all(isinstance(label, str) for label in survey.labels):
        ordered = names if names is not None else sorted({str(label) for label in survey.labels}, key=_natural)
        numbers = {name: number for number, name in enumerate(ordered)}
        for key, label in zip(survey.keys, survey.labels, strict=True):
            if label not in numbers:
                survey.problems.add(f"The label of image {key} is {str(label)[:40]!r}, which is none of the classes.")
        survey.problems.raise_any()
        found = [numbers[str(label)] for label in survey.labels]
    else:
        found = [int(label) for label in survey.labels]
        known = limits.classes if names is None else len(names)
        most = f"there are {known} classes" if names else f"at most {known:,} classes are taken"
        for key, label in zip(survey.keys, found, strict=True):
            if not 0 <= label < known:
                survey.problems.add(f"The label of image {key} is {label}; {most}, numbered from 0 on.")
        survey.problems.raise_any()
        ordered = names if names is not None else [str(number) for number in range(max(found) + 1)]
    for name in ordered:
        if not name.strip() or len(name) > MAX_NAME or "\x00" in name:
            survey.problems.add(f"The class {name[:40]!r} needs a name of 1 to {MAX_NAME} characters.")
    if len(set(ordered)) < len(ordered):
        survey.problems.add("Two classes have the same name.")
    if len(ordered) < 2:
        survey.problems.add(f"There is one class only, {ordered[0]!r}; a classifier needs two or more.")
    if len(ordered) > limits.classes:
        survey.problems.add(f"There are {len(ordered):,} classes; at most {limits.classes:,} are taken.")
    survey.problems.raise_any()
    return tuple(ordered), found


def _natural(name: str) -> tuple[int, int, str]:
    """Sorts numbers by value, before other names."""
    return (0, int(name), name) if name.isascii() and name.isdecimal() and len(name) < 10 else (1, 0, name)


def _channels(survey: Survey, options: IntakeOptions) -> int:
    if options.channels is not None:
        return options.channels
    if len(survey.channels) > 1:
        raise refuse(
            f"{survey.channels[1]:,} images are grey and {survey.channels[3]:,} in colour. Say with channels (1 or 3) "
            "what all shall become."
        )
    return next(iter(survey.channels))


def _parts(
    survey: Survey, labels: list[int], options: IntakeOptions, classes: tuple[str, ...], notes: list[str]
) -> list[Part]:
    """The parts of the upload, or a choice from each class that depends only on the seed and the upload."""
    if "validation" in survey.parts:
        missing = set(range(len(classes))) - {
            label for label, part in zip(labels, survey.parts, strict=True) if part == "validation"
        }
        notes += [
            f"No image of {classes[label]!r} validates: the validation part has none." for label in sorted(missing)
        ]
        return ["validation" if part == "validation" else "train" for part in survey.parts]
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    parts: list[Part] = ["train"] * len(labels)
    for label, indices in sorted(members.items()):
        chosen = min(len(indices) - 1, max(1, round(len(indices) * options.validation_fraction)))
        if chosen == 0:
            notes.append(f"{classes[label]!r} has a single image: it trains, and none validates.")
        drawn = sorted(indices, key=lambda index: _lot(options.seed, survey.keys[index]))
        for index in drawn[:chosen]:
            parts[index] = "validation"
    if "validation" not in parts:
        raise refuse("Every class has a single image: none is left to validate. Add images.")
    return parts


def _lot(seed: int, key: str | int) -> bytes:
    """A hash instead of a random number: the same on every machine and with every version of a library."""
    return hashlib.sha256(f"{seed} {key}".encode()).digest()


def _slots(survey: Survey, parts: list[Part]) -> tuple[list[tuple[Part, int]], Counter[Part]]:
    """Positions in the order of the keys, so that the order in the archive does not matter."""
    slots: list[tuple[Part, int]] = [("train", 0)] * len(parts)
    sizes: Counter[Part] = Counter()
    for index in sorted(range(len(parts)), key=lambda index: survey.keys[index]):
        slots[index] = (parts[index], sizes[parts[index]])
        sizes[parts[index]] += 1
    return slots, sizes


def _require_trained(classes: tuple[str, ...], labels: list[int], parts: list[Part]) -> None:
    trained = {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    problems = Problems()
    for number, name in enumerate(classes):
        if number not in trained:
            problems.add(f"The class {name!r} has no images to train on: add some, or remove it.")
    problems.raise_any()
