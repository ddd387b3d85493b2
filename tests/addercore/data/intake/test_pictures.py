"""Image files as they come: every one with the pixels that a person sees."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from addercore.config import IntakeOptions
from tests.addercore.data.intake.taking import problems, refusal, taken
from tests.support.uploads import folders, png, zipped

INK = np.zeros((8, 8), np.uint8)
INK[2:4, 1:7] = 255
"""A stroke."""


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def among(image: bytes, channels: int = 1, name: str = "x.png") -> bytes:
    """An upload with the image alone in the class `mine`, twice, as one of them validates."""
    return zipped(folders("noise", channels=channels) | {f"mine/{i}{name}": image for i in range(2)})


def seen(folder: Path, image: bytes, channels: int = 1, options: IntakeOptions = IntakeOptions()) -> tuple[Any, str]:
    """The image's pixels (c, h, w), and the notes."""
    found = taken(folder, among(image, channels), options)
    return found.images("mine")[0], found.notes


ORIENTED = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.T),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: x[::-1, ::-1].T),
        (8, lambda x: np.rot90(x)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(tmp_path: Path, kind: str, orientation: int, upright: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(ORIENTED)
    if kind == "WEBP":
        image = image.convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels, notes = seen(tmp_path, saved(image, kind, exif=exif, **options), channels=1 if kind != "WEBP" else 3)
    assert np.array_equal(pixels[0], upright(ORIENTED))
    assert "Images with an EXIF orientation were turned upright: 2" in notes


def test_a_jpeg_of_a_phone_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    side = np.zeros((16, 16), np.uint8)
    side[:, :8] = 255  # the left half is bright: upright, the upper one
    data = saved(Image.fromarray(side), "JPEG", exif=exif, quality=95)
    pixels, _ = seen(tmp_path, data, options=IntakeOptions(size=(16, 16)))
    assert pixels[0, :7].min() > 240
    assert pixels[0, 9:].max() < 15


def test_damaged_exif_data_do_not_matter(tmp_path: Path) -> None:
    pixels, _ = seen(tmp_path, saved(Image.fromarray(INK), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert np.array_equal(pixels[0], INK)


def transparent(mode: str) -> Image.Image:
    """A black stroke on a transparent ground whose hidden colour is black too."""
    black = Image.new("L", (8, 8), 0)
    alpha = Image.fromarray(INK)
    if mode == "LA":
        return Image.merge("LA", (black, alpha))
    return Image.merge("RGBA", (black, black, black, alpha))


@pytest.mark.parametrize(("ground", "white"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_ink_on_a_transparent_ground(tmp_path: Path, mode: str, ground: str, white: int) -> None:
    options = IntakeOptions(transparent_on=ground, channels=1)
    pixels, notes = seen(tmp_path, saved(transparent(mode)), options=options)
    assert np.array_equal(pixels[0], np.where(INK == 255, 0, white))
    assert f"were laid on {ground}" in notes


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    half = Image.merge("LA", (Image.new("L", (8, 8), 100), Image.new("L", (8, 8), 51)))  # 20 %
    assert set(seen(tmp_path, saved(half))[0].ravel()) == {224}  # 0.2 · 100 + 0.8 · 255


def test_a_transparent_colour_and_a_transparent_palette(tmp_path: Path) -> None:
    colour = saved(Image.fromarray(255 - INK), transparency=0)
    assert seen(tmp_path, colour)[0].min() == 255
    palette = Image.fromarray(INK // 255, "P")
    palette.putpalette([0, 0, 0, 200, 10, 10])
    pixels, notes = seen(tmp_path, saved(palette, transparency=0), channels=3)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 2, 1].tolist() == [200, 10, 10]
    assert "laid on white" in notes


def test_alpha_that_hides_nothing_needs_no_note(tmp_path: Path) -> None:
    opaque = Image.merge("LA", (Image.fromarray(INK), Image.new("L", (8, 8), 255)))
    pixels, notes = seen(tmp_path, saved(opaque), options=IntakeOptions(transparent_on="refuse"))
    assert np.array_equal(pixels[0], INK)
    assert notes == ""


def test_transparency_can_be_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, among(saved(transparent("LA"))), IntakeOptions(transparent_on="refuse"))
    assert found[0].startswith("mine/0x.png has transparent pixels")


def test_a_palette_of_greys_fits_grey_and_colour(tmp_path: Path) -> None:
    palette = Image.fromarray(INK // 255, "P")
    palette.putpalette([10, 10, 10, 240, 240, 240])
    for channels in (1, 3):
        pixels, _ = seen(tmp_path, saved(palette), channels)
        assert pixels.shape == (channels, 8, 8)
        assert np.array_equal(pixels[0], np.where(INK == 255, 240, 10))


def test_pictures_of_one_bit(tmp_path: Path) -> None:
    assert np.array_equal(seen(tmp_path, saved(Image.fromarray(INK).convert("1")))[0][0], INK)


DEEP = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize(("shift", "white"), [(0, "4,095"), (4, "65,535"), (-2, "1,023")])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_images_are_stretched_by_the_bits_that_they_use(
    tmp_path: Path, kind: str, shift: int, white: str
) -> None:
    values = DEEP << shift if shift > 0 else DEEP >> -shift
    pixels, notes = seen(tmp_path, saved(Image.fromarray(values), kind))
    assert np.array_equal(pixels[0], np.rint(values / int(white.replace(",", "")) * 255))
    assert f"integers from 0 to {values.max():.6g}: 0 became black and {white} white" in notes


def test_16_bit_images_of_a_declared_range(tmp_path: Path) -> None:
    pixels, _ = seen(tmp_path, saved(Image.fromarray(DEEP // 16)), options=IntakeOptions(value_range="0..255"))
    assert np.array_equal(pixels[0], DEEP // 16)


def test_colours_for_print(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    pixels, notes = seen(tmp_path, saved(cyan, "JPEG", quality=100), channels=3)
    red, green, blue = pixels.mean((1, 2))
    assert red < 10 < 245 < min(green, blue)
    assert "CMYK" in notes


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    pixels, notes = seen(tmp_path, data, channels=3)
    assert pixels[:, 0, 0].tolist() == [250, 0, 0]
    assert "Of files with several pictures the first was taken: 2" in notes


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 1)),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(80_000_000), 1)),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(80_000_000), 1)),
        chunk(b"zTXt", b"no text at all"),
        chunk(b"tEXt", b"x\0y") * 3000,
    ],
    ids=["long", "bomb", "international bomb", "profile bomb", "damaged", "many"],
)
def test_text_in_a_png_does_not_matter(tmp_path: Path, text: bytes) -> None:
    plain = saved(Image.fromarray(INK))
    pixels, _ = seen(tmp_path, plain[:33] + text + plain[33:])
    assert np.array_equal(pixels[0], INK)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jpg", "PNG"), ("a.png", "BMP"), ("a", "GIF"), ("a.JPG.dat", "TIFF"), ("a.jpeg", "WEBP"), ("a.png", "PPM")],
)
def test_content_counts_and_not_the_extension(tmp_path: Path, name: str, kind: str) -> None:
    image = Image.fromarray(np.stack([INK] * 3, -1))
    options = {"lossless": True} if kind == "WEBP" else {}
    upload = zipped(folders("noise", channels=3) | {f"mine/{i}{name}": saved(image, kind, **options) for i in range(2)})
    assert np.array_equal(taken(tmp_path, upload).images("mine")[0][0], INK)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif(tmp_path: Path) -> None:
    pixels, _ = seen(tmp_path, saved(Image.new("RGB", (8, 8), (200, 30, 30)), "AVIF", quality=100), channels=3)
    assert abs(pixels[0].astype(int) - 200).max() < 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is PostScript, which is never run"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photograph; convert it to JPEG"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page; its download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
        (b"\0\0\1\0\1\0\x10\x10", "is an icon; convert it to PNG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image; convert it to PNG"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL image; convert it to PNG"),
        (b"8BPS\0\1", "is a Photoshop file; convert it to PNG"),
        (bytes(128) + b"DICM", "is a DICOM image; convert it to PNG"),
        (b"", "is empty; replace it"),
        (b"\x89PNG", "is no image of a known format"),
        (b"no image", "is no image of a known format"),
        (b"a,b\n1,2\n", "is no image of a known format"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in problems(tmp_path, among(data))[0]


# Images that cannot be used


BROKEN = folders("cat", "dog", images=10) | {
    "cat/bad1.png": b"bad",
    "dog/bad2.jpg": png(1, (40, 40), 3, format="JPEG")[:300],
}


def test_corrupt_images_are_skipped_if_asked(tmp_path: Path) -> None:
    found = taken(tmp_path, zipped(BROKEN), IntakeOptions(on_bad_image="skip"))
    whole = taken(tmp_path, zipped(folders("cat", "dog", images=10)))
    assert sum(found.sizes) == 20
    for label in ("cat", "dog"):
        assert np.array_equal(found.images(label), whole.images(label))
    assert "were left out, as on_bad_image is skip: 2." in found.notes
    assert "cat/bad1.png is no image of a known format" in found.notes
    assert "dog/bad2.jpg cannot be decoded" in found.notes


def test_not_more_of_them_than_max_skipped(tmp_path: Path) -> None:
    assert "cat/bad1.png is no image" in problems(tmp_path, zipped(BROKEN))[0]
    told = refusal(tmp_path, zipped(BROKEN), IntakeOptions(on_bad_image="skip", max_skipped=1))
    assert told.startswith("More than 1 images cannot be used (max_skipped); the last one found: dog/bad2.jpg")


def test_a_class_whose_images_are_all_corrupt_is_not_lost(tmp_path: Path) -> None:
    emptied = zipped(folders("cat", "dog") | {"fox/1.png": b"bad"})
    told = refusal(tmp_path, emptied, IntakeOptions(on_bad_image="skip"))
    assert told == "The class 'fox' has no image that can be used: mend them, or remove its folder."
