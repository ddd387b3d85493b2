"""The harness of the kernel benchmark: what it calls, counts and judges; no test asks how fast anything is."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as nnf

from addercore.ops import Geometry, get
from benchmarks import rows
from benchmarks.kernels import kernels, overhead, peaks, raw, report, targets, timing
from benchmarks.kernels.__main__ import VERSIONS
from benchmarks.kernels.kernels import Result
from benchmarks.kernels.operations import CONV, OPERATIONS, Data, adder_call, conv_call, data, repeated
from benchmarks.kernels.shapes import Group, Layer, groups

SMALL = Layer(3, 5, (9, 7), 6, (3, 2), Geometry((2, 1), (1, 0)))
C_BACKENDS = [name for name in kernels.backends() if name.startswith("c-")]

needs_probes = pytest.mark.skipif(
    platform.machine() != "x86_64" or not (shutil.which("gcc") or shutil.which("cc")),
    reason="the probes of peak rates are C for x86-64",
)


@needs_probes
def test_every_probe_that_this_processor_has_runs_and_gives_a_plausible_rate() -> None:
    found = list(peaks.measure(rounds=2))
    assert {"sse2"} <= {row.settings["isa"] for row in found}
    for row in found:
        assert all(0.1 < value < 1000 for value in row.values), row.variant  # G elements/s
        assert row.settings["compiler"]


@needs_probes
def test_an_operation_is_held_against_its_own_instruction_set() -> None:
    fused, plain = (peaks.reference("c-generic", operation) for operation in ("forward_moments", "forward"))
    assert fused == plain
    assert plain is not None
    assert (plain.named.isa, plain.named.operation, plain.named.form) == ("sse2", "forward", "max, add")
    assert peaks.reference("portable", "forward") is None


def test_percent_of_a_peak() -> None:
    assert peaks.percent(elements=5e9, seconds=0.5, peak=20e9) == pytest.approx(50.0)


def test_layers_and_elements_are_the_networks() -> None:
    found = {group.title: group.layers for group in groups()}
    titles = ["resnet20, batch 64", "resnet20, batch 1", "resnet18, batch 8", "lenet5_bn, batch 128"]
    assert list(found) == [*titles, "mobilenet_v2, batch 8"]
    by_name = {str(layer): count for layer, count in found["resnet20, batch 64"].items()}
    assert by_name["n64 16@32x32 -> 16 3x3"] == 6
    assert by_name["n64 16@32x32 -> 32 1x1 s2"] == 1
    assert sum(by_name.values()) == 20  # 18 of 3x3 and 2 shortcuts
    assert sum(found["resnet18, batch 8"].values()) == 19
    # paper.md: 40,813,184 a ResNet-20 image, with stem (3·9·16·32²) and classifier (64·10)
    inner = sum(count * layer.elements for layer, count in found["resnet20, batch 1"].items())
    assert inner == 40_813_184 - 3 * 9 * 16 * 32**2 - 64 * 10
    lenet = sum(count * layer.elements for layer, count in found["lenet5_bn, batch 128"].items())
    assert lenet == 128 * 416_520
    depthwise = found["mobilenet_v2, batch 8"]
    assert sum(depthwise.values()) == 17
    largest = next(layer for layer in depthwise if layer.inputs == 96)
    assert str(largest) == "n8 96@112x112 -> 96 3x3 s2 g96"
    assert largest.elements == 8 * 96 * 56**2 * 9
    assert data(largest).weight.shape == (96, 1, 3, 3)


def test_elements_are_counted_as_the_reference_computes_them() -> None:
    of = data(SMALL)
    assert of.grad.shape == get("reference").forward(of.x, of.weight, SMALL.geometry).shape
    assert of.grad.numel() * of.weight[0].numel() == SMALL.elements


@pytest.mark.parametrize("backend", C_BACKENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_raw_call_computes_the_operation(backend: str, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []
    empty_like = torch.empty_like

    def kept(tensor: torch.Tensor) -> torch.Tensor:
        made.append(empty_like(tensor).fill_(torch.nan))
        return made[-1]

    of = data(SMALL)
    monkeypatch.setattr(torch, "empty_like", kept)
    run = raw.repeated(backend, operation, of, threads=1)
    monkeypatch.undo()
    assert run is not None
    run(2)
    expected = adder_call(get("reference"), operation, of)()
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(made[0], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_convolutional_counterpart_has_the_operations_shape(operation: str) -> None:
    of = data(SMALL)
    mine, theirs = adder_call(get("portable"), operation, of)(), conv_call(operation, of)()
    if operation in ("forward", "forward_affine"):
        assert isinstance(mine, torch.Tensor)
        assert isinstance(theirs, torch.Tensor)
        assert mine.shape == theirs.shape
    elif operation.startswith("grad"):
        assert isinstance(theirs, tuple)
        (theirs,) = (gradient for gradient in theirs if gradient is not None)
        assert isinstance(mine, torch.Tensor)
        assert mine.shape == theirs.shape


def test_the_convolutional_gradients_are_those_of_conv2d() -> None:
    of = data(SMALL)
    x, weight = of.x.clone().requires_grad_(), of.weight.clone().requires_grad_()
    g = SMALL.geometry
    expected = torch.autograd.grad(nnf.conv2d(x, weight, None, g.stride, g.padding), (x, weight), of.grad)
    for position, operation in enumerate(("grad_input", "grad_weight")):
        found = conv_call(operation, of)()
        assert isinstance(found, tuple)
        torch.testing.assert_close(found[position], expected[position])


def test_variants_take_turns_and_every_second_round_runs_backwards() -> None:
    seen: list[str] = []

    def call(name: str, *, threads: int = 1, rounds: int = 3) -> timing.Variant:
        return timing.Variant("o", name, threads, repeated(lambda: seen.append(name)), rounds, loops=1, warm=False)

    variants = [call("a"), call("b", rounds=1), call("c"), call("d", threads=2)]
    before = torch.get_num_threads()
    timing.take(variants, rounds=3)
    assert "".join(seen) == "abcd" + "cad" + "acd"
    assert torch.get_num_threads() == before
    assert [len(variant.samples) for variant in variants] == [3, 1, 3, 3]


def test_a_variant_is_given_as_many_calls_as_fill_a_sample() -> None:
    calls: list[int] = []
    variant = timing.Variant("o", "b", 1, calls.append, rounds=1)
    timing.take([variant], rounds=1, sample_seconds=1e-3)
    assert variant.loops > 1
    assert calls == [1, 1, 1, variant.loops]  # two to find that out, one to warm up


GROUP = Group("lenet5_bn, batch 3", {SMALL: 2})


@needs_probes
def test_results_and_rows_of_a_layer(tmp_path: Path) -> None:
    chosen = [*C_BACKENDS[:1], "portable"]
    measured = list(kernels.measure([GROUP], chosen, 2, lambda _: None))
    found = {(r.operation, r.backend, r.threads): r for r, _ in measured}
    assert {operation for operation, backend, _ in found if backend == CONV} == set(OPERATIONS)
    for result, row in measured:
        assert result.seconds > 0
        assert (result.to_conv is None) == (result.backend == CONV)
        assert (result.speedup is None) == (result.threads == 1)
        assert (result.percent is None) == (not result.backend.startswith("c-") or result.threads > 1)
        assert row.settings["elements"] == SMALL.elements
        assert row.settings["g_elements_s"] == pytest.approx(SMALL.elements / result.seconds / 1e9, rel=0.01, abs=1e-3)
    rows.write([row for _, row in measured], tmp_path / "rows.jsonl", VERSIONS)
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(written) == len(measured)
    for row in written:
        assert {"device", "versions", "commit", "dirty", "median", "min", "max", "values", "load_before"} <= row.keys()
        assert {"operation", "backend", "threads", "clock", "compiler", "quartiles"} <= row["settings"].keys()
        assert row["unit"] == "ms"
        assert tuple(row["versions"]) == VERSIONS


def result(**changes: object) -> Result:
    layer = Layer(64, 16, (32, 32), 16, (3, 3), Geometry((1, 1), (1, 1)))
    plain = Result("resnet20, batch 64", layer, 6, "forward", "c-avx512", 1, 1e-3, 84.0, 150.0, 0.9, None)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_targets_judge_what_they_are_meant_for() -> None:
    judged = targets.kernel_targets("c-avx512")
    strided = replace(result().layer, geometry=Geometry((2, 2), (1, 1)))
    cases = {
        "forward, 3x3 stride 1: % of peak": (result(), False),
        "forward, 3x3 stride 2: % of peak": (result(layer=strided), True),
        "forward, 3x3 stride 1, AVX2: % of peak": (result(backend="c-avx2"), True),
        "forward, odd channel counts: % of peak": (result(group="lenet5_bn, batch 128"), True),
        "input gradient, stride 1: % of peak": (result(operation="grad_input"), False),
        "input gradient, stride 2: % of peak": (result(operation="grad_input", layer=strided), True),
        "filter gradient: time / convolution's": (result(operation="grad_weight", to_conv=1.01), False),
        "two threads: times one's speed": (result(threads=2, percent=None, speedup=1.8), True),
    }
    for title, (one, reached) in cases.items():
        target = targets.of(one, judged)
        assert target is not None
        assert target.title == title
        figure = target.figure(one)
        assert figure is not None
        assert target.bound.reached(figure) == reached, title
    assert targets.of(result(backend="portable"), judged) is None
    assert targets.of(result(threads=2, layer=replace(strided, batch=1)), judged) is None


def test_the_tables_say_what_is_reached_and_what_is_not() -> None:
    found = [result(), result(operation="grad_input", percent=86.0), result(backend=CONV, percent=None, to_conv=None)]
    table = report.kernels(found, "c-avx512")
    assert ">= 85 MISSED" in table
    assert ">= 85 reached" in table
    verdicts = report.verdicts(found, "c-avx512")
    lines = {line.split("  ")[0]: line for line in verdicts.splitlines()}
    assert lines["forward, 3x3 stride 1: % of peak"].endswith("MISSED by 1 of 1")
    assert lines["forward, 3x3 stride 1: % of max, add"].endswith("reached")
    assert lines["two threads: times one's speed"].endswith("not measured")
    assert "84 at n64 16@32x32 -> 16 3x3, forward" in verdicts


def test_overhead_is_less_the_kernels_own_time() -> None:
    backend = kernels.backends()[0]
    found = {row.variant: row for row in overhead.measure(backend, quick=True)}
    whole = found[f"{backend}: adder_conv2d, no gradients"]
    assert whole.unit == "us"
    assert whole.settings["threads"] == 1
    assert (whole.settings["less_kernel_us"] is not None) == (backend in C_BACKENDS)
    assert found["conv: conv2d, no gradients"].settings["less_kernel_us"] is None


def test_data_is_the_same_in_every_run() -> None:
    first, second = data(SMALL), data(SMALL)
    for name in Data.__dataclass_fields__:
        if name != "layer":
            assert torch.equal(getattr(first, name), getattr(second, name))
