"""The build of the C kernels: what goes into the library, and what happens where something is missing.

Small sources stand in for the kernels where the kernels themselves do not matter.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from addercore.ops.c import build

ROOT = Path(__file__).resolve().parents[4]
DISPATCH = """
#include "stand_in.h"
int ADDER_API adder_abi(void) { return 99; }
int ADDER_API adder_units(void) {
    int units = unit_generic();
#ifdef ADDER_HAVE_AVX2
    units += unit_avx2();
#endif
#ifdef ADDER_HAVE_AVX512
    units += unit_avx512();
#endif
#ifdef ADDER_HAVE_NEON
    units += unit_neon();
#endif
    return units;
}
double ADDER_API adder_fused(double a, double b, double c) { return fused_generic(a, b, c); }
"""
HEADER = """
#define ADDER_API __attribute__((visibility("default")))
int unit_generic(void), unit_avx2(void), unit_avx512(void), unit_neon(void);
double fused_generic(double, double, double);
"""
UNIT = """
#include "stand_in.h"
int unit_{name}(void) {{
    int sum = 0;
#pragma omp parallel num_threads(2) reduction(+ : sum)
    sum += {value};
    return sum;
}}
double fused_{name}(double a, double b, double c);
double fused_{name}(double a, double b, double c) {{ return a * b + c; }}
"""
VALUES = {"generic": 1, "avx2": 10, "avx512": 100, "neon": 1000}


def needs_compiler() -> build.Toolchain:
    try:
        return build.toolchain()
    except build.NoCompilerError as error:
        pytest.skip(str(error))


def stand_in(folder: Path) -> Path:
    """Sources of a library that says which units are in it, doubled where two threads ran."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stand_in.h").write_text(HEADER)
    for name in build.KERNELS.common:
        (folder / f"{name}.c").write_text(DISPATCH if name == "dispatch" else '#include "stand_in.h"')
    for name, value in VALUES.items():
        (folder / f"{name}.c").write_text(UNIT.format(name=name, value=value))
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return stand_in(tmp_path / "src")


def expected(tools: build.Toolchain) -> int:
    return sum(VALUES[unit] for unit in tools.units) * (2 if tools.openmp else 1)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_units_are_those_of_the_machine() -> None:
    tools = needs_compiler()
    assert tools.target == {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    assert tools.units == build.FOR_TARGET.get(tools.target, build.OTHER_TARGETS)


def test_every_unit_is_linked_and_only_the_interface_shows(sources: Path, tmp_path: Path) -> None:
    tools = needs_compiler()
    output = tmp_path / "new folder" / build.LIBRARY
    build.library(tools, output, sources)
    library = ctypes.CDLL(str(output))
    assert library.adder_units() == expected(tools)
    assert not hasattr(library, "unit_generic")
    assert os.listdir(output.parent) == [build.LIBRARY]


def test_some_units_only(sources: Path, tmp_path: Path) -> None:
    needs_compiler()
    build.library(tools := build.toolchain(only=["generic"]), tmp_path / build.LIBRARY, sources)
    assert ctypes.CDLL(str(tmp_path / build.LIBRARY)).adder_units() == expected(tools) == (2 if tools.openmp else 1)
    with pytest.raises(ValueError, match="sparc9"):
        build.toolchain(only=["generic", "sparc9"])


def test_a_unit_that_the_compiler_does_not_know_is_left_out(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(build.UNITS, "avx512", ("-mavx4096",))
    monkeypatch.setitem(build.UNITS, "neon", ("-mavx4096",))
    tools = needs_compiler()
    assert {"avx512", "neon"}.isdisjoint(tools.units)
    build.library(tools, tmp_path / build.LIBRARY, sources)
    assert ctypes.CDLL(str(tmp_path / build.LIBRARY)).adder_units() == expected(tools)


def test_products_and_sums_are_rounded_one_by_one(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = needs_compiler()
    if tools.target == "x86_64":  # the generic unit with a processor's fused instruction at hand
        monkeypatch.setitem(build.UNITS, "generic", ("-mfma",))
        if "fma" not in Path("/proc/cpuinfo").read_text():
            pytest.skip("this processor has no fused multiply-add")
    build.library(tools, tmp_path / build.LIBRARY, sources)
    function = ctypes.CDLL(str(tmp_path / build.LIBRARY)).adder_fused
    function.argtypes, function.restype = [ctypes.c_double] * 3, ctypes.c_double
    assert function(1 + 2**-30, 1 - 2**-30, -1) == 0  # fused: −2⁻⁶⁰


def test_without_openmp_one_thread(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = " ".join(needs_compiler().command)
    refuses = 'for a in "$@"; do [ "$a" = -fopenmp ] && exit 1; done'
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", f'{refuses}\nexec {real} "$@"')))
    assert build.build(tmp_path / build.LIBRARY, sources) is None
    assert "has no OpenMP; the kernels use one thread" in capfd.readouterr().err
    tools = build.toolchain()
    assert ctypes.CDLL(str(tmp_path / build.LIBRARY)).adder_units() == sum(VALUES[unit] for unit in tools.units)


def test_without_a_compiler_an_old_library_goes_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / build.LIBRARY
    old.write_bytes(b"of another version")
    monkeypatch.setenv("CC", "/nowhere/cc")
    message = build.build(old)
    assert message is not None
    assert "no C compiler found (looked for /nowhere/cc)" in message
    assert "install gcc" in message
    assert not old.exists()


def test_a_compiler_that_cannot_link_is_none(tmp_path: Path) -> None:
    with pytest.raises(build.NoCompilerError, match="cannot make a shared library"):
        build.toolchain([str(script(tmp_path / "cc", "exit 1"))])


def test_an_error_in_a_source_is_shown(sources: Path, tmp_path: Path) -> None:
    tools = needs_compiler()
    output = tmp_path / build.LIBRARY
    output.write_bytes(b"before")
    (sources / "generic.c").write_text("int unit_generic(void) { return missing_name; }\n")
    with pytest.raises(RuntimeError, match="missing_name"):
        build.library(tools, output, sources)
    (sources / "generic.c").write_text("int unit_generic(void);\n")  # compiles, but there is no such function
    with pytest.raises(RuntimeError, match="unit_generic"):
        build.library(tools, output, sources)
    assert output.read_bytes() == b"before"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the package is built from, with stand-ins for the kernels."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "pyproject.toml", "README.md", "constraints.txt", "Makefile"):
        shutil.copy2(ROOT / name, folder / name)
    leave = shutil.ignore_patterns("__pycache__", "*.so", "src")
    shutil.copytree(ROOT / "addercore", folder / "addercore", ignore=leave)
    stand_in(folder / "addercore" / "ops" / "c" / "src")
    engine = folder / "addercore" / "runtime" / "src"
    engine.mkdir(parents=True)
    for name in {*build.ENGINE.common, *(unit for units in build.ENGINE.for_target.values() for unit in units)}:
        (engine / f"{name}.c").write_text(f"int part_{name}(void);\nint part_{name}(void) {{ return 1; }}\n")
    return folder


def wheel(checkout: Path, output: Path, compiler: str | None) -> tuple[zipfile.ZipFile, str]:
    """Builds the wheel with this environment's setuptools; the wheel and what the build said."""
    environment = os.environ | ({"CC": compiler} if compiler else {})
    run = [sys.executable, "-m", "pip", "-v", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*run, "--wheel-dir", str(output), "."], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = output.iterdir()
    return zipfile.ZipFile(path), done.stdout + done.stderr


@pytest.mark.long("builds a wheel")
def test_the_wheel_brings_the_library_for_every_python(checkout: Path, tmp_path: Path) -> None:
    tools = needs_compiler()
    archive, _ = wheel(checkout, tmp_path / "wheels", None)
    assert "-py3-none-" in str(archive.filename)
    assert str(archive.filename).endswith(f"_{platform.machine()}.whl")
    names = archive.namelist()
    assert {"addercore/ops/c/libadder.so", "addercore/runtime/libadder_run.so"} <= set(names)
    assert not [name for name in names if "/src/" in name]
    library = ctypes.CDLL(archive.extract("addercore/ops/c/libadder.so", tmp_path / "unpacked"))
    assert library.adder_units() == expected(tools)


@pytest.mark.long("builds a wheel")
def test_without_a_compiler_the_wheel_is_for_any_platform(checkout: Path, tmp_path: Path) -> None:
    stale = checkout / "build" / f"lib.{platform.machine()}" / "addercore" / "ops" / "c" / build.LIBRARY
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_bytes(b"of an earlier build")
    archive, said = wheel(checkout, tmp_path / "wheels", "/nowhere/cc")
    assert str(archive.filename).endswith("-py3-none-any.whl")
    assert not [name for name in archive.namelist() if name.endswith(".so")]
    assert said.count("Adderworks: no C compiler found") == 2  # one for each library


def test_the_source_distribution_has_the_sources(checkout: Path, tmp_path: Path) -> None:
    run = [sys.executable, "setup.py", "--quiet", "sdist", "--formats", "zip", "--dist-dir", str(tmp_path)]
    done = subprocess.run(run, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.zip")
    names = {name.split("/c/")[-1] for name in zipfile.ZipFile(path).namelist() if "/ops/c/" in name}
    assert {
        "build.py",
        "library.py",
        "src/stand_in.h",
        *(f"src/{u}.c" for u in (*build.KERNELS.common, *VALUES)),
    } <= names


def test_make_builds_again_what_changed(checkout: Path) -> None:
    needs_compiler()
    library = Path("addercore/ops/c/libadder.so")
    (checkout / ".venv").mkdir()
    for name in (".venv/.installed", *(str(path) for path in checkout.rglob("*.[ch]"))):
        (checkout / name).touch()
    make = ["make", "--no-print-directory", f"RUN={Path(sys.executable).parent}", str(library)]

    def built() -> bool:
        done = subprocess.run(make, cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return "build.py" in done.stdout

    assert built()
    assert not built()
    header = checkout / "addercore/ops/c/src/stand_in.h"
    later = (checkout / library).stat().st_mtime + 1
    os.utime(header, (later, later))
    assert built()
