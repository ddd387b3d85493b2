"""Every engine gives the integers of the definition (`reference.py`), bit for bit."""

from __future__ import annotations

import ctypes
import itertools
import math
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from addercore.ops.c import build
from addercore.runtime import IntegerModel, engines, format, load, reference
from addercore.runtime.program import Adder, AvgPool, Dot, MaxPool, Program, Rescale, Window
from benchmarks.integer import networks
from tests.addercore.runtime.programs import random_images, random_program

ENGINES = build.ENGINE.for_target.get(platform.machine(), build.OTHER_TARGETS)
SEEDS = 40


def opened(program: Program, folder: Path, engine: str | None = None) -> IntegerModel:
    format.write(program, folder / "model.adder")
    return load(folder / "model.adder", engine)


def here(engine: str) -> str:
    if not engines().get(engine, False):
        pytest.skip(f"this processor or this build has no engine {engine}")
    return engine


def agrees(program: Program, folder: Path, engine: str, seed: int, count: int = 2) -> None:
    images = random_images(program, count, seed)
    expected = reference.run(program, images)
    assert opened(program, folder, engine).run(images).tobytes() == expected.tobytes(), (engine, seed)


@pytest.mark.bits
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", range(4))
def test_random_programs_agree_with_the_definition(engine: str, part: int, tmp_path: Path) -> None:
    for seed in range(part * SEEDS // 4, (part + 1) * SEEDS // 4):
        agrees(random_program(seed), tmp_path, here(engine), seed)


@pytest.mark.long("500 programs")
@pytest.mark.bits
@pytest.mark.parametrize("engine", ENGINES)
def test_many_random_programs_agree_with_the_definition(engine: str, tmp_path: Path) -> None:
    for seed in range(1000, 1500):
        agrees(random_program(seed), tmp_path, here(engine), seed, count=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_clipping_agrees_with_the_definition(engine: str, tmp_path: Path) -> None:
    clipped = 0
    for seed in range(200, 212):
        program = random_program(seed, clips=True)
        clipped += sum(isinstance(one, Adder) and one.clipping is not None for one in program.operations)
        agrees(program, tmp_path, here(engine), seed, count=1)
    assert clipped > 5


@pytest.mark.bits
@pytest.mark.parametrize("make", [networks.lenet5_bn, networks.resnet20])
@pytest.mark.parametrize("method", ["adder", "conv"])
@pytest.mark.parametrize("engine", ENGINES)
def test_networks_agree_with_the_definition(
    engine: str, make: Callable[[str], Program], method: str, tmp_path: Path
) -> None:
    agrees(make(method), tmp_path, here(engine), 1, count=1)


@pytest.mark.parametrize("side", range(1, 20))
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_every_length_and_stride(engine: str, side: int, tmp_path: Path) -> None:
    """A tile's positions end anywhere in a row, or go on in the next one; any number is left for the last tile."""
    rng = np.random.default_rng(side)
    weights = rng.integers(0, 256, (9, 11, 3, 3), dtype=np.uint8)
    for stride in (1, 2, 3):
        after = (4 // stride + 1, (side - 1) // stride + 1)
        scale = Rescale(np.full(9, -(2**20), np.int32), np.full(9, 2**33, np.int64), 25, 255)
        layer = Adder("layer", 0, 1, weights, Window((3, 3), (stride, stride), (1, 1), pad=7), scale)
        end = Rescale(np.ones(5, np.int32), np.zeros(5, np.int64), 1, 0)
        last = Dot("end", 1, -1, rng.integers(-128, 128, (5, 9, *after), dtype=np.int8), Window(after), end)
        tables = rng.integers(0, 256, (11, 256), dtype=np.uint8)
        program = Program((11, 5, side), tables, ((11, 5, side), (9, *after)), (layer, last))
        agrees(program, tmp_path, here(engine), stride, count=1)


def extreme(weight: int, pixel: int, sign: int, shift: int) -> Program:
    """Sums and multipliers at their limits."""
    shape = (128, 16, 16)
    weights = np.full((16, *shape), weight, np.uint8)
    scale = Rescale(np.full(16, sign * (2**31 - 1), np.int32), np.full(16, -sign * 2**53, np.int64), shift, 255)
    end = Rescale(np.full(2, 2**31 - 1, np.int32), np.full(2, -(2**62), np.int64), 62, 0)
    layers = (
        Adder("layer", 0, 1, weights, Window(shape[1:]), scale),
        Dot("end", 1, -1, np.full((2, 16, 1, 1), -128, np.int8), Window((1, 1)), end),
    )
    return Program(shape, np.full((128, 256), pixel, np.uint8), (shape, (16, 1, 1)), layers)


@pytest.mark.parametrize("engine", ENGINES)
def test_limits_of_sums_and_shifts(engine: str, tmp_path: Path) -> None:
    for sign in (-1, 1):
        for shift in (1, 31, 32, 33, 46, 62):
            agrees(extreme(255, 0, sign, shift), tmp_path, here(engine), 0, count=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_kernels_compute_a_sum_whose_residual_keeps_most_of_its_scale(engine: str, tmp_path: Path) -> None:
    """A residual's factor of 0.5…1 takes a shift of 30: with 30 bits of multiplier there are none left to double."""
    rng = np.random.default_rng(3)
    shape = (16, 6, 6)
    for shift, share in ((30, 0.9), (31, 0.45), (26, 15.0)):
        multiplier = -rng.integers(2**29, 2**30, 16).astype(np.int32)
        bias = np.round(-16 * 9 * 85 * multiplier.astype(np.int64) + rng.uniform(0.2, 0.8, 16) * 200 * 2.0**shift)
        scale = Rescale(multiplier, bias.astype(np.int64), shift, 255, round(share * 2**shift))
        weights = rng.integers(0, 256, (16, 16, 3, 3), dtype=np.uint8)
        layer = Adder("layer", 0, 1, weights, Window((3, 3), (1, 1), (1, 1), pad=7), scale, 0)
        end = Rescale(np.ones(3, np.int32), np.zeros(3, np.int64), 1, 0)
        last = Dot("end", 1, -1, rng.integers(-128, 128, (3, 16, 6, 6), dtype=np.int8), Window((6, 6)), end)
        program = Program(shape, rng.integers(0, 256, (16, 256), dtype=np.uint8), (shape, shape), (layer, last))
        agrees(program, tmp_path, here(engine), shift, count=2)
        assert load(tmp_path / "model.adder", engine).slow_terms == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [Adder, Dot])
def test_depthwise_layers_have_a_kernel(engine: str, kind: type[Adder] | type[Dot], tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    cases = itertools.product((2, 8, 19), ((3, 3), (1, 5)), ((1, 1), (2, 1)), (None, 0), (20, 33))
    for number, (channels, kernel, stride, residual, shift) in enumerate(cases):
        shape, padding = (channels, 7, 10), (kernel[0] // 2, kernel[1] // 2)
        after = (channels, 6 // stride[0] + 1, 10)
        added = residual if after == shape else None
        sign, step = (-1, 85) if kind is Adder else (1, 1)
        multiplier = sign * rng.integers(2**16, 2**17, channels).astype(np.int32) * 2 ** max(shift - 20, 0)
        bias = -multiplier.astype(np.int64) * math.prod(kernel) * step + 100 * 2**shift
        scale = Rescale(multiplier.astype(np.int32), bias, shift, 200, 0 if added is None else 2 ** (shift - 3))
        low, high, codes = (0, 256, np.uint8) if kind is Adder else (-128, 128, np.int8)
        weights = rng.integers(low, high, (channels, 1, *kernel), dtype=codes)
        layer = kind("layer", 0, 1, weights, Window(kernel, stride, padding, groups=channels, pad=9), scale, added)
        end = Rescale(np.ones(3, np.int32), np.zeros(3, np.int64), 1, 0)
        last = Dot("end", 1, -1, rng.integers(-128, 128, (3, *after), dtype=np.int8), Window(after[1:]), end)
        program = Program(shape, rng.integers(0, 256, (channels, 256), dtype=np.uint8), (shape, after), (layer, last))
        agrees(program, tmp_path, here(engine), number, count=2)
        assert load(tmp_path / "model.adder", engine).slow_terms == 0


def test_terms_that_no_kernel_computes_are_counted(tmp_path: Path) -> None:
    """Groups of two channels have no kernel; the layer after them has one."""
    shape = (16, 6, 6)
    scale = Rescale(np.full(16, -(2**20), np.int32), np.full(16, 2**30, np.int64), 24, 255)
    weights = np.random.default_rng(0).integers(0, 256, (16, 2, 3, 3), dtype=np.uint8)
    layer = Adder("layer", 0, 1, weights, Window((3, 3), (1, 1), (1, 1), groups=8, pad=7), scale)
    end = Rescale(np.ones(3, np.int32), np.zeros(3, np.int64), 1, 0)
    last = Dot("end", 1, -1, np.ones((3, 16, 6, 6), np.int8), Window((6, 6)), end)
    model = opened(Program(shape, np.zeros((16, 256), np.uint8), (shape, shape), (layer, last)), tmp_path)
    assert (model.slow_terms, model.terms) == (2 * 16 * 36 * 9, 2 * 16 * 36 * 9 + 3 * 16 * 36)


def test_threads_change_nothing(tmp_path: Path) -> None:
    program = random_program(5)
    model = opened(program, tmp_path)
    images = random_images(program, 13, 0)
    expected = model.run(images)
    for threads in (2, 3, 13, 40):
        assert model.run(images, threads=threads).tobytes() == expected.tobytes()
    assert model.run(images[:0], threads=2).shape == (0, program.classes)
    assert model.run(images[:, :, :, ::-1]).tobytes() == model.run(images[:, :, :, ::-1].copy()).tobytes()


def test_a_run_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    """Values share memory: what one image left there must not reach another."""
    for seed in range(8):
        program = random_program(seed)
        model = opened(program, tmp_path)
        images = random_images(program, 6, seed)
        together = model.run(images)
        apart = np.concatenate([load(tmp_path / "model.adder").run(image[None]) for image in images])
        assert together.tobytes() == apart.tobytes()


def padded(program: Program) -> list[int]:
    """Bytes of each value with the widest padding that a reader has, in descending order."""
    found = []
    for number, (channels, height, width) in enumerate(program.values):
        readers = [one for one in program.operations if one.source == number and isinstance(one, Adder | Dot)]
        high = max((one.window.padding[0] for one in readers), default=0)
        wide = max((one.window.padding[1] for one in readers), default=0)
        found.append(-(-channels // 8) * 8 * (height + 2 * high) * (width + 2 * wide))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("make", [networks.lenet5_bn, networks.resnet20])
def test_memory_is_two_values_and_64_kib_a_thread(make: Callable[[], Program], tmp_path: Path) -> None:
    program = make()
    model = opened(program, tmp_path)
    assert model.workspace_bytes <= sum(padded(program)[:2]) + 64 * 1024
    assert model.table_bytes <= 64 * 1024
    weights = sum(one.weights.nbytes for one in program.operations if isinstance(one, Adder | Dot))
    assert model.file_bytes <= weights * 1.1 + 32 * 1024


def test_a_residual_is_added_in_place(tmp_path: Path) -> None:
    """Without that, a block of a residual network would need three values."""
    with_sums = networks.layers(16, 8, 6, residual=True)
    without = networks.layers(16, 8, 6)
    assert opened(with_sums, tmp_path).activation_bytes == opened(without, tmp_path).activation_bytes


def test_pooling_beyond_the_edge(tmp_path: Path) -> None:
    pool = MaxPool("pool", 0, 1, 3, 2, 2)
    ones = Rescale(np.ones(3, np.int32), np.zeros(3, np.int64), 1, 0)
    mean = AvgPool("mean", 1, 2, Rescale(np.full(3, 2**20, np.int32), np.zeros(3, np.int64), 22, 255))
    last = Dot("end", 2, -1, np.eye(3, dtype=np.int8)[:, :, None, None], Window((1, 1)), ones)
    tables = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
    program = Program((3, 5, 4), tables, ((3, 5, 4), (3, 4, 3), (3, 1, 1)), (pool, mean, last))
    for engine in (name for name, runs in engines().items() if runs):
        agrees(program, tmp_path, engine, 0)


def test_two_readers_that_differ_in_padding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scale = Rescale(np.full(8, 2**24, np.int32), np.full(8, -(2**36), np.int64), 32, 255)
    layers = [
        Adder(
            f"layer{pad}", 0, target, rng.integers(0, 256, (8, 8, 3, 3), dtype=np.uint8),
            Window((3, 3), padding=(1, 1), pad=pad), replace(scale, residual_multiplier=2**30 * (target - 1)),
            None if target == 1 else 1,
        )
        for target, pad in ((1, 0), (2, 200))
    ]  # fmt: skip
    end = Rescale(np.ones(3, np.int32), np.zeros(3, np.int64), 1, 0)
    last = Dot("end", 2, -1, rng.integers(-128, 128, (3, 8, 6, 6), dtype=np.int8), Window((6, 6)), end)
    tables = rng.integers(0, 256, (8, 256), dtype=np.uint8)
    program = Program((8, 6, 6), tables, ((8, 6, 6),) * 3, (*layers, last))
    for engine in (name for name, runs in engines().items() if runs):
        agrees(program, tmp_path, engine, 0)


def test_the_structure_of_the_interface_is_that_of_the_header() -> None:
    from addercore.runtime import library

    header = (build.ENGINE.sources / "adder_run.h").read_text()
    assert f"#define ADDER_RUN_ABI {library.ABI} " in header
    names = [name for name, _ in library.Info._fields_]
    begin, end = header.index("typedef struct {"), header.index("} adder_info")
    declared = [word.strip(" *,;") for word in header[begin:end].replace("*", " ").replace("\n", " ").split()]
    assert [word for word in declared if word in names] == names
    assert ctypes.sizeof(library.Info) == 16 + 6 * 8 + 3 * 8
