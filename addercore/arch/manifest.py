"""The manifest that rebuilds a model, and its checks against a `.safetensors` file, without a tensor library.

A model file is safetensors (https://github.com/huggingface/safetensors#format): 8 bytes, little-endian, the length of a
JSON header; the header (name → dtype, shape, offsets; and `__metadata__`); the tensors' bytes. Its metadata has one
key, `adderworks`, with the whole manifest as a JSON string (safetensors orders several keys at random, and a
model's bytes should depend on the model alone).
"""

import json
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from addercore.arch.layers import Shape
from addercore.arch.networks import Network, check_method, network, tensors
from addercore.errors import BadModel

METADATA_KEY: Final = "adderworks"
FORMAT: Final = 1
MAX_HEADER: Final = 4 * 2**20  # bytes; a ResNet-50's header is some 40 KiB
MAX_TENSORS: Final = 10_000  # a ResNet-50 has 320
MAX_DIMENSIONS: Final = 8
MAX_COUNT: Final = 2**53
"""Of bytes and elements: the sender chooses the numbers, and products of huge ones take long."""
INTEGER_MAGIC: Final = b"ADDER\r\n\x1a"
"""How a `model.adder` begins (docs/integer.md)."""
MOST_C_WEIGHTS: Final = 4 * 2**20
"""Bytes of weights up to which an integer model becomes C source: they are written as text."""
SCALE: Final = (1e-6, 1e6)
"""Least and greatest `std`, and greatest size of a `mean`: pixels are 0 to 1. Beyond, float32 overflows."""
_BYTES: Final = {"F32": 4, "I64": 8}
_REQUIRED: Final = {
    "format": int,
    "network": dict,
    "preprocessing": dict,
    "classes": list,
    "dataset": str,
    "config": dict,
    "metrics": dict,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor's entry in a safetensors header."""

    dtype: str
    shape: Shape
    begin: int  # bytes from the end of the header
    end: int


PICKLE: Final = (
    "is no safetensors file but a pickle of PyTorch (.pth, .pt, .ckpt), which is never loaded here. A state dictionary "
    "of the paper's own code is converted by: adder import --from-authors FILE"
)


def pickled(path: Path) -> bool:
    """Whether torch.save or pickle wrote the file: a zip archive, or a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def is_integer(path: Path) -> bool:
    """Whether a file is an integer model, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(INTEGER_MAGIC)) == INTEGER_MAGIC


def _fail(path: Path, why: str) -> BadModel:
    return BadModel(f"{path}: {why}")


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """Metadata and tensor entries of a safetensors file; `BadModel` unless the entries cover the file exactly."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if pickled(path):
                raise _fail(path, PICKLE)
            if size < 8 or length > size - 8:
                raise _fail(path, "is no safetensors file, or is cut off inside its header")
            if length > MAX_HEADER:
                raise _fail(path, f"has a header of {length} bytes, more than the {MAX_HEADER} that a model needs")
            raw = file.read(length)
    except OSError as error:
        raise _fail(path, f"cannot be read ({error.strerror})") from error
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _fail(path, f"has a header that is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _fail(path, "has a header that is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if len(header) > MAX_TENSORS:
        raise _fail(path, f"names {len(header)} tensors; a model has at most {MAX_TENSORS}")
    entries = {name: _entry(path, name, value) for name, value in header.items()}
    _check_cover(path, entries, size - 8 - length)
    return (metadata if isinstance(metadata, dict) else {}), entries


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _elements(shape: list[int]) -> int:
    """The product of a shape, or a number above MAX_COUNT where it is greater than that."""
    if 0 in shape:
        return 0
    found = 1
    for size in shape:
        found *= size
        if found > MAX_COUNT:
            break
    return found


def _entry(path: Path, name: str, value: object) -> Stored:
    if not isinstance(value, dict):
        raise _fail(path, f"has a header entry for tensor {name!r} that is not an object")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    called = reprlib.repr(name)
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise _fail(path, f"stores tensor {called} as {reprlib.repr(dtype)}; a model has {' and '.join(_BYTES)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise _fail(
            path,
            f"gives tensor {called} the shape {reprlib.repr(shape)}; it must be at most {MAX_DIMENSIONS} "
            "sizes, each an integer from 0 to 2^53",
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise _fail(path, f"gives tensor {called} the offsets {reprlib.repr(offsets)}")
    stored = Stored(dtype, tuple(shape), *offsets)
    if stored.end - stored.begin != _elements(shape) * _BYTES[dtype]:
        raise _fail(path, f"gives tensor {called} of shape {shape} and type {dtype} {stored.end - stored.begin} bytes")
    return stored


def _check_cover(path: Path, entries: dict[str, Stored], size: int) -> None:
    """The tensors lie side by side and fill the rest of the file: no gap, no overlap, nothing cut off."""
    at = 0
    for name, stored in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if stored.begin != at:
            raise _fail(path, f"has a gap or an overlap before tensor {name!r} (at byte {at}, not {stored.begin})")
        at = stored.end
    if at != size:
        raise _fail(path, f"has {size} bytes of tensors where its header describes {at}: cut off or damaged")


def read_manifest(path: Path | str) -> dict[str, Any]:
    """The checked manifest of a model file: of its metadata, its tensors' names and shapes, and the file's extent.

    The tensors' bytes are not read. Pure Python: a service can check an upload without loading torch.
    """
    path = Path(path)
    metadata, stored = read_header(path)
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise _fail(path, f"has no metadata {METADATA_KEY!r}: it was not written by addercore; give its model.json")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _fail(path, f"has a manifest that is not JSON ({error})") from error
    check_manifest(manifest, stored, source=str(path))
    return dict(manifest)


def check_manifest(manifest: object, stored: dict[str, Stored] | None = None, source: str = "manifest") -> Network:
    """The network that `manifest` describes; `BadModel` says what is wrong with it, or with the tensors `stored`."""
    if not isinstance(manifest, dict):
        raise BadModel(f"{source}: the manifest is not a JSON object")
    for key, kind in _REQUIRED.items():
        if not isinstance(manifest.get(key), kind):
            raise BadModel(f"{source}: the manifest's {key!r} is missing or no {kind.__name__}")
    if manifest["format"] != FORMAT:
        raise BadModel(f"{source}: the manifest has format {manifest['format']}; this addercore reads format {FORMAT}")
    net = _network(manifest, source)
    _check_preprocessing(manifest["preprocessing"], net, source)
    if stored is not None:
        _check_tensors(net, stored, source)
    return net


def _network(manifest: dict[str, Any], source: str) -> Network:
    part = manifest["network"]
    missing = {"arch", "method", "first_last", "gradient", "input_shape"} - part.keys()
    if missing:
        raise BadModel(f"{source}: the manifest's network lacks {', '.join(sorted(missing))}")
    for key in ("arch", "method", "first_last", "gradient"):
        if not isinstance(part[key], str):
            raise BadModel(f"{source}: the manifest's {key} must be a string, got {reprlib.repr(part[key])}")
    classes, shape = manifest["classes"], part["input_shape"]
    if len(set(map(str, classes))) != len(classes) or not all(isinstance(name, str) for name in classes):
        raise BadModel(f"{source}: the manifest's classes must be distinct strings, got {reprlib.repr(classes)}")
    if not isinstance(shape, list) or len(shape) != 3 or not all(map(_is_count, shape)):
        raise BadModel(f"{source}: the manifest's input_shape must be three integers, got {reprlib.repr(shape)}")
    if part["gradient"] not in ("full_precision", "sign"):
        raise BadModel(
            f"{source}: the manifest's gradient is {reprlib.repr(part['gradient'])}; known: full_precision, sign"
        )
    try:
        check_method(part["method"], part["first_last"])
        return network(part["arch"], tuple(shape), len(classes), part.get("layers"))
    except ValueError as error:
        raise BadModel(f"{source}: {error}") from error


def _check_preprocessing(part: dict[str, Any], net: Network, source: str) -> None:
    channels, *size = net.input_shape
    if part.get("resize") != size or part.get("channels") != channels:
        raise BadModel(
            f"{source}: the manifest resizes to {reprlib.repr(part.get('channels'))} channels of "
            f"{reprlib.repr(part.get('resize'))}, "
            f"but the network takes {channels} of {size}"
        )
    for key in ("mean", "std"):
        values = part.get(key)
        if (
            not isinstance(values, list)
            or len(values) != channels
            or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ):
            raise BadModel(f"{source}: the manifest's {key} must be {channels} numbers, got {reprlib.repr(values)}")
    least, most = SCALE
    if not all(least <= value <= most for value in part["std"]):
        raise BadModel(
            f"{source}: the manifest's std must be from {least:g} to {most:g}, got {reprlib.repr(part['std'])}"
        )
    if not all(abs(value) <= most for value in part["mean"]):
        raise BadModel(
            f"{source}: the manifest's mean must be from {-most:g} to {most:g}, got {reprlib.repr(part['mean'])}"
        )


def _check_tensors(net: Network, stored: dict[str, Stored], source: str) -> None:
    expected = tensors(net)
    missing, extra = sorted(expected.keys() - stored.keys()), sorted(stored.keys() - expected.keys())
    if missing or extra:
        raise BadModel(
            f"{source}: the tensors are not those of {net.arch}: missing {missing or 'none'}, unknown {extra or 'none'}"
        )
    for name, (dtype, shape) in expected.items():
        if (stored[name].dtype, stored[name].shape) != (dtype, shape):
            raise BadModel(
                f"{source}: tensor {name!r} is {stored[name].dtype} {stored[name].shape}, "
                f"but {net.arch} has {dtype} {shape}"
            )
