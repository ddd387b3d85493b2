"""The engine from C: the example, damaged files under sanitizers, and NEON in an emulator."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from addercore.ops.c import build
from addercore.runtime import format, reference
from addercore.runtime.library import load as load_library
from benchmarks.integer import networks
from tests.addercore.runtime.driver import NOT_HERE, compile_program
from tests.addercore.runtime.programs import random_images, random_program
from tests.support.shared import Run

ROOT = Path(__file__).parents[3]
SANITIZE = ("-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CROSS, EMULATOR, SYSTEM = "aarch64-linux-gnu-gcc", "qemu-aarch64", "/usr/aarch64-linux-gnu"


def native(only: Sequence[str] | None = None) -> build.Toolchain:
    try:
        return build.toolchain(only=only, part=build.ENGINE)
    except build.NoCompilerError as error:
        pytest.skip(str(error))


def written(folder: Path, seeds: Sequence[int], count: int = 1) -> tuple[list[str], bytes]:
    """Models and images as files, in pairs, and the scores of all by the definition."""
    paths, scores = [], b""
    for seed in seeds:
        program = random_program(seed)
        format.write(program, folder / f"{seed}.adder")
        images = random_images(program, count, seed)
        (folder / f"{seed}.pixels").write_bytes(images.tobytes())
        paths += [str(folder / f"{seed}.adder"), str(folder / f"{seed}.pixels")]
        scores += reference.run(program, images).tobytes()
    return paths, scores


def test_the_example_classifies_a_pgm_image(tmp_path: Path) -> None:
    source = ROOT / "examples" / "classify.c"
    assert len(source.read_text().splitlines()) < 60
    library = Path(load_library()._name)
    run = [*native().command, "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{build.ENGINE.sources}", str(source)]
    run += [str(library), f"-Wl,-rpath,{library.parent}", "-o", str(tmp_path / "classify")]
    subprocess.run(run, check=True)
    program = networks.lenet5_bn()
    format.write(program, tmp_path / "model.adder")
    image = random_images(program, 1, 0)
    (tmp_path / "digit.pgm").write_bytes(b"P5\n32 32\n255\n" + image.tobytes())
    scores = reference.run(program, image)[0]

    def classify(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./classify", "model.adder", name], cwd=tmp_path, capture_output=True, text=True)

    assert classify("digit.pgm").stdout == f"class {scores.argmax()}, score {scores.max():.9g}\n"
    (tmp_path / "small.pgm").write_bytes(b"P5\n31 32\n255\n" + image.tobytes())
    assert classify("small.pgm").returncode == 2
    (tmp_path / "model.adder").write_bytes((tmp_path / "model.adder").read_bytes()[:-9])
    assert "it was cut" in classify("digit.pgm").stderr


def fuzzed(program: Path, engine: str, folder: Path, forms: int, seeds: Sequence[int]) -> int:
    """How many damaged forms opened; sanitizers end the program where one does harm."""
    paths = []
    for seed in seeds:
        format.write(random_program(seed), folder / f"{seed}.adder")
        paths.append(str(folder / f"{seed}.adder"))
    run = [str(program), engine, str(forms), "7", *paths]
    done = subprocess.run(run, capture_output=True, text=True, timeout=600)
    if done.returncode == NOT_HERE:
        pytest.skip(f"this processor has no {engine}")
    assert done.returncode == 0, f"{' '.join(run)}\n{done.stderr[-4000:]}"
    total, opened = (int(word.split()[0]) for word in done.stdout.split(", "))
    assert total == forms * len(seeds)
    return opened


@pytest.fixture(scope="module")
def sanitized(shared_run: Run) -> Path:
    """The generic engine with sanitizers, and the program that damages files."""
    tools = native(["generic"])
    if not build.compiles(tools.command, SANITIZE):
        pytest.skip(f"{' '.join(tools.command)} has no sanitizers (Debian: libasan and libubsan come with gcc)")
    make = shared_run.once(
        "runtime-sanitized", lambda folder: compile_program(tools, folder, "fuzz", ["-O1", *SANITIZE])
    )
    return make / "fuzz"


def test_damaged_files_do_no_harm(sanitized: Path, tmp_path: Path) -> None:
    opened = fuzzed(sanitized, "generic", tmp_path, 100, [0, 3, 8])
    assert 30 < opened < 290


@pytest.mark.long("10,000 damaged files under sanitizers, on every instruction set")
@pytest.mark.parametrize("engine", ["generic", "avx2", "avx512", "avx512vnni"])
def test_many_damaged_files_do_no_harm(engine: str, shared_run: Run, tmp_path: Path) -> None:
    tools = native()
    if engine not in tools.units or not build.compiles(tools.command, SANITIZE):
        pytest.skip(f"this compiler has no {engine}, or no sanitizers")
    folder = shared_run.once("runtime-all", lambda folder: compile_program(tools, folder, "fuzz", ["-O1", *SANITIZE]))
    fuzzed(folder / "fuzz", engine, tmp_path, 1_000, range(20, 30))


@pytest.mark.long("a sanitizer's build of every instruction set")
@pytest.mark.parametrize("engine", ["generic", "avx2", "avx512", "avx512vnni"])
def test_no_run_leaves_its_memory(engine: str, shared_run: Run, tmp_path: Path) -> None:
    tools = native()
    if engine not in tools.units or not build.compiles(tools.command, SANITIZE):
        pytest.skip(f"this compiler has no {engine}, or no sanitizers")
    folder = shared_run.once(
        "runtime-score", lambda folder: compile_program(tools, folder, "score", ["-O1", *SANITIZE])
    )
    paths, scores = written(tmp_path, range(40, 80))
    compare([str(folder / "score"), engine, "1", *paths], scores)


def compare(run: Sequence[str], scores: bytes) -> None:
    done = subprocess.run(run, capture_output=True, timeout=600)
    if done.returncode == NOT_HERE:
        pytest.skip(f"this processor has no {run[-1]}")
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    assert (np.frombuffer(done.stdout, np.uint32) == np.frombuffer(scores, np.uint32)).all()


@pytest.fixture(scope="module")
def emulated(shared_run: Run) -> Path:
    missing = [tool for tool in (CROSS, EMULATOR) if not shutil.which(tool)]
    if missing:
        pytest.skip(
            f"no {' and no '.join(missing)} (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user)"
        )
    tools = build.toolchain([CROSS], part=build.ENGINE)
    assert {"neon", "neon_dotprod"} <= set(tools.units)
    return shared_run.once("runtime-neon", lambda folder: compile_program(tools, folder, "score")) / "score"


@pytest.mark.parametrize("engine", ["generic", "neon", "neon_dotprod"])
def test_neon_in_an_emulator(emulated: Path, engine: str, tmp_path: Path) -> None:
    paths, scores = written(tmp_path, range(500, 530))
    compare([EMULATOR, "-L", SYSTEM, str(emulated), engine, "1", *paths], scores)
