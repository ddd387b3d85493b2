"""Images as people have them, read for a prediction: each row of the table in docs/predict.md, by its pixels."""

import base64
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addercore.config import ImageOptions
from addercore.data.image_input import LIMITS, read_image
from addercore.errors import BadData

INK = np.zeros((8, 8), np.uint8)
INK[1, 2:6] = 255
INK[2:7, 5] = 200


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def pixels(image: Any, channels: int = 1, **options: Any) -> Any:
    """Rounded to bytes."""
    return np.rint(read_image(image, channels, ImageOptions(**options)).pixels * 255).astype(int)


def notes(image: Any, **options: Any) -> str:
    return " ".join(read_image(image, 1, ImageOptions(**options)).notes)


def test_a_phone_s_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    lying = encoded(Image.fromarray(INK).transpose(Image.Transpose.ROTATE_90), exif=exif)
    (tmp_path / "photo.png").write_bytes(lying)
    opened = Image.open(BytesIO(lying))
    for form in (lying, tmp_path / "photo.png", str(tmp_path / "photo.png"), opened):
        assert (pixels(form)[0] == INK).all()
    assert "turned upright" in notes(lying)


@pytest.mark.parametrize(("ground", "value"), [("white", 255), ("black", 0)])
def test_a_canvas_is_laid_on_its_ground(ground: str, value: int) -> None:
    """A canvas is wholly transparent where nothing was drawn: black without its alpha."""
    canvas = np.zeros((8, 8, 4), np.uint8)
    canvas[INK > 0] = (90, 90, 90, 255)
    expected = np.where(INK > 0, 90, value)
    for form in (encoded(Image.fromarray(canvas)), Image.fromarray(canvas), canvas):
        assert (pixels(form, transparent_on=ground)[0] == expected).all()
        assert f"laid on {ground}" in notes(form, transparent_on=ground)
        with pytest.raises((BadData, ValueError), match="transparent pixels"):
            pixels(form, transparent_on="refuse")


def test_a_data_uri_is_the_image_in_it() -> None:
    text = base64.b64encode(encoded(Image.fromarray(INK))).decode()
    for uri in (
        f"data:image/png;base64,{text}",
        f"DATA:;BASE64,{text}",
        f"data:image/png;name=a;base64,{text[:40]}\n{text[40:]}",
    ):
        assert (pixels(uri)[0] == INK).all()
    for uri, says in (
        ("data:text/html,<b>", "one of text/html"),
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,%%", "base64"),
    ):
        with pytest.raises(BadData, match=says):
            pixels(uri)


def test_colours_become_grey_and_grey_serves_colours() -> None:
    colours = np.dstack([INK, INK // 2, 255 - INK])
    grey = np.asarray(Image.fromarray(colours).convert("L"), int)
    for form in (Image.fromarray(colours), colours, encoded(Image.fromarray(colours))):
        assert abs(pixels(form)[0] - grey).max() <= 1
        assert (pixels(form, 3) == colours.transpose(2, 0, 1)).all()
    assert (pixels(INK, 3) == INK).all()


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (INK, {}),
        (INK.astype(np.int64).tolist(), {}),
        (INK.astype(np.float32) / 255, {}),
        (INK.astype(np.float64), {}),  # floats up to 255
        (INK / 127.5 - 1, {}),  # and from −1
        (INK.astype(np.uint16) * 257, {}),
        (INK / 255 * 0.9, {"value_range": "0..1"}),
        (INK // 16, {"value_range": "bits"}),
    ],
)
def test_arrays_of_a_usual_or_declared_range_give_the_same_picture(array: Any, options: dict[str, Any]) -> None:
    assert abs(pixels(array, **options)[0] - INK).max() <= 26


def test_bits_are_black_and_white() -> None:
    bits = (INK > 0).astype(int)
    for form in (bits, bits.astype(bool), bits.tolist(), Image.fromarray(bits.astype(np.uint8))):
        assert (pixels(form)[0] == 255 * bits).all()
    assert "0 became black and 1 white" in notes(bits)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (INK // 16, "bits: 0…15"),  # the digits of scikit-learn, up to 16
        (INK / 255 / 255, "divided by 255 twice"),
        (INK / 255 - 0.5, "is 0 their middle"),
        (INK.astype(int) - 128, "which one is black"),
        (INK.astype(float) * 4, "no usual range"),
    ],
)
def test_a_range_that_could_be_two_things_is_asked_for(array: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        pixels(array)


@pytest.mark.parametrize(
    ("array", "says"),
    [([["1", "2"], ["3", "4"]], "texts"), ([[1, None], [3, 4]], "such as null"), (INK * 1j, "complex numbers")],
)
def test_what_is_no_number_is_named_without_words_of_numpy(array: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"integers or floats, got .*{says}"):
        pixels(array)


def test_a_dark_photo_stays_dark_with_a_note() -> None:
    dark = Image.fromarray(INK // 8)
    assert (pixels(encoded(dark))[0] == INK // 8).all()
    assert "brightest pixel is 31 of 255" in notes(dark)
    assert notes(Image.fromarray(INK * 0)) == ""


def test_twelve_bits_in_sixteen_are_stretched_with_a_note() -> None:
    deep = Image.fromarray(INK.astype(np.uint16) * 16)
    assert abs(pixels(encoded(deep))[0] - INK).max() <= 1
    assert "4,095 white" in notes(deep)


def test_palettes_print_colours_and_animations_are_read() -> None:
    palette = Image.fromarray(INK).convert("P")
    assert (pixels(encoded(palette, "GIF"))[0] == INK).all()
    print_colours = Image.new("CMYK", (4, 4), (0, 0, 0, 255))
    assert pixels(encoded(print_colours, "TIFF")).max() <= 1
    second = Image.fromarray(255 - INK).convert("P")
    assert "first was taken" in notes(encoded(palette, "GIF", save_all=True, append_images=[second]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n", "PostScript, which is never run"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC photograph; convert it to JPEG"),
        (b"not a picture", "no image of a known format"),
        (encoded(Image.fromarray(INK))[:60], "cannot be decoded"),
        (b"", "is empty; replace it"),
    ],
)
def test_other_files_are_refused_by_what_they_are(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BadData, match=rf"x\.png {'.*'}{says}"):
        pixels(tmp_path / "x.png")
    with pytest.raises(BadData, match=r"y\.png is missing"):
        pixels(tmp_path / "y.png")


def test_pixels_are_counted_before_they_are_decoded() -> None:
    """Its header promises 400 million pixels; there are none behind it."""
    header = (20_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + len(header).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    bomb += bytes(4) + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    with pytest.raises(BadData, match=r"20000×20000 pixels; at most 16,777,216|far more pixels"):
        pixels(bomb)
    with pytest.raises(ValueError, match="too large"):
        pixels(np.broadcast_to(np.uint8(0), (LIMITS.pixels, 2)))


def test_text_in_a_png_does_not_matter() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("a", "b" * 2_000_000, zip=True)
    assert (pixels(encoded(Image.fromarray(INK), pnginfo=info))[0] == INK).all()


@pytest.mark.parametrize("height", [1, 3, 4])
def test_a_low_picture_keeps_its_rows(height: int) -> None:
    rows = np.zeros((height, 40, 3), np.uint8)
    rows[0] = (255, 0, 0)
    rows[0, 0] = (255, 0, 9)
    assert (pixels(Image.fromarray(rows), 3)[0] == rows[:, :, 0]).all()
