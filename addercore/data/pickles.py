"""A reader of pickles that can build nothing but numbers, texts, lists, dictionaries and arrays of bytes.

It is an interpreter of its own for the opcodes that CIFAR's Python files are made of (of every protocol from 2 on), not
Python's `pickle`: no name in a file is ever looked up, nothing in it is called. The names that an array of numpy is
made with are known by their text; any other one ends the reading.

Source: CPython's `pickletools`, for the opcodes; https://www.cs.toronto.edu/~kriz/cifar.html, for what the files hold.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

MOST_ITEMS: Final = 5_000_000  # of all values that a file pushes
KEY_BYTES: Final = 1000


class BadPickle(ValueError):
    """Why a file is not read; continues a sentence that begins with its name."""


class _Mark:
    """Where a tuple, list or dictionary begins on the stack."""


class _Name:
    """One of the names that may stand in a file."""

    def __init__(self, what: str) -> None:
        self.what = what


class _Building:
    """An array or its type before its state is known."""

    def __init__(self, what: str, detail: object = None) -> None:
        self.what, self.detail = what, detail
        self.array: np.ndarray[Any, Any] | None = None


_MARK: Final = _Mark()
_NAMES: Final = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
_BYTES: Final = ("u1", "|u1", "B")
_TEXTS: Final = {b"U": 1, b"T": 4, b"X": 4, b"\x8c": 1, b"\x8d": 8, b"C": 1, b"B": 4, b"\x8e": 8, b"\x8a": 1}
"""Opcodes of texts, bytes and long integers, and how many bytes say their length."""
_FIXED: Final = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d"}


def read_plain(data: bytes) -> object:
    """What the pickle `data` holds. Texts of Python 2 come as bytes, as they do not say their encoding.

    Raises:
        BadPickle: it holds, or is, something else.
    """
    return _Reader(data).run()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._pushed = memoryview(data), 0, 0
        self._room = 2 * len(data)  # bytes that copies of what lies in the file may take
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._simple: dict[bytes, Callable[[], None]] = {
            b"(": lambda: self._push(_MARK),
            b"}": lambda: self._push({}),
            b"]": lambda: self._push([]),
            b")": lambda: self._push(()),
            b"N": lambda: self._push(None),
            b"\x88": lambda: self._push(True),
            b"\x89": lambda: self._push(False),
            b"a": lambda: self._extend(1),
            b"e": lambda: self._extend(None),
            b"s": lambda: self._set(2),
            b"u": lambda: self._set(None),
            b"t": lambda: self._push(tuple(self._to_mark())),
            b"\x85": lambda: self._push(tuple(self._pop(1))),
            b"\x86": lambda: self._push(tuple(self._pop(2))),
            b"\x87": lambda: self._push(tuple(self._pop(3))),
            b"R": self._reduce,
            b"b": self._build,
            b"c": lambda: self._name(self._line(), self._line()),
            b"\x93": lambda: self._name(*self._pop(2)),
            b"q": lambda: self._remember(self._number("<B")),
            b"r": lambda: self._remember(self._number("<I")),
            b"\x94": lambda: self._remember(len(self._memo)),
            b"h": lambda: self._recall(self._number("<B")),
            b"j": lambda: self._recall(self._number("<I")),
            b"\x80": lambda: self._skip(1),  # the protocol
            b"\x95": lambda: self._skip(8),  # the length of a frame
        }

    def run(self) -> object:
        while True:
            code = bytes(self._take(1))
            if code == b".":
                (found,) = self._pop(1)
                return self._finished(found)
            if code in self._simple:
                self._simple[code]()
            elif code in _FIXED:
                self._push(self._number(_FIXED[code]))
            elif code in _TEXTS:
                self._push(self._text(code))
            else:
                raise BadPickle(f"is a pickle with something else than arrays and texts (opcode 0x{code.hex()})")

    def _take(self, length: int) -> memoryview:
        if length < 0 or self._at + length > len(self._data):
            raise BadPickle("is a pickle that is cut off")
        self._at += length
        return self._data[self._at - length : self._at]

    def _skip(self, length: int) -> None:
        self._take(length)

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, code: bytes) -> object:
        length = int.from_bytes(self._take(_TEXTS[code]), "little")
        data = self._take(length)
        if code == b"\x8a":
            return int.from_bytes(data, "little", signed=True)
        if code in (b"X", b"\x8c", b"\x8d"):
            return str(data, "utf-8", "replace")
        return data  # as it lies in the file: a batch of images is not copied

    def _line(self) -> str:
        begin = self._at
        while bytes(self._take(1)) != b"\n":
            if self._at - begin > 200:
                raise BadPickle("is a pickle with a name that is too long")
        return str(self._data[begin : self._at - 1], "ascii", "replace")

    def _push(self, value: object) -> None:
        self._pushed += 1
        if self._pushed > MOST_ITEMS:
            raise BadPickle(f"is a pickle of more than {MOST_ITEMS:,} values")
        self._stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise BadPickle("is a damaged pickle")
        found = self._stack[-count:]
        del self._stack[-count:]
        if any(value is _MARK for value in found):
            raise BadPickle("is a damaged pickle")
        return found

    def _to_mark(self) -> list[Any]:
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                found = self._stack[at + 1 :]
                del self._stack[at:]
                return found
        raise BadPickle("is a damaged pickle")

    def _under(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise BadPickle("is a damaged pickle")
        return self._stack[-1]

    def _extend(self, count: int | None) -> None:
        items = self._to_mark() if count is None else self._pop(count)
        self._under(list).extend(items)

    def _set(self, count: int | None) -> None:
        items = self._to_mark() if count is None else self._pop(count)
        target = self._under(dict)
        if len(items) % 2:
            raise BadPickle("is a damaged pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, memoryview):
                key = bytes(key[: KEY_BYTES + 1]).decode("utf-8", "replace")
            if not isinstance(key, str | int) or (isinstance(key, str) and len(key) > KEY_BYTES):
                raise BadPickle("is a pickle with a key that is no text")
            target[key] = value

    def _remember(self, number: int) -> None:
        if not self._stack:
            raise BadPickle("is a damaged pickle")
        self._memo[number] = self._stack[-1]

    def _recall(self, number: int) -> None:
        if number not in self._memo:
            raise BadPickle("is a damaged pickle")
        self._push(self._memo[number])

    def _name(self, module: object, name: object) -> None:
        what = _NAMES.get((str(module), str(name)))
        if what is None:
            raise BadPickle(f"is a pickle that names {str(module)[:60]}.{str(name)[:60]}, which is never looked up")
        self._push(_Name(what))

    def _reduce(self) -> None:
        name, arguments = self._pop(2)
        what = name.what if isinstance(name, _Name) else None
        first = arguments[0] if isinstance(arguments, tuple) and arguments else None
        if what == "reconstruct" and isinstance(first, _Name) and first.what == "ndarray":
            self._push(_Building("array"))
        elif what == "dtype" and _plain(first) in _BYTES:
            self._push(_Building("dtype"))
        elif what == "encode" and isinstance(first, str):  # bytes of Python 3 in a pickle of protocol 2
            self._copy(len(first))
            try:
                self._push(memoryview(first.encode("latin-1")))
            except UnicodeEncodeError:
                raise BadPickle("is a damaged pickle") from None
        else:
            raise BadPickle("is a pickle with something else than arrays of bytes")

    def _copy(self, length: int) -> None:
        self._room -= length
        if self._room < 0:
            raise BadPickle("is a pickle that unpacks to far more than it is")

    def _build(self) -> None:
        (state,) = self._pop(1)
        target = self._under(_Building)
        if target.what == "array":
            target.array = _array(state)

    def _finished(self, value: object) -> object:
        """Two levels of what was built, with arrays in place of what became them: no file of CIFAR has more."""
        if isinstance(value, dict):
            return {key: self._item(item) for key, item in value.items()}
        return self._item(value)

    def _item(self, value: object) -> object:
        return [self._leaf(item) for item in value] if isinstance(value, list) else self._leaf(value)

    def _leaf(self, value: object) -> object:
        if isinstance(value, _Building):
            return value.array
        if isinstance(value, memoryview):
            self._copy(len(value))
            return bytes(value)
        return value if isinstance(value, str | int | float | bool) else None


def _array(state: object) -> np.ndarray[Any, Any]:
    """Of numpy's state of an array: version, shape, type, whether columns come first, bytes."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise BadPickle("is a pickle with an array that is none")
    _, shape, kind, by_columns, content = state
    sizes = isinstance(shape, tuple) and all(isinstance(size, int) and 0 <= size < 2**31 for size in shape)
    if not sizes or not isinstance(kind, _Building) or kind.what != "dtype" or not isinstance(content, memoryview):
        raise BadPickle("is a pickle with an array of something else than bytes")
    flat = np.frombuffer(content, dtype=np.uint8)
    total = 1
    for size in shape:
        total *= size
    if total != flat.size:
        raise BadPickle("is a pickle with an array that is cut off")
    return flat.reshape(shape, order="F" if by_columns else "C")


def _plain(value: object) -> object:
    return bytes(value).decode("ascii", "replace") if isinstance(value, memoryview) else value
