"""From values of some range to bytes: which value is black and which is white, for a whole upload."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from addercore.data.intake.problems import refuse

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""(h, w) grey or (h, w, 3) colour."""
Values = np.ndarray[Any, np.dtype[Any]]
"""The same before its range is known: bytes, or integers or floats of whatever range."""

DARK: Final = 0.25
"""Where the largest value of all images lies below this part of white, they would all be nearly black: the range is
another one, and is asked for."""
_DEPTHS: Final = (10, 12, 14, 16)  # bits of cameras and scanners beyond a byte
_MARGIN: Final = 1 / 510  # half a byte's step in 0…1, by which floats may miss their range
_RANGES: Final = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}


def group_of(values: Values) -> str:
    """Which values of an upload share a range: `bytes`, `integers` or `floats`."""
    return "bytes" if values.dtype == np.uint8 else "floats" if values.dtype.kind == "f" else "integers"


@dataclass(slots=True)
class Extent:
    """Least and greatest value of a group of images, and where they are."""

    low: float
    high: float
    lowest: str
    highest: str


class Extents:
    """Of all images so far, by group."""

    def __init__(self) -> None:
        self.found: dict[str, Extent] = {}

    def note(self, values: Values, place: str) -> None:
        group, low, high = group_of(values), float(values.min()), float(values.max())
        known = self.found.get(group)
        if known is None:
            self.found[group] = Extent(low, high, place, place)
            return
        if low < known.low:
            known.low, known.lowest = low, place
        if high > known.high:
            known.high, known.highest = high, place


@dataclass(frozen=True, slots=True)
class Scale:
    """`low` becomes 0 and `high` 255."""

    low: float
    high: float

    def apply(self, values: Values) -> Pixels:
        if values.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return np.ascontiguousarray(values)
        scaled = (values.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        return np.rint(scaled).clip(0, 255).astype(np.uint8)


def scales(extents: Extents, value_range: str, notes: list[str]) -> dict[str, Scale]:
    """The scale of each group. What is no plain 0…255 or 0…1 gets a note with the range seen.

    Raises:
        BadDataset: the range cannot be told, or is not the one that `value_range` says.
    """
    return {group: _scale(group, extent, value_range, notes) for group, extent in extents.found.items()}


def _scale(group: str, extent: Extent, value_range: str, notes: list[str]) -> Scale:
    floats, seen = group == "floats", _seen(group, extent)
    if value_range == "auto":
        scale = _guessed_floats(extent, seen) if floats else _guessed_integers(extent, seen)
        usual = (scale.low, scale.high) == ((0, 1) if floats else (0, 255))
    else:
        scale, usual = _declared(group, extent, value_range, seen), False
    if not usual:
        notes.append(
            f"The pixels are {seen}: {scale.low:g} became black and {scale.high:,.10g} white. value_range sets another."
        )
    return scale


def _seen(group: str, extent: Extent) -> str:
    return f"{group} from {extent.low:.6g} to {extent.high:.6g}"


def _declared(group: str, extent: Extent, value_range: str, seen: str) -> Scale:
    if value_range == "bits":
        if group == "floats" or extent.low < 0:
            raise refuse(f"The pixels are {seen}; value_range bits is for integers from 0 on.")
        return Scale(0, 2 ** max(1, int(extent.high).bit_length()) - 1)
    low, high = _RANGES[value_range]
    margin = _MARGIN * (high - low) if group == "floats" else 0
    if extent.low < low - margin or extent.high > high + margin:
        where = extent.highest if extent.high > high + margin else extent.lowest
        raise refuse(f"The pixels are {seen} (see {where}), which is not within value_range {value_range}.")
    return Scale(low, high)


def _stretch(extent: Extent) -> str:
    """The line of numpy by which the values fill 0…255; 0 stays black where there is none below it."""
    low = min(extent.low, 0)
    x = f"(x + {-low:.6g})" if low else "x"
    return f"x = ({x} * (255 / {extent.high - low or 1:.6g})).round().astype(np.uint8)"


def _guessed_integers(extent: Extent, seen: str) -> Scale:
    """0 and 1: bits. Up to 255: bytes. Up to 65,535: the least of 10, 12, 14 and 16 bits that hold the largest."""
    low, high = extent.low, extent.high
    if low < 0:
        raise refuse(
            f"The pixels are {seen} (see {extent.lowest}); which one is black? Shift them to 0…255: "
            f"{_stretch(extent)}; or say value_range=-1..1."
        )
    if high <= 1:
        return Scale(0, 1)
    if high < DARK * 256:
        bits = 2 ** int(high).bit_length() - 1
        raise refuse(
            f"The pixels are {seen}: as 0…255 they would be nearly black. Say with value_range what they are "
            f"(bits: 0…{bits}; 0..255: dark as they are), or stretch them: "
            f"{_stretch(extent)}."
        )
    if high <= 255:
        return Scale(0, 255)
    depth = next((bits for bits in _DEPTHS if high < 2**bits), None)
    if depth is None:
        raise refuse(
            f"The pixels are {seen} (see {extent.highest}); at most 16 bits are taken. Scale them to bytes: "
            f"{_stretch(extent)}."
        )
    return Scale(0, 2**depth - 1)


def _guessed_floats(extent: Extent, seen: str) -> Scale:
    """Within 0…1, or within −1…1, or up to 255."""
    low, high = extent.low, extent.high
    stretch = _stretch(extent)
    if low >= -_MARGIN and high <= 1 + _MARGIN:
        if high < DARK and high > low:
            raise refuse(
                f"The pixels are {seen}: as 0…1 they would be nearly black; were they divided by 255 twice? "
                f"Stretch them: {stretch}; or say value_range=0..1 if they are as dark as that."
            )
        return Scale(0, 1)
    if low >= -1 - 2 * _MARGIN and high <= 1 + 2 * _MARGIN:
        if low >= -0.5 - _MARGIN and high <= 0.5 + _MARGIN:
            raise refuse(
                f"The pixels are {seen}: is 0 their middle? Then x = x + 0.5. If they reach from −1 to 1, say "
                "value_range=-1..1."
            )
        return Scale(-1, 1)
    if low >= -0.5 and DARK * 256 <= high <= 255.5:
        return Scale(0, 255)
    raise refuse(
        f"The pixels are {seen} (see {extent.lowest if low < -1 else extent.highest}), which is no usual range (0…1, "
        f"−1…1, 0…255). If mean and std were taken off, undo it (x = x * std + mean), or stretch them: {stretch}."
    )
