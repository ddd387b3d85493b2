"""The Triton backend without a GPU: its kernels in the interpreter, and its rules as plain functions.

The kernels' cases live in triton_cases.py, which needs TRITON_INTERPRET=1 before Triton is first imported: a process
of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from addercore.ops import Geometry, triton
from addercore.ops.triton import tuning
from addercore.ops.triton.classes import axis_classes, classes
from addercore.ops.triton.methods import TritonBackend
from addercore.ops.triton.tuning import Tile

pytestmark = pytest.mark.skipif(triton.missing() is not None, reason=str(triton.missing()))
CASES = Path(__file__).parent / "triton_cases.py"


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, env=os.environ | environment
    )


@pytest.mark.parametrize(
    "chosen",
    [
        "everything or few",
        pytest.param("", marks=pytest.mark.long("every shape: the interpreter takes seconds a call")),
    ],
)
def test_kernels_in_the_interpreter(chosen: str) -> None:
    done = run_python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES), "-k", chosen,
        TRITON_INTERPRET="1", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_asking_for_the_backend_does_not_load_triton() -> None:
    program = (
        "import sys; from addercore.ops import triton; "
        "assert triton.backend().name == 'triton'; assert 'triton' not in sys.modules"
    )
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("installed", "why"), [(None, "not installed"), ("3.8.1", "too old"), ("3.9.0", None)])
def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, installed: str | None, why: str | None) -> None:
    def version(_: str) -> str:
        if installed is None:
            raise PackageNotFoundError
        return installed

    monkeypatch.setattr(triton, "version", version)
    said = triton.missing()
    assert (said is None) if why is None else (why in str(said) and "pip install" in str(said))
    assert (triton.backend() is None) == (why is not None)


def test_refused_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, gpu = TritonBackend(), torch.device("cuda", 0)
    assert "NVIDIA" in str(backend.refusal(torch.device("cpu"), torch.float32))
    assert "float32" in str(backend.refusal(gpu, torch.bfloat16))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "8.0" in str(backend.refusal(gpu, torch.float32))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert backend.refusal(gpu, torch.float32) is None
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert "NVIDIA" in str(backend.refusal(gpu, torch.float32))


# --- parity classes


@given(st.integers(1, 13), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_parity_classes_name_every_pair_once(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    skip = classes((size, 1), (kernel, 1), Geometry((stride, 1), (padding, 0), (dilation, 1)), torch.device("cpu"))
    found, positions = set(), []
    for one in axis_classes(size, kernel, stride, padding, dilation):
        for place in range(one.count):
            position = one.first + place * stride
            positions.append(position)
            for number in range(one.taps):
                tap, output = one.first_tap + number * skip.skip[0], one.meets + place - number * skip.step[0]
                assert (position, tap) not in found
                found.add((position, tap))
                assert output * stride - padding + tap * dilation == position
    assert sorted(positions) == list(range(size))
    assert found == {
        (position, tap)
        for position in range(size)
        for tap in range(kernel)
        if (position + padding - tap * dilation) % stride == 0
    }


def test_busy_classes_come_first() -> None:
    found = classes((56, 56), (3, 3), Geometry((2, 2), (1, 1)), torch.device("cpu"))
    taps = [row[4] * row[5] for row in found.table.tolist()]
    assert taps == [4, 2, 2, 1]
    assert (found.largest, found.busy, found.taps) == (28 * 28, 4, 4)
    shortcut = classes((56, 56), (1, 1), Geometry((2, 2)), torch.device("cpu"))
    assert (len(shortcut.table), shortcut.busy, shortcut.taps) == (4, 1, 1)


# --- block sizes


@given(st.integers(1, 10**7), st.integers(1, 400))
def test_splits_cover_the_sum(tiles: int, units: int) -> None:
    splits, each = tuning.splits(tiles, units)
    assert (splits - 1) * each < units <= splits * each
    if splits > 1:
        assert each >= tuning.UNITS_LEAST
    if tiles >= 100 * tuning.MULTIPROCESSORS:
        assert splits == 1


@pytest.mark.parametrize(
    ("tiles", "units", "splits"), [(196, 36, 2), (98, 72, 4), (52, 144, 5), (56, 288, 7), (2048, 9, 1), (1, 4, 1)]
)
def test_splits_fill_the_multiprocessors(tiles: int, units: int, splits: int) -> None:
    """ResNet-18's four stages at batch 8, ResNet-20's first at 256, and what is too short to be cut."""
    assert tuning.splits(tiles, units)[0] == splits


def test_positions_a_program() -> None:
    assert [tuning.positions(total) for total in (1, 128, 129, 392, 1568, 6272)] == [64, 128, 64, 64, 128, 128]


def test_tiles_fit_the_rows() -> None:
    assert tuning.fixed(tuning.FORWARD, 1).rows == 16
    assert tuning.fixed(tuning.FORWARD, 20).rows == 32
    assert tuning.fixed(tuning.GRADIENT, 512).rows == tuning.NOMINAL_ROWS
    assert {tile.rows for tile in tuning.usable(tuning.FORWARD, 33)} == {16, 32, 64}
    for tile in (*tuning.FORWARD, *tuning.GRADIENT):
        assert tuning.UNIT % tile.depth == 0
        assert tile.rows % (16 * tile.warps) == 0  # 16 rows a warp, or several times


def test_tuning_measures_once_and_takes_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, ran = torch.device("cuda", 0), list[Tile]()
    times = {tile: 5.0 + number for number, tile in enumerate(tuning.FORWARD)} | {tuning.FORWARD[3]: 1.0}

    def milliseconds(run: Any) -> float:
        run()
        return times[ran[-1]]

    monkeypatch.setattr(tuning, "_chosen", {})
    monkeypatch.setattr(tuning, "_milliseconds", milliseconds)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(tuning, "measuring", lambda: True)
    for _ in range(2):
        assert tuning.choose("key", tuning.FORWARD, 512, gpu, ran.append) == tuning.FORWARD[3]
    assert ran == list(tuning.FORWARD)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert tuning.choose("other", tuning.FORWARD, 512, gpu, ran.append) == tuning.fixed(tuning.FORWARD, 512)
    monkeypatch.setattr(tuning, "measuring", lambda: False)
    assert tuning.choose("key", tuning.FORWARD, 512, gpu, ran.append) == tuning.fixed(tuning.FORWARD, 512)
    assert ran == list(tuning.FORWARD)


def test_tuning_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tuning.ENVIRONMENT, "0")
    tuning.measuring.cache_clear()
    assert not tuning.measuring()
    monkeypatch.delenv(tuning.ENVIRONMENT)
    tuning.measuring.cache_clear()
    assert tuning.measuring()
