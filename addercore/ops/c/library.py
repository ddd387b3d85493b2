"""Finds and loads the shared library of the C kernels."""

import ctypes
from functools import cache
from importlib.resources import as_file, files
from typing import Final

import torch  # noqa: F401  loads its libgomp first: the kernels then share torch's threads

ABI: Final = 4  # what adder_abi() in src/ must return; both change with any change of a signature or a struct
LIBRARY: Final = "libadder.so"


@cache
def _open() -> ctypes.CDLL | str:
    """The library, or the sentence that says why there is none."""
    resource = files("addercore.ops.c") / LIBRARY
    if not resource.is_file():
        return (
            "the C kernels are not built in this installation: install a C compiler (Debian: gcc and libc6-dev), "
            "then run `make kernels` in a checkout, or reinstall the package"
        )
    try:
        with as_file(resource) as path:
            library = ctypes.CDLL(str(path))
    except OSError as error:
        remedy = "install libgomp1 (GCC's OpenMP library)" if "libgomp" in str(error) else "reinstall the package"
        return f"the C kernels do not load ({error}): {remedy}"
    found = _abi(library)
    if found != ABI:
        return (
            f"the C kernels at hand have interface {'unknown' if found is None else found}, this package needs {ABI}: "
            "run `make kernels` in a checkout, or reinstall the package"
        )
    return library


def _abi(library: ctypes.CDLL) -> int | None:
    """The interface that the library says it has; None where it does not say."""
    try:
        function = library.adder_abi
    except AttributeError:
        return None
    function.argtypes, function.restype = [], ctypes.c_int
    return int(function())


def missing() -> str | None:
    """Why the C kernels cannot run here, with the remedy; None where they can."""
    found = _open()
    return found if isinstance(found, str) else None


def load() -> ctypes.CDLL:
    """The library, checked to have this package's interface; `RuntimeError` with `missing()`'s sentence without it."""
    found = _open()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found
