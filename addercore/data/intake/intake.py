"""`take_in`: converts an upload to the canonical file and the description of a dataset."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from addercore.config import DatasetInfo, IntakeOptions
from addercore.config.uploads import SNIFF_BYTES, sniff, unknown_format
from addercore.data.intake.archives import Tar, Zip
from addercore.data.intake.canonical import CanonicalFile
from addercore.data.intake.contents import Between, Contents
from addercore.data.intake.images import BadImage, fit
from addercore.data.intake.known import open_archive
from addercore.data.intake.limits import Limits
from addercore.data.intake.npz import open_npz
from addercore.data.intake.plan import Plan, Survey, plan
from addercore.data.intake.preview import contact_sheet
from addercore.data.intake.problems import notes_of, refuse
from addercore.data.intake.ranges import Pixels, group_of
from addercore.data.intake.sources import Source
from addercore.data.intake.tables import ParquetSource, Table
from addercore.errors import Stopped

EVERY: Final = 64  # examples between two looks at the callbacks
DIGITS: Final = 6  # of mean and standard deviation

Progress = Callable[[float, int], None]
"""Gets the fraction that is done, and the number of images looked at or written."""


@dataclass(frozen=True, slots=True)
class Intake:
    """The result of an upload."""

    info: DatasetInfo
    format: str
    notes: list[str]  # what was left out or decided, a sentence each


def take_in(
    upload: Path,
    target: Path,
    name: str,
    options: IntakeOptions = IntakeOptions(),
    *,
    preview: Path | None = None,
    limits: Limits = Limits(),
    on_progress: Progress = lambda fraction, images: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Intake:
    """Writes the images of `upload` to `target` (see `canonical`), and describes them as the dataset `name`.

    Temporary files are beside `target`. Equal images, labels and options give equal bytes.

    Args:
        upload: the file as it was sent.
        target: where the canonical file goes.
        name: of the dataset.
        options: what the uploader chose.
        preview: where a contact sheet goes (PNG), if at all.
        limits: how much an upload may be.
        on_progress: gets the fraction that is done and the number of images, now and then.
        should_stop: asked now and then whether to end.

    Raises:
        BadDataset: what is wrong, every corrupt image by name.
        Stopped: `should_stop` said so.
        OSError: the disk is full, for one.
    """

    def between() -> None:
        if should_stop():
            raise Stopped("stopped on request while a dataset was read")

    kind = _format(upload)
    source = _open(kind, upload, target.parent, options, limits, between)
    survey = Survey(options)
    for number, example in enumerate(source.examples()):
        survey.note(example)
        if number % EVERY == 0:
            between()
            on_progress(example.done / 2, number)
    made = plan(survey, source, options, limits)
    moments = _write(target, source, made, set(survey.bad), preview, on_progress, between)
    on_progress(1.0, len(made.labels))
    return Intake(_info(name, kind, made, moments), kind, notes_of(made.notes))


def _format(upload: Path) -> str:
    with upload.open("rb") as file:
        head = file.read(SNIFF_BYTES)
    found = sniff(head)
    if found is None:
        raise refuse(f"The file {unknown_format(head)}.")
    return found


def _open(kind: str, upload: Path, folder: Path, options: IntakeOptions, limits: Limits, between: Between) -> Source:
    if kind == "npz":
        return open_npz(upload, folder, limits, between, options.transparent_on)
    if kind == "parquet":
        return ParquetSource([Table(upload, "The table", None)], limits, options.named_columns, options.transparent_on)
    archive = Zip(upload, limits) if kind == "zip" else Tar(upload, limits)
    return open_archive(Contents(archive, limits, between), folder, options, between)


class _Moments:
    """Mean and standard deviation of the training images by channel, from exact integer sums."""

    def __init__(self, channels: int) -> None:
        self._sums, self._squares, self._count = [0] * channels, [0] * channels, 0

    def add(self, image: Pixels) -> None:
        """Adds one image (c, h, w)."""
        flat = image.reshape(len(image), -1).astype(np.int64)
        self._count += flat.shape[1]
        for channel, values in enumerate(flat):
            self._sums[channel] += int(values.sum())
            self._squares[channel] += int((values * values).sum())

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """For pixels in 0…1. A constant channel gets the standard deviation 1."""
        n = self._count
        means = tuple(round(total / n / 255, DIGITS) for total in self._sums)
        variances = [(n * square - total**2) / n**2 for total, square in zip(self._sums, self._squares, strict=True)]
        if not any(variances):
            raise refuse("All pixels of the training images have one value: there is nothing to learn from.")
        spreads = tuple(max(round(math.sqrt(v) / 255, DIGITS), 10.0**-DIGITS) if v else 1.0 for v in variances)
        return means, spreads


def _write(
    target: Path,
    source: Source,
    made: Plan,
    bad: set[str],
    preview: Path | None,
    on_progress: Progress,
    between: Between,
) -> _Moments:
    """The second reading; `bad` are the places of the images that are left out."""
    moments, number = _Moments(made.shape[0]), 0
    with CanonicalFile(target, made) as file:
        for example in source.examples():
            if isinstance(example.image, BadImage):
                if example.place in bad:
                    continue
                raise refuse(f"{example.place} {example.image}.")  # it was a good one at the first reading
            values = example.image.values
            image = fit(made.scales[group_of(values)].apply(values), made.shape[0], made.shape[1:])
            part, slot = made.slots[number]
            file.put(part, slot, image)
            if part == "train":
                moments.add(image)
            if number % EVERY == 0:
                between()
                on_progress((1 + example.done) / 2, number)
            number += 1
        if preview is not None:
            contact_sheet(made, file.get, preview)
    return moments


def _info(name: str, kind: str, made: Plan, moments: _Moments) -> DatasetInfo:
    mean, std = moments.mean_and_std()
    total = made.train_size + made.validation_size
    sizes = "×".join(map(str, made.shape[1:]))
    colour = "grey" if made.shape[0] == 1 else "colour"
    return DatasetInfo(
        name=name,
        description=f"{total:,} {colour} images, {sizes}; {made.validation_size:,} of them validate",
        source=f"an upload ({kind})",
        input_shape=made.shape,
        stored_shape=made.shape[1:],
        classes=made.classes,
        train_size=made.train_size,
        validation_size=made.validation_size,
        mean=mean,
        std=std,
    )
