"""Users' own datasets as they are uploaded: names, formats told by content, and the choices of who uploads."""

import re
from dataclasses import dataclass
from typing import Final

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
_FOREIGN: Final = (
    (b"Rar!\x1a\x07", "a RAR archive (pack it as zip)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (pack it as zip)"),
    (b"\xfd7zXZ\0", "packed with xz (pack it with gzip)"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard (pack it with gzip)"),
    (b"\x89HDF\r\n", "an HDF5 file (write its arrays with np.savez)"),
    (b"MATLAB 5.0", "a MATLAB file (write its arrays with np.savez)"),
    (b"\x93NUMPY", "a single array (write images and labels with np.savez)"),
    (b"ARROW1", "an Arrow file (write it as Parquet)"),
    (b"\0\0\x08", "a single IDX file (pack images and labels as one zip)"),
    (b"\x80", "a Python pickle, which is never read (write its arrays with np.savez)"),
    (b"\x89PNG", "a single image (pack a folder for each class as zip)"),
    (b"\xff\xd8\xff", "a single image (pack a folder for each class as zip)"),
    (b"GIF8", "a single image (pack a folder for each class as zip)"),
)


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


def unknown_format(head: bytes) -> str:
    """Why a file that begins with `head` is not taken, with the known formats; continues a sentence about it."""
    found = next((f"is {what}; that " for magic, what in _FOREIGN if head.startswith(magic)), "")
    return f"{found}is none of the known formats: {'; '.join(FORMATS.values())}"
