"""What a user meets: opening, answers, the command, and errors that name the remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addercore.errors import BadData, BadModel
from addercore.runtime import __main__ as command
from addercore.runtime import engines, format, load, reference
from benchmarks.integer import networks
from tests.addercore.runtime.programs import random_program


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """LeNet-5-BN for images of 1×32×32."""
    format.write(networks.lenet5_bn(), tmp_path / "model.adder")
    return tmp_path / "model.adder"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def test_an_answer_is_the_softmax_of_the_scores(model: Path, picture: Path) -> None:
    opened = load(model)
    answer = opened.predict(picture)
    pixels = np.asarray(Image.open(picture))[None]
    scores = reference.run(networks.lenet5_bn(), pixels[None])[0]
    assert answer.label == opened.classes[int(scores.argmax())]
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    shares = np.array(list(answer.probabilities.values()))
    differences = np.log(shares[shares > 1e-200]) - np.log(shares.max())
    assert differences == pytest.approx((scores - scores.max())[shares > 1e-200], abs=1e-4)
    assert opened.predict(pixels) == answer
    with Image.open(picture) as image:
        assert opened.predict(image) == answer


def test_images_are_resized_and_turned_grey(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 50), (200, 200, 200)).save(tmp_path / "colour.png")
    flat = np.full((1, 32, 32), 200, np.uint8)
    assert load(model).predict(tmp_path / "colour.png") == load(model).predict(flat)


def test_the_command(model: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(model), str(picture)]) == 0
    assert capsys.readouterr().out.startswith(f"{picture}: {load(model).predict(picture).label} (")
    assert command.main([str(model), str(model)]) == 2
    assert "cannot be read as an image" in capsys.readouterr().err


def test_the_command_loads_no_torch(model: Path, picture: Path) -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom addercore.runtime.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, str(model), str(picture)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_images_of_another_kind_are_refused(model: Path, tmp_path: Path) -> None:
    opened = load(model)
    with pytest.raises(ValueError, match=r"images are float64; they must be a numpy array of uint8"):
        opened.run(np.zeros((1, 1, 32, 32)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(1, 32, 32\); this model takes \(N, 1, 32, 32\)"):
        opened.run(np.zeros((1, 32, 32), np.uint8))
    with pytest.raises(ValueError, match="threads is 0"):
        opened.run(np.zeros((1, 1, 32, 32), np.uint8), threads=0)
    with pytest.raises(ValueError, match="not int"):
        opened.predict(3)  # type: ignore[arg-type]
    with pytest.raises(BadData, match="cannot be read as an image"):
        opened.predict(tmp_path / "nothing.png")


def test_an_engine_that_is_not_here_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = "neon" if "avx2" in engines() else "avx2"
    with pytest.raises(ValueError, match=f"the argument engine names the engine '{lacking}', which this processor"):
        load(model, lacking)
    monkeypatch.setenv("ADDER_RUNTIME", "fast")
    with pytest.raises(
        ValueError, match=r"ADDER_RUNTIME names the engine 'fast', which does not exist; here are .*generic"
    ):
        load(model)
    monkeypatch.setenv("ADDER_RUNTIME", "generic")
    assert load(model).engine == "generic"
    monkeypatch.delenv("ADDER_RUNTIME")
    assert load(model).engine == next(name for name, runs in engines().items() if runs)


def test_a_file_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    for path, match in ((tmp_path, "is no file"), (tmp_path / "no", "cannot be opened")):
        with pytest.raises(BadModel, match=match):
            load(path)
    content = model.read_bytes()
    for damaged, match in (
        (b"", "is no file, or an empty one"),
        (content[:100], "too few for a model file"),
        (content[:-1], "it was cut"),
        (b"PNG" + content[3:], "does not begin with the format's signature"),
        (content[:8] + b"\x09" + content[9:], "format version 9; this library reads version 1"),
    ):
        (tmp_path / "bad.adder").write_bytes(damaged)
        with pytest.raises(BadModel, match=match):
            load(tmp_path / "bad.adder")


def test_a_changed_weight_opens_and_fails_verification(model: Path, tmp_path: Path) -> None:
    content = bytearray(model.read_bytes())
    content[-5000] ^= 1
    (tmp_path / "bad.adder").write_bytes(content)
    load(model).verify()
    with pytest.raises(BadModel, match="the checksum of section 6 differs: the file is damaged; take the file"):
        load(tmp_path / "bad.adder").verify()


def test_the_checksums_are_those_of_zlib(tmp_path: Path) -> None:
    for seed in range(20):
        format.write(random_program(seed), tmp_path / "model.adder")
        load(tmp_path / "model.adder").verify()


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    from addercore.runtime import library

    monkeypatch.setattr(library, "LIBRARY", "libnothing.so")
    library.load.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="make kernels"):
            load(model)
    finally:
        library.load.cache_clear()
