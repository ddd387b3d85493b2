"""The interface of all upload formats: examples, in the same order at each reading."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from addercore.data.intake.images import BadImage, Pixels

Part = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Example:
    """One image with its class."""

    place: str  # its name in messages: `cat/1.png`, `x_train[7]`
    key: str | int  # identifies it in the upload, whatever the order
    part: Part | None  # None: the upload has no parts
    label: str | int
    image: Pixels | BadImage
    done: float  # 0…1, how much of the upload has been read


class Source(Protocol):
    """An opened upload."""

    @property
    def notes(self) -> list[str]:
        """What was left out, a sentence each; complete after opening."""

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes if labels are class indices; None if labels are names."""

    def examples(self) -> Iterator[Example]:
        """Yields all examples. Raises BadDataset if the upload itself is damaged."""
