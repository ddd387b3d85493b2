"""Users' own datasets as they are uploaded: names, formats told by content, and the choices of who uploads."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from addercore.config.fields import WHOLE, Form, Section, Seed

FORMATS: Final[dict[str, str]] = {
    "npz": ".npz with x_train, y_train and optionally x_test, y_test, or with images, labels",
    "zip": "zip of a folder of images for each class, optionally below train/ and val/",
    "tar": "tar (plain or with gzip or bzip2) of the same",
    "parquet": "Parquet with the columns image and label",
}
SNIFF_BYTES: Final = 66_000
"""Of the beginning of a file, enough for `sniff`: a zip's first name may have 65,535."""
MAX_SIDE: Final = 1024  # pixels of the images that trainings read
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_PREFIX: Final = "ds_"

_ZIP_ENTRY: Final = 30  # bytes of a zip's local header before the name
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh")


Side = Annotated[int, Field(ge=1, le=MAX_SIDE), WHOLE]


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


def unknown_format() -> str:
    """A sentence that lists the known ones."""
    return f"is none of the known formats: {'; '.join(FORMATS.values())}"
