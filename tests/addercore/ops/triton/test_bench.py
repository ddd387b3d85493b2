"""The GPU benchmark without a GPU: what its rows say, given a clock; and that it says so where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch

from addercore.ops import triton

pytestmark = pytest.mark.skipif(triton.missing() is not None, reason=str(triton.missing()))

if triton.missing() is None:
    from benchmarks import gpu

TOLD = {"gpu": "pretended", "multiprocessors": 132}


def two_milliseconds(_: Callable[[], object]) -> list[float]:
    return [2.0] * 3


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "about", lambda _: TOLD)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**20)
    first = next(gpu.layers())
    monkeypatch.setattr(gpu, "layers", lambda: [first])
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    found = list(gpu.measure(("layers", "training"), torch.device("cpu"), two_milliseconds))
    assert not torch.backends.cudnn.allow_tf32
    assert [row.benchmark for row in found][:2] == ["FADD ceiling", "GPU layer, forward"]
    assert found[0].median == 8 * 132 * gpu.FADD_BLOCK * gpu.FADD_UNROLL * gpu.FADD_ROUNDS / 2e9
    forward = found[1]
    rate = 2 * forward.settings["elements"] / 2e9
    assert forward.settings["share_of_fadd_ceiling"] == pytest.approx(rate / found[0].median, abs=1e-4)
    assert all(row.settings["gpu"] == "pretended" for row in found)
    steps = [row for row in found if row.benchmark == "GPU training step"]
    assert [(row.settings["method"], row.settings["peak_mib"]) for row in steps] == [("adder", 3.0), ("conv", 3.0)]


def test_layers_are_resnet18s_at_every_batch() -> None:
    found = list(gpu.layers())
    assert len(found) == len(set(found))
    assert {layer.batch for layer in found} == set(gpu.BATCHES)
    assert any(layer.filters == 512 and layer.size == (7, 7) for layer in found)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    assert gpu.main() == 2
    assert "no CUDA GPU" in capsys.readouterr().out
