"""What every format gives: examples, in the same order each time they are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from addercore.data.intake.images import BadImage, Picture

Part = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Example:
    """One image with its class."""

    place: str  # how it is called in a message: `cat/1.png`, `x_train[7]`
    key: str | int  # tells it from the others of the upload, whatever the order they come in
    part: Part | None  # None: the upload has no parts
    label: str | int
    image: Picture | BadImage
    done: float  # 0…1, how much of the upload has been read


class Source(Protocol):
    """An opened upload."""

    @property
    def notes(self) -> list[str]:
        """What was left out, guessed or converted, a sentence each; complete once it is opened."""

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes where labels are their numbers; None: labels speak for themselves."""

    def examples(self) -> Iterator[Example]:
        """All of it. Raises BadDataset where the upload itself is damaged."""
