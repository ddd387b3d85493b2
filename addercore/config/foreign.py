"""Files of formats that are not taken, told by their first bytes, and the way from each to one that is."""

import re
from dataclasses import dataclass
from math import isqrt
from typing import Final


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file is ("a RAR archive"), and the way: of an upload, and of one among images ("": there is none)."""

    what: str
    whole: str
    inside: str


def _group(whole: str, inside: str, *kinds: tuple[bytes, str]) -> tuple[tuple[bytes, Foreign], ...]:
    return tuple((magic, Foreign(what, whole, inside)) for magic, what in kinds)


_TO_NPZ: Final = "write its arrays with np.savez", "put all arrays into one .npz and upload that"
_TO_PNG: Final = "convert the images to PNG and pack a folder for each class as zip", "convert it to PNG"
_WENT_WRONG: Final = "its download went wrong", "its download went wrong"
_MAGIC: Final = (
    *_group(
        "pack it as zip",
        "unpack it, and pack its folders once",
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    ),
    *_group(
        "pack it with gzip",
        "unpack it",
        (b"\xfd7zXZ\0", "packed with xz"),
        (b"\x28\xb5\x2f\xfd", "packed with Zstandard"),
        (b"\x04\x22\x4d\x18", "packed with LZ4"),
        (b"\x1f\x9d", "packed with compress"),
    ),
    *_group(
        *_TO_NPZ,
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"MATLAB 5.0", "a MATLAB file"),
        (b"SIMPLE  =", "a FITS file"),
        (b"CDF\x01", "a netCDF file"),
        (b"CDF\x02", "a netCDF file"),
        (b"SQLite format 3\0", "an SQLite database"),
    ),
    *_group("write images and labels with np.savez", _TO_NPZ[1], (b"\x93NUMPY", "a single array")),
    *_group("write it as Parquet", "pack the tables alone", (b"ARROW1", "an Arrow file"), (b"FEA1", "a Feather file")),
    *_group("pack images and labels as one zip", "pack the IDX files alone", (b"\0\0\x08", "a single IDX file")),
    *_group(*_TO_NPZ, (b"\x80", "a Python pickle, which is never read")),
    *_group(
        "pack a folder for each class as zip",
        "",
        (b"\x89PNG", "a single image"),
        (b"\xff\xd8\xff", "a single image"),
        (b"GIF8", "a single image"),
        (b"II*\0", "a single image"),
        (b"MM\0*", "a single image"),
    ),
    *_group(
        *_TO_PNG,
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"8BPS", "a Photoshop file"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"\0\0\x01\0", "an icon"),
        (b"DDS ", "a texture (DDS)"),
    ),
)
_TEXTS: Final = (
    *_group(
        "run git lfs pull and send the file again",
        "run git lfs pull and pack again",
        (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
    ),
    *_group(*_WENT_WRONG, (b"<!doctype html", "a web page"), (b"<html", "a web page")),
    *_group(*_TO_PNG, (b"%!ps", "PostScript, which is never run"), (b"<svg", "an SVG drawing")),
    *_group(_TO_PNG[0], "convert its pictures to PNG", (b"%pdf", "a PDF")),
    *_group(*_TO_PNG, (b"<?xml", "XML, perhaps an SVG drawing")),
)
"""Beginnings of texts, in lower case and after spaces."""

_HEIC: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_DICOM: Final = 128  # bytes before the mark
_EXAMPLE: Final = 0x0A  # the first field of tf.train.Example, after a record's length (8) and its check (4)
_LABEL: Final = re.compile(r"label|labels|class|target|y|emotion", re.IGNORECASE)
_SEPARATORS: Final = ",;\t"


def foreign(head: bytes) -> Foreign | None:
    """What a file that begins with `head` is, if it is known and not taken. Longer heads tell more of texts."""
    if not head:
        return Foreign("empty", "send it again", "replace it")
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return Foreign("a HEIC photograph", _TO_PNG[0], "convert it to JPEG (phones can be set to take those)")
    if head[_DICOM : _DICOM + 4] == b"DICM":
        return Foreign("a DICOM image", *_TO_PNG)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**32:
        return Foreign("a safetensors file", *_TO_NPZ)
    if len(head) > 16 and head[12] == _EXAMPLE and 0 < int.from_bytes(head[:8], "little") < 2**32:
        return Foreign("a TFRecord file", *_TO_NPZ)
    return _text(head)


def _text(head: bytes) -> Foreign | None:
    start = head[:64].lstrip().lower()
    for magic, found in _TEXTS:
        if start.startswith(magic):
            return found
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) - error.start > 3:  # more than a character that the head cuts
            return None
        text = head[: error.start].decode("utf-8-sig")
    if not text or any(character < " " and character not in "\t\n\r\f" for character in text):
        return None
    if text.lstrip()[:1] in ("{", "["):
        return Foreign("JSON", _TO_NPZ[0], "")
    return _table(text) or Foreign("text", "pack a folder of images for each class as zip", "")


def _table(text: str) -> Foreign | None:
    """A table of text, with the lines that make an .npz of its pixels."""
    lines = text.splitlines()
    separator = max(_SEPARATORS, key=lines[0].count) if len(lines) > 1 else ""
    if not separator or separator not in lines[0]:
        return None
    heads = [cell.strip(' "') for cell in lines[0].split(separator)]
    named = not all(cell.replace(".", "", 1).isdigit() for cell in heads)
    last = named and _LABEL.fullmatch(heads[-1]) is not None
    side = isqrt(len(heads) - 1)
    shape = f"{side}, {side}" if side > 1 and side * side == len(heads) - 1 else "height, width"
    pixels, labels = ("t[:, :-1]", "t[:, -1]") if last else ("t[:, 1:]", "t[:, 0]")
    return Foreign(
        "a table of text",
        f"if its rows are pixels, t = np.loadtxt('mine.csv', delimiter={separator!r}, skiprows={int(named)}); "
        f"np.savez('mine.npz', images={pixels}.reshape(-1, {shape}), labels={labels}); if they name images, sort those "
        "into a folder for each class and pack that as zip",
        "",
    )
