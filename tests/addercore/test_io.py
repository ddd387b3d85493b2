"""Model files: what is written is read, what is wrong is named, and an image may come in any usual form."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import addercore
from addercore import BadModel, TrainConfig, build, sample_image
from addercore.arch import check_manifest, network, read_manifest
from addercore.arch.manifest import METADATA_KEY, read_header
from addercore.io import encode, manifest_of

NET = network("lenet5_bn", (1, 32, 32), 10)
MANIFEST = manifest_of(TrainConfig.default("lenet5_bn", "digits"), {"val/accuracy": 0.5})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    file.write_bytes(encode(build(NET, seed=0).state_dict(), MANIFEST))
    return file


def test_written_and_read_back(path: Path) -> None:
    model = addercore.load(path)
    assert model.manifest == read_manifest(path) == MANIFEST
    assert model.network == NET
    assert not model.module.training
    for name, tensor in build(NET, seed=0).state_dict().items():
        assert torch.equal(tensor, model.module.state_dict()[name])
    assert path.read_bytes() == encode(model.module.state_dict(), MANIFEST)


def test_reading_a_manifest_loads_no_tensor_library(path: Path) -> None:
    code = (
        "import sys; from addercore.arch import read_manifest; read_manifest(sys.argv[1]); "
        "print([m for m in ('torch', 'numpy', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_the_header_is_read_as_safetensors_reads_it(path: Path) -> None:
    from safetensors import safe_open

    metadata, stored = read_header(path)
    with safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(stored)
        for name in stored:
            assert tuple(file.get_slice(name).get_shape()) == stored[name].shape


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """(header, tensors' bytes)"""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], bytes]:
    def damaged(path: Path) -> bytes:
        header, data = parts(path)
        change(header)
        return joined(header, data)

    return damaged


def with_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], bytes]:
    def apply(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"][METADATA_KEY])
        change(manifest)
        header["__metadata__"][METADATA_KEY] = json.dumps(manifest)

    return with_header(apply)


def rename(header: dict[str, Any]) -> None:
    header["conv9.weight"] = header.pop("conv1.weight")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: b"", "no safetensors file, or is cut off"),
        (lambda p: p.read_bytes()[:-1], "cut off or damaged"),
        (lambda p: p.read_bytes() + b"\0", "cut off or damaged"),
        (lambda p: p.read_bytes()[:300], "cut off inside its header"),
        (lambda p: pickle.dumps({"weights": [1] * 99}), "no safetensors file"),
        (lambda p: (2**62).to_bytes(8, "little") + p.read_bytes()[8:], "cut off inside its header"),
        (lambda p: joined(b" " * (9 * 2**20), b""), "header of 9437184 bytes"),
        (lambda p: joined(b"{", b""), "not JSON"),
        (lambda p: joined(b"[" * 100_000, b""), "not JSON"),
        (lambda p: joined([], b""), "not a JSON object"),
        (with_header(lambda h: h.pop("__metadata__")), "not written by addercore"),
        (with_header(lambda h: h.update({"__metadata__": {METADATA_KEY: "no"}})), "manifest that is not JSON"),
        (with_header(lambda h: h.update({"__metadata__": {METADATA_KEY: "[]"}})), "not a JSON object"),
        (with_header(rename), r"missing \['conv1.weight'\], unknown \['conv9.weight'\]"),
        (with_header(lambda h: h["conv1.weight"].update(shape=[6, 25])), r"'conv1.weight' is F32 \(6, 25\)"),
        (with_header(lambda h: h["conv1.weight"].update(dtype="F16")), "'conv1.weight' as 'F16'"),
        (with_header(lambda h: h["conv1.weight"].update(shape=[6, -1])), "the shape"),
        (with_header(lambda h: h["conv1.weight"].update(shape=[7, 1, 5, 5])), "bytes"),
        (with_header(lambda h: h["conv1.weight"].update(data_offsets=[0])), "the offsets"),
        (with_header(lambda h: h["bn1.bias"].update(data_offsets=h["bn1.weight"]["data_offsets"])), "overlap"),
        (with_header(lambda h: h.update({"conv1.weight": 3})), "not an object"),
        (with_manifest(lambda m: m.pop("classes")), "'classes' is missing"),
        (with_manifest(lambda m: m.update(format=2)), "format 2"),
        (with_manifest(lambda m: m.update(classes=["a", "a"])), "distinct strings"),
        (with_manifest(lambda m: m.update(classes=list("abc"))), "fc2.weight"),
        (with_manifest(lambda m: m["network"].update(arch="x")), "'x'; known: lenet5_bn"),
        (with_manifest(lambda m: m["network"].update(arch=["x"])), "arch must be a string"),
        (with_manifest(lambda m: m["network"].update(method="x")), "'x'; known: adder, conv"),
        (with_manifest(lambda m: m["network"].pop("gradient")), "lacks gradient"),
        (with_manifest(lambda m: m["network"].update(gradient="x")), "gradient is 'x'"),
        (with_manifest(lambda m: m["network"].update(input_shape=[1, 4, 4])), "does not fit"),
        (with_manifest(lambda m: m["network"].update(input_shape="1")), "input_shape"),
        (with_manifest(lambda m: m["preprocessing"].update(resize=[28, 28])), "resizes"),
        (with_manifest(lambda m: m["preprocessing"].update(mean=[])), "mean must be 1 numbers"),
        (with_manifest(lambda m: m["preprocessing"].update(std=[0])), "std must be from 1e-06"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(path: Path, damage: Callable[[Path], bytes], says: str) -> None:
    path.write_bytes(damage(path))
    for read in (read_manifest, addercore.load):
        with pytest.raises(BadModel, match=says) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_missing_files_and_poisoned_weights(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="cannot be read"):
        addercore.load(tmp_path / "nothing.safetensors")
    state = build(NET, seed=0).state_dict()
    state["fc1.weight"][3, 4] = float("nan")
    path.write_bytes(encode(state, MANIFEST))
    with pytest.raises(BadModel, match=r"'fc1\.weight'.*NaN"):
        addercore.load(path)


def test_an_explicit_manifest_takes_the_place_of_the_embedded_one(path: Path, tmp_path: Path) -> None:
    header, data = parts(path)
    del header["__metadata__"]
    path.write_bytes(joined(header, data))
    described = tmp_path / "model.json"
    described.write_text(json.dumps(MANIFEST))
    assert addercore.load(path, manifest=described).classes == list("0123456789")
    described.write_text(json.dumps({**MANIFEST, "classes": ["yes", "no"]}))
    with pytest.raises(BadModel, match="fc2"):
        addercore.load(path, manifest=described)
    described.write_text("[]")
    with pytest.raises(BadModel, match="not a JSON object"):
        addercore.load(path, manifest=described)
    described.write_text("{")
    with pytest.raises(BadModel, match="as a manifest"):
        addercore.load(path, manifest=described)
    with pytest.raises(BadModel, match="not a JSON object"):
        check_manifest(None)


def test_one_image_in_any_form_gives_one_answer(path: Path, tmp_path: Path) -> None:
    model = addercore.load(path)
    image = sample_image("digits", 3)
    image.save(tmp_path / "digit.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    array = np.asarray(image)
    forms: list[Any] = [
        image,
        tmp_path / "digit.png",
        str(tmp_path / "rgb.png"),
        array,
        array[None],
        array.astype(np.int64),
        array.tolist(),
        array.astype(np.float64) / 255,
        Image.fromarray(array.astype(np.uint16) * 257),
    ]
    answers = [model.predict(form) for form in forms]
    for answer in answers:
        assert answer.label == answers[0].label
        assert list(answer.probabilities) == list("0123456789")
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.probabilities == pytest.approx(answers[0].probabilities, abs=1e-6)
    stored = addercore.data.load("digits", None, "validation").images[3:4]
    torch.testing.assert_close(model.prepare(image), stored, rtol=0, atol=0.02)  # 8 bits against sixteenths
    assert model.prepare(np.zeros((100, 64))).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((2, 8, 8)), r"\(2, 8, 8\)"),
        (np.zeros(8), r"\(8,\)"),
        (np.zeros(64), r"flat: x\.reshape\(8, 8\)"),
        (np.zeros((1, 8, 8, 3)), r"one image: x\[0\]"),
        (np.zeros((0, 8)), r"\(0, 8\)"),
        (np.full((8, 8), 1.5), "floats from 1.5 to 1.5.* no usual range"),
        (np.full((8, 8), np.nan), r"nan at \(0, 0\)"),
        (np.full((8, 8), 2**17), "at most 16 bits"),
        (np.full((8, 8), "a"), "integers or floats"),
        ([[1, 2], [3]], "some rows are longer"),
        (Image.new("F", (8, 8), 5000.0), "no usual range"),
    ],
)
def test_an_image_that_is_none_is_refused(path: Path, image: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        addercore.load(path).predict(image)


@pytest.fixture(scope="module")
def coloured() -> addercore.Model:
    """A network that takes images of three channels, 3 × 32 × 32."""
    net = network("resnet20", (3, 32, 32), 10)
    manifest = {"classes": list("0123456789"), "preprocessing": {"mean": [0.0] * 3, "std": [1.0] * 3}}
    return addercore.Model(net, build(net, seed=0), manifest)


@pytest.mark.parametrize("size", [(40, 3), (3, 40), (3, 3), (8, 8)])
def test_a_picture_s_height_is_never_taken_for_its_channels(
    coloured: addercore.Model, size: tuple[int, int], tmp_path: Path
) -> None:
    """Width × height in pixels; the top row is red, the rest blue."""
    picture = Image.new("RGB", size, (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, size[0], 1))
    picture.save(tmp_path / "p.png")
    first = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255
    expected = addercore.data.prepare(torch.from_numpy(first.copy())[None], (32, 32), [0.0] * 3, [1.0] * 3)
    assert torch.equal(coloured.prepare(picture), expected)
    assert torch.equal(coloured.prepare(tmp_path / "p.png"), expected)
    assert expected[0, 0, 0].min() > 0.5, "the upper edge is red"
    assert expected[0, 0, -1].max() == 0


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 40, 3)])
def test_an_array_whose_channels_could_be_its_first_or_last_axis_is_refused(
    coloured: addercore.Model, shape: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match=r"can be read as \(3, H, W\) and as \(H, W, 3\); pass it as a PIL image"):
        coloured.prepare(np.zeros(shape))
    for clear in ((3, 40, 4), (4, 40, 3)):
        assert coloured.prepare(np.zeros(clear)).shape == (1, 3, 32, 32)


def test_a_column_of_pixels_is_not_turned_into_a_row(path: Path) -> None:
    model = addercore.load(path)
    with pytest.raises(ValueError, match=r"\(1, 8, 1\) can be read as .*; pass it as \(H, W\)"):
        model.prepare(np.zeros((1, 8, 1)))
    assert model.prepare(np.zeros((1, 1, 1))).shape == model.prepare(np.zeros((8, 1))).shape == (1, 1, 32, 32)


def test_sixteen_bits_of_grey_serve_a_network_of_three_channels(coloured: addercore.Model) -> None:
    grey = np.arange(3, 256, 4, dtype=np.uint8).reshape(8, 8)  # up to white, else fewer bits than 16 would be meant
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert torch.allclose(coloured.prepare(deep), coloured.prepare(Image.fromarray(grey)), atol=1e-6)


def test_evaluating_on_other_classes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    manifest = {**MANIFEST, "classes": list("abc")}
    file.write_bytes(encode(build(network("lenet5_bn", (1, 32, 32), 3), seed=0).state_dict(), manifest))
    with pytest.raises(ValueError, match="3 classes"):
        addercore.evaluate(addercore.load(file), "digits")
