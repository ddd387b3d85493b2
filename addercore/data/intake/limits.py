"""Limits of an upload, by what it really unpacks to: no header is trusted."""

from dataclasses import dataclass
from typing import Final

from addercore.data.intake.problems import refuse

MIB: Final = 2**20
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults allow every dataset that fits a usual machine, and no decompression bomb."""

    entries: int = 1_000_000  # files of an archive, images of an array, rows of a table
    entry_bytes: int = 64 * MIB  # of one image file
    unpacked_bytes: int = 16 * GIB  # of all that decompression gives
    ratio: int = 200  # of unpacked to packed bytes: photographs have 1, digits on black 10, a bomb 1,000
    free_bytes: int = 64 * MIB  # unpacked, below which the ratio does not matter
    pixels: int = 2**26  # of one image, told by its header before it is decoded
    classes: int = 10_000
    canonical_bytes: int = 8 * GIB  # of the images as trainings read them


class Meter:
    """Counts the bytes that an upload of `packed` bytes unpacks to, and stops decompression bombs."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self._limits, self._packed, self._total = limits, packed, 0

    def add(self, count: int) -> None:
        self._total += count
        if self._total > self._limits.unpacked_bytes:
            raise refuse(
                f"The upload unpacks to more than {self._limits.unpacked_bytes:,} bytes, the most that is taken: "
                "it may be an archive bomb. Leave out what is no image, or shrink the images."
            )
        if self._total > max(self._limits.free_bytes, self._limits.ratio * self._packed):
            raise refuse(
                f"The upload unpacks to more than {self._limits.ratio} times its {self._packed:,} bytes: it may be an "
                "archive bomb. If it is not, pack it with less compression (zip -0, a table without a codec)."
            )
