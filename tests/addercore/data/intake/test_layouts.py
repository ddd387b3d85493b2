"""Folders of classes and parts as people have them: each image in its class and part, or the question that is open."""

from __future__ import annotations

import io
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from addercore.data.intake.parts import part_word, parts_among
from tests.addercore.data.intake.taking import refusal, taken
from tests.support.uploads import folders, tarred, zipped


def two_parts(train: str, other: str) -> dict[str, bytes]:
    """3 images a class to train on and 2 that validate."""
    return folders("cat", "dog", images=3, prefix=f"{train}/") | folders("cat", "dog", images=2, prefix=f"{other}/")


@pytest.mark.parametrize(
    ("train", "other"),
    [
        ("train", "val"),
        ("Train", "VALID"),
        ("training", "validation"),
        ("train", "dev"),
        ("train", "test"),
        ("training_set", "test_set"),
        ("TrainingSet", "TestSet"),
        ("my-train", "my-eval"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("cats_and_dogs_train", "cats_and_dogs_test"),
        ("data/train/images", "data/evaluation/images"),
        ("train_data/train", "train_data/testing"),
    ],
)
def test_a_folder_of_a_part_is_never_a_class(tmp_path: Path, train: str, other: str) -> None:
    found = taken(tmp_path, zipped(two_parts(train, other)))
    assert (found.classes, found.sizes) == (("cat", "dog"), (6, 4))


def test_parts_inside_each_class(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for label in ("cat", "dog"):
        for part, images in (("train", 3), ("val", 2), ("test", 1)):
            files |= folders(part, images=images, prefix=f"{label}/")
    found = taken(tmp_path, zipped(files))
    assert (found.classes, found.sizes) == (("cat", "dog"), (6, 4))
    assert "The folders test are left out." in found.notes


def test_a_part_without_labels_is_left_out(tmp_path: Path) -> None:
    files = two_parts("seg_train/seg_train", "seg_test/seg_test") | folders("seg_pred", prefix="seg_pred/")
    found = taken(tmp_path, zipped(files))
    assert (found.classes, found.sizes) == (("cat", "dog"), (6, 4))
    assert "seg_pred is left out" in found.notes


def test_a_vehicle_called_train(tmp_path: Path) -> None:
    """It holds images itself, as its neighbours do: no part does."""
    found = taken(tmp_path, zipped(folders("bus", "car", "train")))
    assert found.classes == ("bus", "car", "train")
    assert "The folder train is taken for a class" in found.notes


@pytest.mark.parametrize(
    ("files", "question"),
    [
        (
            folders("a", "b", prefix="train/") | folders("a", prefix="val/") | folders("x", prefix="more/"),
            "Are train, val parts or classes? Beside them the archive has more",
        ),
        (two_parts("fold1", "fold2"), "Are fold1, fold2 parts or classes? Each of them holds the folders cat, dog"),
        (
            two_parts("data/entrenamiento", "data/prueba") | folders("fox", prefix="data/entrenamiento/"),
            "Are entrenamiento, prueba parts or classes? Each of them holds the folders cat, dog",
        ),
        (folders("test", "other"), "Is test a part or a class?"),
        (folders("cat", "dog", "test"), "Is test a part or a class? Beside it the archive has cat, dog"),
        (folders("train", "dogs"), "Is train a part or a class?"),
        (folders("a", "b", prefix="train/") | folders("x", prefix="extra/"), "Is train a part or a class?"),
        (folders("a", "b", prefix="test/"), "no train/ beside it"),
        (folders("a", "b", prefix="test/") | folders("a", "b", prefix="val/"), "no train/ beside it"),
        (two_parts("train", "val") | folders("cat", "dog", prefix="dev/"), "dev, val are each a validation part"),
        (two_parts("train", "training") | folders("cat", "dog", prefix="val/"), "are each a train part"),
        (folders("train", "test"), "train holds images itself, and no folder for each class"),
        (two_parts("train/train", "train/val") | folders("a", prefix="test/"), "is a part and holds parts again"),
    ],
)
def test_what_cannot_be_told_is_asked(tmp_path: Path, files: dict[str, bytes], question: str) -> None:
    assert question in refusal(tmp_path, zipped(files))


def test_of_a_validation_and_a_test_part_the_first_validates(tmp_path: Path) -> None:
    found = taken(tmp_path, zipped(two_parts("train", "val") | folders("cat", "dog", images=5, prefix="test/")))
    assert found.sizes == (6, 4)
    assert "The folder test is left out: the validation part is val." in found.notes


@pytest.mark.parametrize("name", ["test_tube", "train_station", "devil", "evaluator", "trainer", "validity", "contest"])
def test_words_that_only_look_like_parts(name: str) -> None:
    assert parts_among({name, "harbour"}) == {}


def test_a_name_of_two_parts_is_none() -> None:
    assert part_word("train_test_split") is None


def test_deeper_folders_belong_to_their_class_with_a_note(tmp_path: Path) -> None:
    found = taken(tmp_path, zipped(folders("1", "2", prefix="cat/") | folders("1", prefix="dog/")))
    assert found.classes == ("cat", "dog")
    assert "belong to that class: cat/1, cat/2, dog/1" in found.notes


def test_a_class_in_another_case_is_asked_for(tmp_path: Path) -> None:
    files = folders("Cat", "dog", prefix="train/") | folders("cat", "dog", prefix="val/")
    assert "The class 'cat' has no images to train on: fill its folder, or remove it; or is it 'Cat'" in refusal(
        tmp_path, zipped(files)
    )


def test_files_of_systems_and_notes_are_left_out(tmp_path: Path) -> None:
    clutter = [
        "cat/thumbs.db",
        "cat/Thumbs.db",
        "dog/Desktop.ini",
        "dog/Icon\r",
        "dog/@eaDir/0.png/SYNOPHOTO_THUMB.jpg",
        "__MACOSX/cat/._0.png",
        "cat/._0.png",
        "cat/.DS_Store",
        "$RECYCLE.BIN/x.png",
        "cat/README.txt",
        "dog/labels.csv",
        "cat/0.xml",
        "notes.md",
    ]
    for data in (zipped(folders("cat", "dog") | dict.fromkeys(clutter, b"x")),):
        found = taken(tmp_path, data)
        assert (found.classes, sum(found.sizes)) == (("cat", "dog"), 8)
        assert "as operating systems and tools leave them: $RECYCLE.BIN/x.png" in found.notes
        assert "as they are texts and tables: cat/0.xml, cat/README.txt, dog/labels.csv, notes.md" in found.notes
        assert "\r" not in found.notes


def test_a_class_called_icon_stays(tmp_path: Path) -> None:
    assert taken(tmp_path, zipped(folders("Icon", "photo"))).classes == ("Icon", "photo")


# Names


def renamed(data: bytes, old: str, new: bytes, extra: bytes = b"") -> bytes:
    """A zip whose entries' names hold bytes of another encoding, without the flag for UTF-8."""
    source, sink = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for info in source.infolist():
            archive.writestr(zipfile.ZipInfo(info.filename.replace(old, "~" * len(new))), source.read(info))
    return sink.getvalue().replace(b"~" * len(new), new)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("café", "cp437"),
        ("Äpfel", "cp437"),
        ("forêt", "cp1252"),
        ("ねこ", "cp932"),
        ("アイス", "cp932"),
        ("猫の写真", "cp932"),
        ("老虎", "gbk"),
        ("苹果", "gbk"),
        ("蘋果樹", "big5"),
        ("кошка", "cp866"),
        ("собачка", "cp1251"),
        ("고양이와강아지사진들", "cp949"),
    ],
)
def test_names_in_an_encoding_that_the_archive_does_not_say(tmp_path: Path, name: str, encoding: str) -> None:
    found = taken(tmp_path, renamed(zipped(folders("cat", "dog")), "cat", name.encode(encoding)))
    assert sorted(found.classes) == sorted((name, "dog"))
    assert f"they were read as {encoding}" in found.notes


def test_names_in_utf_8_without_the_flag_need_no_guess(tmp_path: Path) -> None:
    for name in ("café", "猫"):
        found = taken(tmp_path, renamed(zipped(folders("cat", "dog")), "cat", name.encode()))
        assert sorted(found.classes) == sorted((name, "dog"))
        assert "encoding" not in found.notes


def test_the_unicode_path_of_info_zip_comes_first(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for file, data in folders("cat", "dog").items():
            info = zipfile.ZipInfo(file.replace("cat", "c_t"))
            path = file.replace("cat", "chât").encode()
            field = b"\x01" + zlib.crc32(info.filename.encode()).to_bytes(4, "little") + path
            info.extra = b"\x75\x70" + len(field).to_bytes(2, "little") + field
            archive.writestr(info, data)
    assert taken(tmp_path, sink.getvalue()).classes == ("chât", "dog")


def test_a_tar_whose_names_are_no_utf_8(tmp_path: Path) -> None:
    data = tarred({name.replace("cat", "c~~"): content for name, content in folders("cat", "dog").items()})
    name = "猫".encode("cp932")
    swapped = bytearray(data.replace(b"c~~", b"c" + name))
    for at in range(0, len(swapped) - 511, 512):  # the headers' checksums
        header = swapped[at : at + 512]
        if header[257:262] == b"ustar":
            total = sum(header) - sum(header[148:156]) + 8 * 32
            swapped[at + 148 : at + 156] = b"%06o\0 " % total
    found = taken(tmp_path, bytes(swapped))
    assert found.sizes[0] > 0
    assert "its names are" in found.notes


def test_composed_and_decomposed_names_are_one_class(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    files = folders("café", "dog", prefix="train/") | folders(decomposed, "dog", images=2, prefix="val/")
    found = taken(tmp_path, zipped(files))
    assert (found.classes, found.sizes) == (("café", "dog"), (8, 4))
    merged = folders("café", "dog") | folders(decomposed, images=3)
    assert len(taken(tmp_path, zipped(merged)).images("café")) == 7


def test_long_names_and_many_of_them_give_few_short_notes(tmp_path: Path) -> None:
    files = two_parts("train", "val")
    for i in range(150):
        files |= folders("cat", images=1, prefix=f"test{i}/")
    files |= {f"train/cat/{'x' * 30_000}{i}.txt": b"" for i in range(3)}
    found = taken(tmp_path, zipped(files))
    assert len(found.made.notes) == 101
    assert "more notes" in found.made.notes[-1]
    assert max(map(len, found.made.notes)) <= 1001


def test_escape_sequences_in_names_never_come_through(tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07"
    told = refusal(tmp_path, zipped(folders("cat", "dog") | {f"cat/{escape}.png": b"bad"}))
    assert "\x1b" not in told
    assert "\\x1b]0;owned\\x07.png" in told
    assert "\\x1b" in refusal(tmp_path, zipped(folders("cat", f"d{escape}g")))
    assert "\u202e" not in refusal(tmp_path, zipped(folders("cat", "d\u202eg")))
    found = taken(tmp_path, zipped(folders("cat", "dog") | {f"{escape}.txt": b"x"}))
    assert "\x1b" not in found.notes
