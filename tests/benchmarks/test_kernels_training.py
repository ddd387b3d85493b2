"""Whole training steps of the kernel benchmark: the authors' form is the operator, steps train, memory is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from addercore.arch.networks import network
from addercore.nn import AdderLayer
from addercore.ops import adder_conv2d
from benchmarks.kernels import memory, report, targets, training
from benchmarks.kernels.broadcast import BroadcastAdder, broadcast_adder_conv2d, broadcast_network
from benchmarks.kernels.steps import LENET, RESNET20, Method, model, step
from benchmarks.kernels.timing import Variant
from benchmarks.kernels.training import Found
from benchmarks.rows import ROOT, Row


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((3, 3), (1, 1), (1, 1)), ((1, 1), (2, 2), (0, 0)), ((3, 2), (2, 1), (0, 1))]
)
def test_the_broadcast_form_is_the_operator_in_value_and_gradients(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 7, 8, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(4, 3, *kernel, generator=generator, dtype=torch.float64).requires_grad_()
    expected = adder_conv2d(x, weight, stride, padding, backend="reference")
    found = broadcast_adder_conv2d(x, weight, stride, padding)
    torch.testing.assert_close(found, expected)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for mine, theirs in zip(*(torch.autograd.grad(y, (x, weight), grad) for y in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_broadcast_network_is_the_adder_network() -> None:
    net = network(RESNET20.arch, RESNET20.shape, RESNET20.classes)
    theirs, ours = broadcast_network(net, seed=0), model(RESNET20, "adder", "portable")
    layers = [name for name, module in theirs.named_modules() if isinstance(module, BroadcastAdder)]
    assert layers == [name for name, module in ours.named_modules() if isinstance(module, AdderLayer)]
    assert len(layers) == 20
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, *RESNET20.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["adder", "conv"])
def test_a_step_trains(method: Method) -> None:
    one = step(replace(LENET, batch=8), method, "portable")
    losses = [one(8) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_one_threads_steps_against_convolution() -> None:
    task = replace(LENET, batch=4)
    (found, adder), (nothing, conv) = training._against_conv("lenet", task, [1], "portable", 3)
    assert nothing is None
    assert adder.settings["clock"] == "cpu"
    assert found is not None
    assert (found.key, len(adder.values), len(conv.values)) == ("lenet", 3, 3)
    assert adder.settings["ratio_to_conv"] == pytest.approx(found.figure, abs=1e-3)
    assert (adder.settings["backend"], conv.settings["backend"]) == ("portable", "conv")


def test_two_threads_steps_are_compared_with_one_s() -> None:
    found = list(training._against_conv("lenet", replace(LENET, batch=4), [1, 2], "portable", 3))
    one, two = ([row for _, row in found if row.settings["threads"] == count] for count in (1, 2))
    assert [row.settings["backend"] for row in (*one, *two)] == ["portable", "conv"] * 2
    judged = {told.key: told.figure for told, _ in found if told is not None}
    assert two[0].settings["speedup"] == pytest.approx(judged["lenet_threads"], abs=1e-3)
    assert "speedup" not in one[0].settings


def test_the_broadcast_steps_are_counted_beside_ours() -> None:
    (found, ours), (_, theirs) = training._against_broadcast(replace(RESNET20, batch=2), 1, "portable", 1)
    assert found is not None
    assert found.figure == pytest.approx(theirs.values[0] / ours.values[0])
    assert (theirs.settings["backend"], theirs.settings["batch"]) == ("broadcast", 2)


def test_peak_memory_counts_what_a_step_needs_for_a_moment() -> None:
    program = f"""
import json
from benchmarks.kernels import memory
calls = []
def one(count):
    calls.append(count)
    whole = 3 if len(calls) < 5 else 1  # the steps before the measured ones need more
    b"x" * (whole * count * {2**20})
memory.step = lambda task, method, backend: one
found = memory.of_step("adder", "portable", 1)
print(json.dumps([found.baseline, found.grown]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    baseline, grown = json.loads(done.stdout)
    assert grown == pytest.approx(RESNET20.batch, abs=4)  # MiB: bytes of that many, gone after each step
    assert baseline > 50


def test_memory_of_a_step_comes_from_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(method: Method, backend: str, threads: int) -> memory.Peak:
        return memory.Peak(100.0, 100.0 + {"adder": 33.0, "conv": 30.0}[method])

    monkeypatch.setattr(memory, "measure", fake)
    (found, adder), (_, conv) = training._memory(2, "portable", 2)
    assert found is not None
    assert found.figure == pytest.approx(1.1)
    assert (list(adder.values), list(conv.values)) == ([33.0, 33.0], [30.0, 30.0])
    assert adder.unit == "MiB"


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'xnor'; known: adder, conv, broadcast"):
        memory.main(["xnor", "portable", "1"])


def test_training_targets() -> None:
    outcomes = {
        "resnet20": (1.25, 1.26), "lenet": (0.87, 0.88), "lenet_threads": (1.7, 1.69), "memory": (1.1, 1.11),
        "broadcast": (150.0, 149.0),
    }  # fmt: skip
    for key, (good, bad) in outcomes.items():
        assert targets.reached(Found(key, "", good, ""))
        assert not targets.reached(Found(key, "", bad, ""))
    assert "MISSED" in report.training([Found("memory", "m", 1.2, "")])


def test_rows_say_which_backend_and_clock() -> None:
    timed = Variant("step", "adder", 2, lambda _: None, 3, walls=[0.1, 0.2, 0.3])
    row = training._row(LENET, "c-avx2", timed, (0.0, 0.0, 0.0), {})
    assert isinstance(row, Row)
    assert row.median == pytest.approx(200.0)
    assert {"backend": "c-avx2", "threads": 2, "clock": "wall", "first_last": "adder"}.items() <= row.settings.items()
