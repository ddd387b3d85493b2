"""Compiles the C libraries: one translation unit per instruction set with its own flags, one link, one shared library.

There are two: the kernels of training, `libadder.so`, and the integer engine, `libadder_run.so` in addercore/runtime.
Both are plain C: no Python and no torch in them, so one file serves every Python version. A C11 compiler is all it
takes. Only the standard library is imported here, since this runs in three places: in the package's
build (setup.py), by itself (`python addercore/ops/c/build.py`, which is `make kernels`), and in the tests, which add
sanitizers or a cross compiler.

Which units go in depends on the compiler's target; `-DADDER_HAVE_<UNIT>=1` tells every unit which ones are there.
`CC` names another compiler, `CFLAGS` adds flags in front of these.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SOURCES: Final = HERE / "src"
LIBRARY: Final = "libadder.so"
# No fusing of a·b + c by the compiler: results then do not depend on its version. Explicit fma intrinsics stay.
FLAGS: Final = (
    *("-std=c11", "-D_POSIX_C_SOURCE=200112L", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"),
    *("-Wall", "-Wextra", "-Werror=implicit-function-declaration"),
)
OPENMP: Final = "-fopenmp"
NO_UNDEFINED: Final = "-Wl,-z,defs"  # a missing function is the linker's error, not the user's at import
UNITS: Final[dict[str, tuple[str, ...]]] = {
    "generic": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"),
    "avx512vnni": ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx512vnni"),
    "neon": (),
    "neon_dotprod": ("-march=armv8.2-a+dotprod",),
}
FOR_TARGET: Final[dict[str, tuple[str, ...]]] = {
    "x86_64": ("generic", "avx2", "avx512"),
    "aarch64": ("generic", "neon"),
}
OTHER_TARGETS: Final = ("generic",)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A library that is built.

    Attributes:
        library: its file name; it lies beside its folder `src`.
        folder: where both are.
        common: sources for every processor, without `.c`.
        for_target: the units of a compiler's target; `UNITS` has their flags.
        openmp: whether its functions start threads.
    """

    library: str
    folder: Path
    common: tuple[str, ...]
    for_target: dict[str, tuple[str, ...]]
    openmp: bool

    @property
    def sources(self) -> Path:
        return self.folder / "src"

    @property
    def output(self) -> Path:
        """Where a checkout has the library."""
        return self.folder / self.library


KERNELS: Final = Part(LIBRARY, HERE, ("dispatch", "evaluate"), FOR_TARGET, True)
ENGINE: Final = Part(
    "libadder_run.so",
    HERE.parents[1] / "runtime",
    ("engines", "model", "parse", "plan", "pool", "run", "slow"),
    {"x86_64": ("generic", "avx2", "avx512", "avx512vnni"), "aarch64": ("generic", "neon", "neon_dotprod")},
    False,
)
PARTS: Final = (KERNELS, ENGINE)
WITHOUT: Final = {
    KERNELS.library: "the C kernels are left out and the slower portable backend will run",
    ENGINE.library: "the engine of integer models is left out, and they cannot be run",
}
"""What a missing compiler means."""


class NoCompilerError(Exception):
    """There is no C compiler here, or one that cannot make a shared library."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler that works: the command, the units for its target that it can compile, what else it knows."""

    command: tuple[str, ...]
    target: str
    units: tuple[str, ...]
    openmp: bool
    no_undefined: bool

    def flags(self, unit: str) -> list[str]:
        """Flags of a unit, "dispatch" included, in front of the source's name."""
        have = [f"-DADDER_HAVE_{name.upper()}=1" for name in self.units]
        openmp = [OPENMP if self.openmp else "-Wno-unknown-pragmas"]
        return [*shlex.split(os.environ.get("CFLAGS", "")), *FLAGS, *openmp, *have, *UNITS.get(unit, ())]

    def link(self) -> list[str]:
        """Flags that make a shared library of the objects."""
        return ["-shared", *([OPENMP] if self.openmp else []), *([NO_UNDEFINED] if self.no_undefined else [])]


def compiles(command: Sequence[str], flags: Sequence[str], program: str = "int probe(void) { return 1; }\n") -> bool:
    """Whether `program` becomes a shared library with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(program)
        run = [*command, *flags, "-fPIC", "-shared", "-o", str(source.with_suffix(".so")), str(source)]
        return subprocess.run(run, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def toolchain(
    command: Sequence[str] | None = None, only: Sequence[str] | None = None, part: Part = KERNELS
) -> Toolchain:
    """The compiler called `command` (else CC, else cc, gcc or clang), tried out; `only` names the units to take."""
    named = list(command or shlex.split(os.environ.get("CC", "")))
    found = named or next(([name] for name in ("cc", "gcc", "clang") if shutil.which(name)), [])
    if not found or not shutil.which(found[0]):
        raise NoCompilerError(f"no C compiler found (looked for {' '.join(named) or 'cc, gcc and clang'})")
    if not compiles(found, (), "#include <stdlib.h>\n#include <math.h>\nint probe(void) { return abs(-1); }\n"):
        raise NoCompilerError(
            f"the C compiler {' '.join(found)} cannot make a shared library (C library headers missing?)"
        )
    answer = subprocess.run([*found, "-dumpmachine"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    target = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine := answer.stdout.strip().split("-")[0], machine)
    units = part.for_target.get(target, OTHER_TARGETS)
    if unknown := set(only or ()) - set(units):
        raise ValueError(f"only names the units {sorted(unknown)}; a {target} target has {', '.join(units)}")
    wanted = [unit for unit in units if only is None or unit in only]
    able = tuple(unit for unit in wanted if compiles(found, UNITS[unit]))
    openmp = part.openmp and compiles(
        found, [OPENMP], "#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n"
    )
    no_undefined = compiles(found, [NO_UNDEFINED])
    return Toolchain(tuple(found), target, able, openmp, no_undefined)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"the C compiler failed ({done.returncode}): {shlex.join(command)}\n{done.stderr}")
    print(done.stderr, file=sys.stderr, end="")


def objects(
    tools: Toolchain, folder: Path, extra: Sequence[str] = (), sources: Path | None = None, part: Part = KERNELS
) -> list[Path]:
    """Compiles the common sources and every unit into `folder`, side by side; `extra` flags come last."""
    folder.mkdir(parents=True, exist_ok=True)

    def one(unit: str) -> Path:
        output = folder / f"{unit}.o"
        _run(
            [
                *tools.command,
                *tools.flags(unit),
                *extra,
                "-c",
                str((sources or part.sources) / f"{unit}.c"),
                "-o",
                str(output),
            ]
        )
        return output

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, (*part.common, *tools.units)))


def library(tools: Toolchain, output: Path, sources: Path | None = None, part: Part = KERNELS) -> None:
    """Builds the shared library at `output`; a process that has an older one loaded keeps it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kernels-", dir=output.parent) as folder:
        built = Path(folder, part.library)
        made = [str(made) for made in objects(tools, Path(folder), sources=sources, part=part)]
        _run([*tools.command, *tools.link(), "-o", str(built), *made, "-lm"])
        os.replace(built, output)


def build(output: Path, sources: Path | None = None, part: Part = KERNELS) -> str | None:
    """Builds the library at `output`. Without a compiler: removes what lies there, and returns why in one sentence."""
    try:
        tools = toolchain(part=part)
    except NoCompilerError as error:
        output.unlink(missing_ok=True)
        remedy = "install gcc (Debian: gcc and libc6-dev) and repeat the installation"
        return f"Adderworks: {error}: {WITHOUT[part.library]}; {remedy}"
    library(tools, output, sources, part)
    without = [unit for unit in part.for_target.get(tools.target, OTHER_TARGETS) if unit not in tools.units]
    for unit in without:
        print(f"Adderworks: {' '.join(tools.command)} cannot compile for {unit}; left out", file=sys.stderr)
    if part.openmp and not tools.openmp:
        print(f"Adderworks: {' '.join(tools.command)} has no OpenMP; the kernels use one thread", file=sys.stderr)
    return None


def main() -> int:
    named = {"kernels": KERNELS, "engine": ENGINE}
    parser = argparse.ArgumentParser(description="Compile the C libraries.")
    parser.add_argument("--part", choices=sorted(named), help="which of the two; default: both")
    parser.add_argument("--output", type=Path, help="where the library goes; default: in place")
    parser.add_argument("--only", help="units to take, separated by commas; default: all of the target")
    options = parser.parse_args()
    if (options.output or options.only) and not options.part:
        options.part = "kernels"
    for part in [named[options.part]] if options.part else PARTS:
        output = options.output or part.output
        if options.only:
            library(toolchain(only=options.only.split(","), part=part), output, part=part)
        elif message := build(output, part=part):
            print(message, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
