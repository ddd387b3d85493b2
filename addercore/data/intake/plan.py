"""What the first reading found, checked as a whole: classes, shapes, and which image goes where."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from addercore.config import IntakeOptions
from addercore.data.intake.classes import RENUMBER, classes_of
from addercore.data.intake.images import BadImage, Remark, channels_of
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import Problems, refuse
from addercore.data.intake.ranges import Extents, Scale, scales
from addercore.data.intake.sources import Example, Part, Source

FALLBACK_SIZE: Final = (64, 64)  # of images that differ
SKIPPED_SHOWN: Final = 20  # images left out that are named


@dataclass(slots=True)
class Survey:
    """Notes on every example, in the order of the source."""

    options: IntakeOptions
    keys: list[str | int] = field(default_factory=list)
    labels: list[str | int] = field(default_factory=list)
    parts: list[Part | None] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    either: int = 0  # images that say neither grey nor colour
    extents: Extents = field(default_factory=Extents)
    remarks: dict[Remark, tuple[int, str]] = field(default_factory=dict)  # number of such images, and the first
    bad: dict[str, str | int] = field(default_factory=dict)  # label by place of what is left out
    bad_sentences: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)

    def note(self, example: Example) -> None:
        if isinstance(example.image, BadImage):
            self._note_bad(example, example.image)
            return
        picture = example.image
        self.keys.append(example.key)
        self.labels.append(example.label)
        self.parts.append(example.part)
        self.sizes[(picture.values.shape[0], picture.values.shape[1])] += 1
        self.extents.note(picture.values, example.place)
        if picture.either:
            self.either += 1
        else:
            self.channels[channels_of(picture.values)] += 1
        for remark in picture.remarks:
            number, first = self.remarks.get(remark, (0, example.place))
            self.remarks[remark] = number + 1, first

    def _note_bad(self, example: Example, reason: BadImage) -> None:
        sentence = f"{example.place} {reason}."
        if self.options.on_bad_image == "fail":
            self.problems.add(sentence)
            return
        self.bad[example.place] = example.label
        if len(self.bad) <= SKIPPED_SHOWN:
            self.bad_sentences.append(sentence)
        if len(self.bad) > self.options.max_skipped:
            raise refuse(
                f"More than {self.options.max_skipped:,} images cannot be used (max_skipped); the last one found: "
                f"{sentence}"
            )

    def require_classes(self) -> None:
        """Raises BadDataset where all images of a class are left out."""
        for label in sorted(map(str, set(self.bad.values()) - set(self.labels))):
            self.problems.add(f"The class {label!r} has no image that can be used: mend them, or remove its folder.")
        self.problems.raise_any()

    def notes(self) -> list[str]:
        """What was decided about images, and which were left out."""
        ground = self.options.transparent_on
        notes = [
            f"{remark.format(ground=ground)}: {number:,}, the first is {first}."
            for remark, (number, first) in self.remarks.items()
        ]
        if self.bad:
            notes.append(f"Images that cannot be used were left out, as on_bad_image is skip: {len(self.bad):,}.")
            notes += self.bad_sentences
        return notes


@dataclass(frozen=True, slots=True)
class Plan:
    """The canonical dataset before its pixels."""

    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # (c, h, w)
    labels: list[int]  # of each example, in the source's order
    slots: list[tuple[Part, int]]  # where each example goes
    train_size: int
    validation_size: int
    scales: dict[str, Scale]  # of each group of values
    notes: list[str]


def plan(survey: Survey, source: Source, options: IntakeOptions, limits: Limits) -> Plan:
    """Raises BadDataset with everything that is wrong."""
    survey.problems.raise_any()
    if not survey.keys:
        raise refuse("The upload has no images.")
    survey.require_classes()
    notes = [*source.notes, *survey.notes()]
    classes, labels = classes_of(survey.keys, survey.labels, source.classes, limits, notes)
    channels = _channels(survey, options)
    ranges = scales(survey.extents, options.value_range, notes)
    size = options.size or (next(iter(survey.sizes)) if len(survey.sizes) == 1 else FALLBACK_SIZE)
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
    _require_trained(classes, labels, parts, numbered=isinstance(survey.labels[0], int))
    shape = (channels, size[0], size[1])
    return Plan(classes, shape, labels, slots, sizes["train"], sizes["validation"], ranges, notes)


def _channels(survey: Survey, options: IntakeOptions) -> int:
    if options.channels is not None:
        return options.channels
    if len(survey.channels) > 1:
        raise refuse(
            f"{survey.channels[1]:,} images are grey and {survey.channels[3]:,} in colour. Say with channels (1 or 3) "
            "what all shall become."
        )
    return next(iter(survey.channels), 1)


def _parts(
    survey: Survey, labels: list[int], options: IntakeOptions, classes: tuple[str, ...], notes: list[str]
) -> list[Part]:
    """The upload's own parts, or a choice from each class that depends on nothing but the seed and what is uploaded."""
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
    """A hash in place of a random number: the same on every machine and in every version of a library."""
    return hashlib.sha256(f"{seed} {key}".encode()).digest()


def _slots(survey: Survey, parts: list[Part]) -> tuple[list[tuple[Part, int]], Counter[Part]]:
    """Places in the order of the keys, so that an archive's own order does not matter."""
    slots: list[tuple[Part, int]] = [("train", 0)] * len(parts)
    sizes: Counter[Part] = Counter()
    for index in sorted(range(len(parts)), key=lambda index: survey.keys[index]):
        slots[index] = (parts[index], sizes[parts[index]])
        sizes[parts[index]] += 1
    return slots, sizes


def _require_trained(classes: tuple[str, ...], labels: list[int], parts: list[Part], numbered: bool) -> None:
    """Raises BadDataset where a class has nothing to train on: of numbers, where there is a gap between them."""
    trained = {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    hint = f"; if it is no class, renumber: {RENUMBER}" if numbered else ""
    problems = Problems()
    for number, name in enumerate(classes):
        if number not in trained:
            problems.add(f"The class {name!r} has no images to train on: add some, or remove it{hint}.")
    problems.raise_any()
