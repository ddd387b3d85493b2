"""Datasets as bytes and as tensors, and the preprocessing from pixels to a network's input.

Importing this package loads no torch (names are resolved on first use, PEP 562): `intake` needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addercore.data.division import fingerprint as fingerprint
    from addercore.data.division import held_out as held_out
    from addercore.data.division import opened as opened
    from addercore.data.division import part as part
    from addercore.data.division import parts as parts
    from addercore.data.pixels import Preprocess as Preprocess
    from addercore.data.pixels import prepare as prepare
    from addercore.data.sets import SPLITS as SPLITS
    from addercore.data.sets import Examples as Examples
    from addercore.data.sets import Split as Split
    from addercore.data.sets import load as load
    from addercore.data.sets import raw as raw
    from addercore.data.sets import sample_image as sample_image
    from addercore.data.sets import source as source
    from addercore.data.sources import Shared as Shared
    from addercore.data.sources import Source as Source
    from addercore.data.sources import Stored as Stored

_HOME = {
    "SPLITS": "sets",
    "Examples": "sets",
    "Preprocess": "pixels",
    "Shared": "sources",
    "Source": "sources",
    "Split": "sets",
    "Stored": "sources",
    "fingerprint": "division",
    "held_out": "division",
    "load": "sets",
    "opened": "division",
    "part": "division",
    "parts": "division",
    "prepare": "pixels",
    "raw": "sets",
    "sample_image": "sets",
    "source": "sets",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"addercore.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'addercore.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
