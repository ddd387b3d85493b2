"""Users' own datasets as they are uploaded: names, formats told by content, and the choices of who uploads."""

import re
from dataclasses import dataclass
from typing import Final

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


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """What the uploader chose."""

    size: tuple[int, int] | None = None  # (h, w); None: the images' common size, else 64×64
    channels: int | None = None  # 1 or 3; None: as the images are
    validation_fraction: float = 0.15  # of each class, where the upload has no validation part of its own
    seed: int = 0  # of that choice
    on_bad_image: str = "fail"  # or "skip", at most `max_skipped` of them
    max_skipped: int = 100
    transparent_on: str = "white"  # the ground of transparent pixels: white, black, or refuse
    value_range: str = "auto"  # of arrays and deep images: 0..1, 0..255, -1..1, bits
    columns: tuple[str | None, str | None] = (None, None)  # of a table: of images and of labels; None: by their names


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
