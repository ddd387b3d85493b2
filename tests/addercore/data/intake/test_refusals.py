"""Uploads that are no datasets, or are meant to do harm: refused, and every problem named."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.config.foreign import foreign
from addercore.data.intake import BadDataset, Limits, take_in
from tests.addercore.data.intake.taking import problems, refusal, taken
from tests.support.uploads import arrays, folders, npz, png, tarred, written, zipped

GOOD = folders("cat", "dog")


def refused(folder: Path, data: bytes, *words: str, limits: Limits = Limits()) -> None:
    """One problem, with all the words."""
    problem = refusal(folder, data, limits=limits)
    for word in words:
        assert word in problem, problem


class Harm:
    """Whoever unpickles it makes the file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


# Archives


@pytest.mark.parametrize(
    "name", ["../cat/x.png", "cat/../../x.png", "/etc/x.png", "C:\\x\\y.png", "cat\\..\\..\\x.png"]
)
def test_names_that_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    for data in (zipped(GOOD | {name: png()}), tarred(GOOD | {name: png()})):
        refused(tmp_path, data, "name", "Pack the folder from beside it")
    assert {path.name for path in tmp_path.iterdir()} == {"upload"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, tarred({**GOOD, "cat/x.png": link("cat/x.png", kind)}), "link, device", "cat/x.png")


def test_links_in_a_zip(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        info = zipfile.ZipInfo("cat/x.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path, sink.getvalue(), "link or device", "cat/x.png")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(zipped(GOOD))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    refused(tmp_path, bytes(data), "encrypted", "without one")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_in_an_unusual_way(tmp_path: Path, method: int) -> None:
    refused(tmp_path, zipped(GOOD, method), "deflate")


SMALL = Limits(free_bytes=100_000, ratio=20)


def test_bombs_by_ratio(tmp_path: Path) -> None:
    bomb = GOOD | {"cat/bomb.png": bytes(1_000_000)}
    refused(tmp_path, zipped(bomb), "archive bomb", "times its", limits=SMALL)
    refused(tmp_path, tarred(bomb, "w:gz"), "archive bomb", limits=SMALL)
    zeros = npz(images=np.zeros((100, 100, 100), np.uint8), labels=np.arange(100) % 2)
    refused(tmp_path, zeros, "archive bomb", limits=SMALL)


def test_bombs_by_size_and_number(tmp_path: Path) -> None:
    refused(tmp_path, zipped(GOOD), "archive bomb", limits=Limits(unpacked_bytes=500))
    refused(tmp_path, tarred(GOOD), "archive bomb", limits=Limits(unpacked_bytes=500))
    refused(tmp_path, zipped(GOOD), "more than 5 files", limits=Limits(entries=5))
    refused(tmp_path, tarred(GOOD), "more than 5 files", limits=Limits(entries=5))


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """The directory says 10 bytes, 1 MB comes out: no more than 10 are taken, and their checksum is wrong."""
    data = bytearray(zipped(GOOD | {"cat/bomb.png": bytes(1_000_000)}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    refused(tmp_path, bytes(data), "cat/bomb.png", "CRC")


def test_a_zip_whose_directory_is_a_bomb(tmp_path: Path) -> None:
    data = bytearray(zipped(GOOD))
    at = data.rindex(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", 2**31)
    refused(tmp_path, bytes(data), "directory", "too many files")


def long_directory(data: bytes, entries: int) -> bytes:
    """The archive with a directory of `entries`, given by the record of 64-bit archives alone."""
    end = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack_from("<LL", data, end + 12)
    directory = data[start : start + size]
    one = directory[: directory.index(b"PK\x01\x02", 4)]
    directory += b"".join(one.replace(b"cat/0", b"%05d" % i) for i in range(entries))
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
    return data[:start] + directory + record + locator + data[end:]


def test_a_directory_that_hides_its_length_is_counted(tmp_path: Path) -> None:
    """Its short form says 9 entries in a few bytes; the library goes by the long one."""
    data = long_directory(zipped(GOOD), 2000)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.infolist()) == 2008
    refused(tmp_path, data, "more than 1,000 files", limits=Limits(entries=1000))
    refused(tmp_path, data, "directory is longer than", limits=Limits(entries=100))


def test_a_tar_whose_header_is_a_bomb(tmp_path: Path) -> None:
    info = tarfile.TarInfo("cat/x.png")
    info.pax_headers = {"comment": "x" * 3_000_000}
    refused(tmp_path, tarred({**GOOD, "cat/x.png": info}, "w:gz"), "header of more than")


def test_archives_that_are_cut_off(tmp_path: Path) -> None:
    big = folders("cat", "dog", size=(40, 40))
    for data in (zipped(big), tarred(big), tarred(big, "w:gz"), tarred(big, "w:bz2")):
        for part in (3, 2):
            refused(tmp_path, data[: len(data) * (part - 1) // part], "cut off or damaged")


def test_a_tar_with_a_damaged_header_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    data = bytearray(tarred(GOOD))
    at = data.index(b"dog/2.png")
    data[at + 148 : at + 156] = b"99999999"  # its checksum
    refused(tmp_path, bytes(data), "cut off or damaged")


def test_a_damaged_file_in_a_whole_zip_is_named(tmp_path: Path) -> None:
    data = bytearray(zipped(GOOD, zipfile.ZIP_STORED))
    at = data.index(b"cat/2.png") + 60
    data[at] ^= 0xFF
    refused(tmp_path, bytes(data), "cat/2.png", "CRC")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    one = tarred({"cat/1.png": png()})
    refused(tmp_path, one[:1024] + tarred(GOOD), "two files 'cat/1.png'")


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xef\xbb\xbf", b"\xfe\xff", b"\n", b",", b"\0", b"a,b\n", b"\n\n", bytes(200), b"\x40" * 9]
)
def test_no_beginning_is_too_odd_to_be_told(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "none of the known formats")
    for end in range(len(data)):
        foreign(data[:end])


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80\x05K.", b"GIF89a", pickle.dumps({"x_train": [1]})])
def test_unknown_formats(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "none of the known formats", ".npz", "zip", "tar", "Parquet")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello\n", "is text, none of the known formats"),
        ("grüße\n".encode() * 40_000, "is text, none of the known formats"),
        (b"Rar!\x1a\x07\x01\0", "is a RAR archive, none of the known formats; pack it as zip"),
        (b"\xfd7zXZ\0", "is packed with xz, none of the known formats; pack it with gzip"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, none of the known formats; write its arrays with np.savez"),
        (b'\x40\0\0\0\0\0\0\0{"x": {"dtype": "U8"}}', "is a safetensors file"),
        (struct.pack("<QI", 20, 0xA282EAD8) + b"\n\x12\n\x10\n\x05image", "is a TFRecord file"),
        (b'\n{"images": [1, 2]}', "is JSON"),
        (
            b"\n<!DOCTYPE html><title>Sign in</title>",
            "is a web page, none of the known formats; its download went wrong",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "run git lfs pull and send the file again"),
        (b"II*\0\x08\0\0\0", "is a single image, none of the known formats; pack a folder for each class as zip"),
        (bytes(128) + b"DICM", "is a DICOM image, none of the known formats; convert the images to PNG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_known_file_of_another_kind_is_named_with_the_way(tmp_path: Path, data: bytes, words: str) -> None:
    refused(tmp_path, data, words)
    for packed, packer in ((gzip.compress(data), "gzip"), (bz2.compress(data), "bzip2")):
        if data.strip(b"\0"):
            refused(tmp_path, packed, f"is packed with {packer}; what is in it", words)


@pytest.mark.parametrize("packer", [gzip, bz2], ids=["gzip", "bzip2"])
def test_what_would_be_taken_is_to_be_unpacked(tmp_path: Path, packer: Any) -> None:
    refused(tmp_path, packer.compress(npz(**arrays())), ".npz with x_train", "Unpack it, and send what comes out")
    refused(tmp_path, packer.compress(zipped(GOOD)), "zip of a folder", "Unpack it, and send what comes out")


@pytest.mark.parametrize(
    ("head", "cells", "sizes"),
    [
        ("label,pixel1,pixel2,pixel3,pixel4\n", lambda label, row: ",".join(map(str, [label, *row])), 6),
        ("p1;p2;p3;p4;class\r\n", lambda label, row: ";".join(map(str, [*row, label])), 6),
        ("", lambda label, row: "\t".join(map(str, [label, *row])), 6),
    ],
    ids=["label first", "label last", "no names"],
)
def test_the_lines_for_a_table_of_pixels_make_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, cells: Any, sizes: int
) -> None:
    rows = np.random.default_rng(3).integers(0, 256, (sizes, 4))
    rows[0] = 0, 255, 128, 255
    table = head + "\n".join(cells(number % 2, row) for number, row in enumerate(rows)) + "\n"
    told = refusal(tmp_path, table.encode())
    lines = re.search(r"t = np\.loadtxt.*labels=[^;]*\)", told)
    assert lines, told
    (tmp_path / "mine.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    exec(lines[0], {"np": np})
    found = taken(tmp_path, (tmp_path / "mine.npz").read_bytes())
    assert sorted(found.images("0").reshape(-1, 4).tolist()) == sorted(rows[::2].tolist())
    assert sorted(found.images("1").reshape(-1, 4).tolist()) == sorted(rows[1::2].tolist())


def test_an_archive_of_tables_alone(tmp_path: Path) -> None:
    for data in (zipped({"train.csv": b"label,p\n", "test.csv": b"p\n"}), tarred({"mnist/train.csv": b"0,1\n"})):
        refused(tmp_path, data, "no images, only texts and tables", "train.csv", "np.savez")


def test_images_in_one_folder_with_their_labels_in_a_table(tmp_path: Path) -> None:
    files = folders("images") | {"labels.csv": b"1.png,cat\n"}
    refused(
        tmp_path,
        zipped(files),
        "one class only, 'images'",
        "Labels in a table",
        "not read (the archive has labels.csv)",
    )
    alone = {"1.png": png(), "2.png": png(), "labels.csv": b"1.png,cat\n"}
    refused(tmp_path, zipped(alone), "no folders of images", "not read (the archive has labels.csv)")


def test_empty_archives(tmp_path: Path) -> None:
    for data in (zipped({}), zipped({".DS_Store": b"x"}), tarred({".DS_Store": b"x"}, "w:gz")):
        refused(tmp_path, data, "empty")
    refused(tmp_path, zipped({"a.png": png(), "b.png": png()}), "no folders of images")


# Images


def test_corrupt_images_are_named_one_by_one(tmp_path: Path) -> None:
    whole = png(1, (40, 40), 3, format="JPEG")
    files = GOOD | {"cat/cut.jpg": whole[: len(whole) // 2], "dog/text.png": b"no image", "dog/zero.png": b""}
    found = problems(tmp_path, zipped(files))
    assert [problem.split(" ")[0] for problem in found] == ["cat/cut.jpg", "dog/text.png", "dog/zero.png"]
    assert "truncated" in found[0]
    assert "no image of a known format" in found[1]


def test_of_many_corrupt_images_a_hundred_are_named(tmp_path: Path) -> None:
    files = GOOD | {f"cat/bad{i}.png": b"bad" for i in range(250)}
    with pytest.raises(BadDataset, match="and 247 more") as refused:
        take_in(written(tmp_path, zipped(files)), tmp_path / "canonical", "ds_bad")
    assert len(refused.value.problems) == 101
    assert "150 more" in refused.value.problems[-1]


@pytest.mark.parametrize(("side", "words"), [(10_000, "10000×10000 pixels"), (60_000, "far more pixels")])
def test_absurd_images(tmp_path: Path, side: int, words: str) -> None:
    """The header is enough: nothing is decoded."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    huge += b"\x00\x00\x00\x00IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    refused(tmp_path, zipped(GOOD | {"cat/huge.png": huge}), "cat/huge.png", words)


def test_images_that_take_too_much(tmp_path: Path) -> None:
    refused(tmp_path, zipped(GOOD), "64", limits=Limits(canonical_bytes=64))
    too_long = Limits(entry_bytes=100)
    for data in (zipped(GOOD), tarred(GOOD)):
        assert all("longer than 100 bytes" in problem for problem in problems(tmp_path, data, limits=too_long))


def test_grey_and_colour_mixed(tmp_path: Path) -> None:
    files = GOOD | {"cat/colour.png": png(5, channels=3)}
    refused(tmp_path, zipped(files), "8 images are grey and 1 in colour", "channels")


# Classes


def test_one_class(tmp_path: Path) -> None:
    refused(tmp_path, zipped(folders("cat")), "one class only", "'cat'")
    refused(tmp_path, npz(**arrays(classes=1)), "one class only")


def test_a_class_without_images(tmp_path: Path) -> None:
    sink = io.BytesIO(zipped(GOOD))
    with zipfile.ZipFile(sink, "a") as archive:
        archive.mkdir("bird")
    refused(tmp_path, sink.getvalue(), "'bird' has no images")
    folder = tarfile.TarInfo("bird")
    folder.type = tarfile.DIRTYPE
    refused(tmp_path, tarred({**GOOD, "bird": folder}), "'bird' has no images")
    only_validates = folders("cat", "dog", prefix="train/") | folders("cat", "fox", prefix="val/")
    refused(tmp_path, zipped(only_validates), "'fox' has no images to train on")
    given = arrays()
    gap = np.where(given["labels"] == 2, 5, given["labels"])
    found = problems(tmp_path, npz(images=given["images"], labels=gap))
    assert ["'2'" in found[0], "'4'" in found[1]] == [True, True]
    refused(tmp_path, zipped(folders("cat", "dog", prefix="val/")), "no train/")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y - 1, ["image 0 is -1", "from 0 on"]),
        (lambda y: y + 10_000, ["at most 10,000 classes"]),
        (lambda y: np.where(y == 1, np.nan, y), ["labels[1] is NaN"]),
        (lambda y: np.where(y == 1, np.inf, y), ["labels[1] is NaN or infinite"]),
        (lambda y: y + 0.5, ["labels[0] is 0.5"]),
        (lambda y: y[:-1], ["40 images", "39 labels"]),
        (lambda y: np.stack([y, y], 1), ["shape (40, 2)"]),
        (lambda y: y.astype(complex), ["type complex128"]),
        (lambda y: np.full(40, ""), ["needs a name of 1"]),
    ],
)
def test_labels_that_are_none(tmp_path: Path, change: Any, words: list[str]) -> None:
    given = arrays()
    found = problems(tmp_path, npz(images=given["images"], labels=change(given["labels"])))
    assert all(word in found[0] for word in words), found[0]


def test_labels_beyond_the_names_of_classes(tmp_path: Path) -> None:
    found = problems(tmp_path, npz(**arrays(8), classes=["x", "y"]))
    assert "The label of image 2 is 2, and 3 more are out of range; there are 2 classes" in found[0]


# Arrays


def test_pickles_in_an_npz_are_never_read(tmp_path: Path) -> None:
    harm = Harm(tmp_path / "unpickled")
    objects = np.array([harm] * 4, dtype=object)
    refused(tmp_path, npz(images=objects, labels=np.arange(4)), "images holds Python objects", "never read")
    refused(tmp_path, npz(**arrays() | {"labels": np.array([harm] * 40, dtype=object)}), "labels holds Python objects")
    files = {"images.npy": pickle.dumps(harm), "labels.npy": b""}
    refused(tmp_path, zipped(files), "images is a pickle, which is never read")
    assert not harm.mark.exists()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.full((40, 8, 8), np.nan), ["images[0] has pixels that are NaN or infinite"]),
        (np.full((40, 8, 8), np.inf), ["images[0] has pixels that are NaN or infinite"]),
        (np.full((40, 8, 8), 2.0), ["floats from 2 to 2", "no usual range"]),
        (np.full((40, 8, 8), 70_000), ["integers from 70000 to 70000", "at most 16 bits"]),
        (np.full((40, 8, 8), -1), ["integers from -1 to -1", "which one is black"]),
        (np.zeros((40, 8, 8), bool), ["one value"]),
        (np.zeros((40, 8, 8), complex), ["type complex128"]),
        (np.zeros((40, 8), np.uint8), ["shape (40, 8)"]),
        (np.zeros((40, 8, 8, 5), np.uint8), ["shape (40, 8, 8, 5)"]),
        (np.zeros((40, 3, 8, 3), np.uint8), ["(40, 3, 8, 3), which can be (N, h, w, c) and (N, c, h, w)"]),
        (np.zeros((40, 1, 8, 1), np.uint8), ["Save grey images as (N, h, w)"]),
        (np.zeros((40, 0, 8), np.uint8), ["shape (40, 0, 8)"]),
        (np.zeros((40, 8, 8), np.uint8), ["one value"]),
        (np.zeros((40, 8, 8), "V4"), ["type"]),
    ],
)
def test_pixels_that_are_none(tmp_path: Path, images: Any, words: list[str]) -> None:
    found = problems(tmp_path, npz(images=images, labels=np.arange(40) % 2))
    assert all(word in found[0] for word in words), found[0]


def test_arrays_that_are_missing_empty_or_cut_off(tmp_path: Path) -> None:
    given = arrays()
    refused(tmp_path, npz(a=given["images"], b=given["labels"]), "The file has a, b", "x_train and y_train")
    refused(tmp_path, npz(images=given["images"]), "no labels")
    refused(tmp_path, npz(x_test=given["images"], y_test=given["labels"]), "x_train")
    refused(tmp_path, npz(images=np.zeros((0, 8, 8), np.uint8), labels=np.zeros(0, int)), "no images")
    sink = io.BytesIO()
    np.save(sink, given["images"])
    labels = io.BytesIO()
    np.save(labels, given["labels"])
    cut = {"images.npy": sink.getvalue()[:-100], "labels.npy": labels.getvalue()}
    refused(tmp_path, zipped(cut), "images", "cut off or damaged")


def test_too_few_to_validate(tmp_path: Path) -> None:
    refused(tmp_path, zipped(folders("cat", "dog", images=1)), "none is left to validate")


def header_changed(data: bytes, member: str, old: bytes, new: bytes) -> bytes:
    """An npz whose array has other words in its header, of the same length."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert len(old) == len(new)
    assert old in files[member]
    return zipped(files | {member: files[member].replace(old, new, 1)})


def test_headers_of_arrays_that_no_library_expects(tmp_path: Path) -> None:
    given = npz(**arrays())
    for old, new in ((b"(40, 8, 8)", b"(-9, 8, 8)"), (b"(40, 8, 8)", b"(9**9,8,8)"), (b"{'descr'", b"{{descr'"),
                     (b"(40, 8, 8)", b"(40, 8, 8,"), (b"'shape'", b"'shap'e")):  # fmt: skip
        refused(tmp_path, header_changed(given, "images.npy", old, new), "cut off or damaged", "images")


def test_labels_that_are_one_number(tmp_path: Path) -> None:
    refused(tmp_path, npz(images=arrays()["images"], labels=np.int64(3)), "labels")


def test_archives_whose_directory_lies(tmp_path: Path) -> None:
    outside = bytearray(zipped(GOOD))
    struct.pack_into("<I", outside, outside.rindex(b"PK\x05\x06") + 16, 2**31 - 1)  # where the directory begins
    assert "damaged" in " ".join(problems(tmp_path, bytes(outside)))
    content = b"\x00\x00\x08\x01\x00\x00\x00\x02\x00\x01"
    idx = dict.fromkeys(("train-labels-idx1-ubyte", "train-images-idx3-ubyte"), content)
    torn = bytearray(zipped(idx, zipfile.ZIP_STORED))
    torn[torn.index(b"\x00\x00\x08\x01") + 9] ^= 1  # the content no longer has the checksum
    refused(tmp_path, bytes(torn), "is damaged in the archive", "Bad CRC-32")


@pytest.mark.parametrize("name", ["", "\0cat/1.png"])
@pytest.mark.parametrize("suffix", [".zip", ".npz"])
def test_an_entry_without_a_name(tmp_path: Path, name: str, suffix: str) -> None:
    data = io.BytesIO(zipped(GOOD) if suffix == ".zip" else npz(**arrays()))
    with zipfile.ZipFile(data, "a") as archive:
        info = zipfile.ZipInfo()
        info.filename = name
        archive.writestr(info, b"x")
    refused(tmp_path, data.getvalue(), "cut off or damaged", "no name")
