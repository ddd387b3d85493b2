"""Users' own datasets as they are uploaded: names, formats told by content, and the choices of who uploads."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from addercore.config.fields import WHOLE, Form, Section, Seed
from addercore.config.foreign import foreign
from addercore.config.predict import TransparentOn, ValueRange

FORMATS: Final[dict[str, str]] = {
    "npz": ".npz with x_train, y_train and optionally x_test, y_test, or with images, labels",
    "zip": "zip of a folder of images for each class, optionally below train/ and val/; of IDX files or Parquet tables",
    "tar": "tar (plain or with gzip or bzip2) of the same",
    "parquet": "Parquet with the columns image and label",
}
SNIFF_BYTES: Final = 66_000
"""Of the beginning of a file, enough for `sniff`: a zip's first name may have 65,535."""
MAX_SIDE: Final = 1024  # pixels of the images that trainings read
PREVIEW_NAME: Final = "preview.png"
"""Of a validation's contact sheet among its artifacts."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_PREFIX: Final = "ds_"

_ZIP_ENTRY: Final = 30  # bytes of a zip's local header before the name
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh")


Side = Annotated[int, Field(ge=1, le=MAX_SIDE), WHOLE]


class Columns(Section):
    """Which columns of a table hold the images and the labels; null: told by their names."""

    image: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class IntakeOptions(Section):
    """What the uploader of a dataset chose."""

    size: (
        Annotated[
            tuple[Side, Side],
            Field(strict=False),
            Form(f"[height, width], two integers from 1 to {MAX_SIDE}"),
        ]
        | None
    ) = None
    """(height, width) to which images are resized. Left out: their own size where all have the same, else 64×64."""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour), to which images are converted. Left out: as they are, where all are alike."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Part of each class that validates, where the upload has no validation part of its own."""
    seed: Seed = 0
    """Of the choice of that part."""
    on_bad_image: Literal["fail", "skip"] = "fail"
    """What becomes of an upload with images that cannot be read: it fails, or they are left out."""
    max_skipped: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] = 100
    """Images that may be left out so, at most."""
    transparent_on: TransparentOn = "white"
    """The ground on which transparent images are laid."""
    value_range: ValueRange = "auto"
    """What is black and what is white in arrays and 16-bit images; `bits`: 0 to the largest number of as many bits."""
    columns: Columns | None = None
    """Columns of a table, `{"image": …, "label": …}`. Left out: told by their names."""

    @property
    def named_columns(self) -> tuple[str | None, str | None]:
        """Those of images and of labels; None: told by its name."""
        return (None, None) if self.columns is None else (self.columns.image, self.columns.label)


def sniff(head: bytes) -> str | None:
    """The format of a file by its first `SNIFF_BYTES`, whatever it is called; None: none of `FORMATS`."""
    if head.startswith(b"PK\x03\x04"):
        length = int.from_bytes(head[26:28], "little")
        return "npz" if head[_ZIP_ENTRY : _ZIP_ENTRY + length].endswith(b".npy") else "zip"
    if head.startswith(b"PK\x05\x06"):
        return "zip"  # with nothing in it
    if head[257:262] == b"ustar" or head.startswith(_COMPRESSED):
        return "tar"
    return "parquet" if head.startswith(b"PAR1") else None


def unknown_format(head: bytes) -> str:
    """Why a file that begins with `head` is not taken, with the known formats; continues a sentence about it."""
    found, known = foreign(head), "; ".join(FORMATS.values())
    if found is None:
        return f"is none of the known formats: {known}"
    return f"is {found.what}, none of the known formats; {found.whole}. Known are {known}"
