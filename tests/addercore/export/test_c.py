"""The C source of a program, compiled, gives the scores of the definition, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore import quant
from addercore.arch.manifest import MOST_C_WEIGHTS
from addercore.export import c_source
from addercore.export.factors import is_shifting, multiplications
from addercore.runtime import reference
from addercore.runtime.program import SCORES, Add, Adder, AvgPool, Dot, MaxPool, Program, Rescale, Window
from tests.addercore.quant.models import images_for, model_of
from tests.addercore.runtime.programs import random_images, random_program

MAIN = """
#include <stdio.h>
#include "network.h"
int main(void) {
    static uint8_t pixels[N_PIXELS];
    float scores[N_CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        n_run(pixels, scores);
        fwrite(scores, sizeof(float), N_CLASSES, stdout);
    }
    return 0;
}
"""
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wmissing-prototypes")


def compiled(program: Program, folder: Path, *flags: str) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (folder / "network.h").write_text(c_source(program, "n"))
    (folder / "main.c").write_text(MAIN)
    command = ["gcc", *STRICT, *flags, "-o", str(folder / "run"), str(folder / "main.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def scores_of(program: Program, images: Any, folder: Path, *flags: str) -> bytes:
    run = compiled(program, folder, *(flags or ("-O1",)))
    return subprocess.run([str(run)], input=images.tobytes(), capture_output=True, check=True).stdout


def agrees(program: Program, folder: Path, seed: int, *flags: str) -> None:
    images = random_images(program, 2, seed)
    assert scores_of(program, images, folder, *flags) == reference.run(program, images).tobytes(), seed


def shifting(program: Program) -> Program:
    """The program with powers of two in the place of its factors."""

    def power(factors: Any) -> Any:
        sizes = np.exp2(np.floor(np.log2(np.maximum(np.abs(factors.astype(np.float64)), 1))))
        return (np.sign(factors) * sizes).astype(np.int32)

    changed: list[Any] = []
    for one in program.operations:
        if not isinstance(one, MaxPool):
            scale = one.rescale
            residual = int(power(np.array(scale.residual_multiplier)))
            one = replace(one, rescale=replace(scale, multiplier=power(scale.multiplier), residual_multiplier=residual))
        if isinstance(one, Adder) and one.clipping is not None:
            one = replace(one, clipping=replace(one.clipping, excess_multiplier=power(one.clipping.excess_multiplier)))
        changed.append(one)
    return replace(program, operations=tuple(changed))


@pytest.mark.parametrize("seed", range(24))
def test_random_programs_agree_with_the_definition(seed: int, tmp_path: Path) -> None:
    agrees(random_program(seed), tmp_path, seed)


@pytest.mark.parametrize("seed", range(200, 208))
def test_clipping_and_shifts_agree_and_no_step_is_undefined(seed: int, tmp_path: Path) -> None:
    program = shifting(random_program(seed, clips=True))
    assert is_shifting(program)
    agrees(program, tmp_path, seed, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def test_the_programs_of_these_tests_have_every_operation() -> None:
    kinds: set[type] = set()
    clips = 0
    for program in [*map(random_program, range(24)), *(random_program(seed, clips=True) for seed in range(200, 208))]:
        kinds |= set(map(type, program.operations))
        clips += sum(isinstance(one, Adder) and one.clipping is not None for one in program.operations)
    assert kinds == {Adder, Dot, MaxPool, AvgPool, Add}
    assert clips > 5


@pytest.mark.parametrize("rescale", ["multiply", "shift"])
def test_a_quantised_lenet_agrees_with_the_definition(rescale: Any, tmp_path: Path) -> None:
    made = quant.quantize(model_of("lenet5_bn"), images_for((1, 32, 32), 40), rescale=rescale, groups=2)
    text = c_source(made.program, "n")
    if rescale == "shift":
        assert "One image takes 0 multiplications" in text
        assert "(int64_t)sum *" not in text
    else:
        assert multiplications(made.program) > 0
        assert f"One image takes {multiplications(made.program)} multiplications" in text
    assert "/* conv1: adder layer, 1x32x32 -> 6x28x28 */" in text
    images = images_for((1, 32, 32), 3, seed=5)
    assert scores_of(made.program, images, tmp_path) == reference.run(made.program, images).tobytes()


def dense(filters: int, inputs: int, multiplier: int = 3) -> Program:
    """One layer of the smallest number of operations."""
    scale = Rescale(np.full(filters, multiplier, np.int32), np.zeros(filters, np.int64), 8, 0)
    layer = Adder("only", 0, SCORES, np.zeros((filters, inputs, 1, 1), np.uint8), Window((1, 1)), scale)
    return Program((inputs, 1, 1), np.zeros((inputs, 256), np.uint8), ((inputs, 1, 1),), (layer,), {})


def test_multiplications_are_counted() -> None:
    assert multiplications(dense(10, 7)) == 10
    assert multiplications(dense(10, 7, -4)) == 0
    program = dense(10, 7)
    (layer,) = program.operations
    assert isinstance(layer, Adder)
    products = Dot("only", 0, SCORES, layer.weights.astype(np.int8), layer.window, layer.rescale)
    assert multiplications(replace(program, operations=(products,))) == 10 + 70


def test_equal_programs_give_equal_text() -> None:
    assert c_source(random_program(3)) == c_source(random_program(3))


def test_names_cannot_leave_their_comments_and_strings(tmp_path: Path) -> None:
    program = dense(2, 3)
    (layer,) = program.operations
    evil = replace(layer, name='*/ #error "\n??/ é /*')
    program = replace(program, operations=(evil,), manifest={"classes": ['"; #error \n', "\\ é ??/ %s\0"]})
    agrees(program, tmp_path, 0)
    assert "#error" not in c_source(program).replace("\\043error", "")


def test_large_models_are_refused_with_the_remedy() -> None:
    assert c_source(dense(1024, 1))
    with pytest.raises(ValueError, match=r"4,198,400 bytes of weights.*model\.adder.*adder_run\.h"):
        c_source(dense(1025, MOST_C_WEIGHTS // 1024))


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "while", "x;"])
def test_names_that_c_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot begin names in C"):
        c_source(dense(2, 3), name)


def test_the_header_is_declared_where_others_call_it(tmp_path: Path) -> None:
    program = random_program(1)
    run = compiled(program, tmp_path)
    (tmp_path / "main.c").write_text(
        MAIN.replace('#include "network.h"', '#define N_DECLARATIONS\n#include "network.h"')
    )
    (tmp_path / "network.c").write_text('#include "network.h"\n')
    files = [str(tmp_path / "main.c"), str(tmp_path / "network.c")]
    subprocess.run(["gcc", *STRICT, "-o", str(run), *files], check=True)
    images = random_images(program, 1, 1)
    found = subprocess.run([str(run)], input=images.tobytes(), capture_output=True, check=True).stdout
    assert found == reference.run(program, images).tobytes()
