"""Finding the kernels' library: it is there after an installation with a compiler, and else the reason is told."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from addercore.ops.c import build, library

ABI_OF_ANOTHER_VERSION = '__attribute__((visibility("default"))) int adder_abi(void) { return 4711; }\n'


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Lets the package look for its library in an empty folder; the path where it would be."""

    def move() -> Path:
        monkeypatch.setattr(library, "files", lambda _package: tmp_path)
        library._open.cache_clear()
        return tmp_path / library.LIBRARY

    yield move
    library._open.cache_clear()


def compile_at(path: Path, source: str, *extra: str) -> None:
    try:
        command = build.toolchain().command
    except build.NoCompilerError as error:
        pytest.skip(str(error))
    text = path.with_suffix(".c")
    text.write_text(source)
    subprocess.run([*command, "-shared", "-fPIC", "-o", str(path), str(text), *extra], check=True)


def test_this_installation_has_the_kernels() -> None:
    try:
        build.toolchain()
    except build.NoCompilerError as error:
        pytest.skip(str(error))
    assert library.missing() is None, f"{library.missing()} (`make setup` builds them)"
    assert library.load().adder_abi() == library.ABI
    assert f"#define ADDER_ABI {library.ABI} " in (build.SOURCES / "adder.h").read_text()


def test_without_a_library_the_remedy_is_told(at: Callable[[], Path]) -> None:
    at()
    assert "not built in this installation: install a C compiler" in (library.missing() or "")
    with pytest.raises(RuntimeError, match="make kernels"):
        library.load()


def test_a_library_of_another_version_is_refused(at: Callable[[], Path]) -> None:
    compile_at(at(), ABI_OF_ANOTHER_VERSION)
    assert f"have interface 4711, this package needs {library.ABI}" in (library.missing() or "")


def test_a_library_without_a_version_is_refused(at: Callable[[], Path]) -> None:
    compile_at(at(), "int something_else(void) { return 1; }\n")
    assert "have interface unknown" in (library.missing() or "")


def test_a_file_that_is_no_library_is_reported(at: Callable[[], Path]) -> None:
    at().write_bytes(b"not an ELF file")
    assert "do not load" in (library.missing() or "")
    assert "reinstall the package" in (library.missing() or "")


def test_missing_openmp_is_named(at: Callable[[], Path]) -> None:
    path = at()
    openmp = path.with_name("libgomp_of_nowhere.so")
    compile_at(openmp, "int omp_of_nowhere(void) { return 1; }\n")
    use = "int omp_of_nowhere(void); int adder_abi(void) { return omp_of_nowhere(); }\n"
    compile_at(path, use, str(openmp))
    openmp.unlink()
    assert "install libgomp1" in (library.missing() or "")
