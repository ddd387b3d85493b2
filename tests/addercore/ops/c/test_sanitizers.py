"""The C kernels by themselves, on every instruction set: right values, no step outside a buffer, nothing undefined.

Two builds, since each sees what the other cannot: AddressSanitizer knows every allocation's exact ends but does not
look into masked loads; pages that must not be touched, at the ends of every buffer and of the library's own scratch,
catch those in hardware. A third one runs the NEON unit, cross-compiled, in an emulator.
"""

import platform
import shutil
from pathlib import Path

import pytest

from addercore.ops.c import build
from tests.addercore.ops.c.driver import DRIVER, compile_driver, run_driver
from tests.support.shared import Run

SANITIZE = ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CROSS = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"  # where Debian puts that architecture's C library
ISAS = build.FOR_TARGET.get(platform.machine(), build.OTHER_TARGETS)  # of this machine


def native() -> build.Toolchain:
    try:
        return build.toolchain()
    except build.NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def sanitized(shared_run: Run) -> Path:
    tools = native()
    if not build.compiles(tools.command, SANITIZE):
        pytest.skip(f"{' '.join(tools.command)} has no sanitizers (Debian: libasan and libubsan come with gcc)")
    return shared_run.once("sanitized", lambda folder: compile_driver(tools, folder, SANITIZE)) / DRIVER


@pytest.fixture(scope="module")
def guarded(shared_run: Run) -> Path:
    tools = native()
    return shared_run.once("guarded", lambda folder: compile_driver(tools, folder, defines=["-DADDER_GUARD"])) / DRIVER


@pytest.fixture(scope="module")
def emulated(shared_run: Run) -> Path:
    missing = [tool for tool in (CROSS, EMULATOR) if not shutil.which(tool)]
    if missing:
        pytest.skip(
            f"no {' and no '.join(missing)} (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user)"
        )
    tools = build.toolchain([CROSS])
    return shared_run.once("emulated", lambda folder: compile_driver(tools, folder, defines=["-DADDER_GUARD"])) / DRIVER


@pytest.mark.long("a sanitizer's build")
def test_the_generic_kernels_step_over_no_edge(shared_run: Run) -> None:
    """The short form: one unit of the library in an ordinary build."""
    native()
    tools = build.toolchain(only=["generic"])
    driver = (
        shared_run.once("generic", lambda folder: compile_driver(tools, folder, defines=["-DADDER_GUARD"])) / DRIVER
    )
    run_driver(driver, "generic", cases=20, seed=4)


@pytest.mark.long("a minute or two to compile with sanitizers")
@pytest.mark.parametrize("isa", ISAS)
def test_sanitizers_find_nothing(sanitized: Path, isa: str) -> None:
    run_driver(sanitized, isa, cases=40, seed=1)


@pytest.mark.long("a minute to compile for every instruction set")
@pytest.mark.parametrize("isa", ISAS)
def test_no_step_over_the_edge_of_a_buffer(guarded: Path, isa: str) -> None:
    run_driver(guarded, isa, cases=80, seed=2)


def test_neon_in_an_emulator(emulated: Path) -> None:
    run_driver(emulated, "neon", cases=5, seed=3, under=[EMULATOR, "-L", SYSTEM])
