"""Words of C: arrays, names, strings."""

from __future__ import annotations

import re
import textwrap
from typing import Any, Final

import numpy as np

WIDTH: Final = 110
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LONGEST: Final = 1000
"""Bytes of a class's name: C99 promises strings of 4,095, and each byte may take four."""
KINDS: Final = {np.dtype(kind): f"{kind}_t" for kind in ("uint8", "int8", "uint16", "int32", "int64")}
KEYWORDS: Final = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
    ]
)


def array(name: str, values: Any) -> str:
    """A constant array of C, flat, in the type of the numpy array `values`."""
    suffix = "LL" if values.dtype == np.int64 else ""
    numbers = ", ".join(f"{number}{suffix}" for number in values.reshape(-1).tolist())
    lines = textwrap.fill(numbers, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f"static const {KINDS[values.dtype]} {name}[{values.size}] = {{\n{lines}\n}};\n"


def comment(text: str) -> str:
    """`text` as it may stand in a comment: what could end one, or is no printable ASCII, becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9 _.,:()+-]", "_", text)


def string(text: str) -> str:
    """A string literal; bytes that C could read otherwise are in octal.

    Raises:
        ValueError: a longer text than every C compiler takes.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > LONGEST:
        raise ValueError(
            f"a class's name has {len(raw)} bytes, and C source can hold {LONGEST}: shorten {text[:40]!r}…"
        )
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _.,:()+-/"
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in raw) + '"'


def checked_name(name: str) -> str:
    """The name if it can begin C's names; `ValueError` if not."""
    if not NAME.fullmatch(name) or name in KEYWORDS:
        raise ValueError(f"name {name!r} cannot begin names in C: use letters, digits and _, and begin with a letter")
    return name


def name_from(text: object) -> str:
    """A name in C from what a manifest calls its network; "network" where it has none."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", text) if isinstance(text, str) else ""
    return found if NAME.fullmatch(found) and found not in KEYWORDS else "network"
