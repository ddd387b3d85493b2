"""Finds and loads the engine's shared library. Needs neither torch nor numpy."""

import ctypes
from functools import cache
from importlib.resources import as_file, files
from typing import Final

ABI: Final = 2  # what adder_run_abi() in src/ must return; both change with any change of a signature or a struct
LIBRARY: Final = "libadder_run.so"
_P = ctypes.c_void_p


class Info(ctypes.Structure):
    """adder_info of adder_run.h."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("channels", "height", "width", "classes")),
        *(
            (name, ctypes.c_uint64)
            for name in ("file_bytes", "workspace_bytes", "activation_bytes", "table_bytes", "terms", "slow_terms")
        ),
        ("engine", ctypes.c_char_p),
        ("manifest", _P),
        ("manifest_bytes", ctypes.c_uint64),
    )


SIGNATURES: Final = {
    "adder_engine_count": (ctypes.c_int, ()),
    "adder_engine_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "adder_engine_supported": (ctypes.c_int, (ctypes.c_int,)),
    "adder_open": (
        ctypes.c_int,
        (ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_P), ctypes.c_char_p, ctypes.c_size_t),
    ),
    "adder_describe": (None, (_P, ctypes.POINTER(Info))),
    "adder_verify": (ctypes.c_int, (_P, ctypes.c_char_p, ctypes.c_size_t)),
    "adder_run": (None, (_P, _P, ctypes.c_size_t, _P, _P)),
    "adder_close": (None, (_P,)),
}


@cache
def load() -> ctypes.CDLL:
    """The library, with its signatures; `RuntimeError` says why there is none, and the remedy."""
    resource = files("addercore.runtime") / LIBRARY
    if not resource.is_file():
        raise RuntimeError(
            "the engine of integer models is not built in this installation: install a C compiler (Debian: gcc and "
            "libc6-dev), then run `make kernels` in a checkout, or reinstall the package"
        )
    try:
        with as_file(resource) as path:
            library = ctypes.CDLL(str(path))
        found = int(library.adder_run_abi())
    except (OSError, AttributeError) as error:
        raise RuntimeError(f"the engine does not load ({error}): reinstall the package") from error
    if found != ABI:
        raise RuntimeError(
            f"the engine at hand has interface {found}, this package needs {ABI}: run `make kernels` in a checkout, or "
            "reinstall the package"
        )
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def engines() -> dict[str, bool]:
    """The engines that were compiled in, the fastest first, and whether this processor can run them."""
    library = load()
    numbers = range(library.adder_engine_count())
    return {
        library.adder_engine_name(number).decode(): bool(library.adder_engine_supported(number)) for number in numbers
    }
