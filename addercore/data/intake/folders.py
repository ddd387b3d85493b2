"""Class folders of image files in an archive, as a `Source`."""

from collections.abc import Iterator
from typing import Final

from addercore.data.intake.archives import Member, whole
from addercore.data.intake.contents import Contents
from addercore.data.intake.images import BadImage, Picture, decode
from addercore.data.intake.layout import layout
from addercore.data.intake.sources import Example

MOST_SHOWN: Final = 160  # characters of a name


class FolderSource:
    """Image files in a folder for each class."""

    classes: list[str] | None = None

    def __init__(self, contents: Contents, transparent_on: str) -> None:
        self._contents, self._transparent_on = contents, transparent_on
        found = layout(contents.files, contents.folders, contents.written)
        self._places = found.places
        self.notes = [*contents.notes, *found.notes]

    def examples(self) -> Iterator[Example]:
        for key, member, done in self._contents.members():
            if key in self._places:
                part, label = self._places[key]
                yield Example(shown(key), key, part, label, self._image(member), done)

    def _image(self, member: Member) -> Picture | BadImage:
        limits = self._contents.limits
        try:
            return decode(whole(member, limits.entry_bytes), limits, self._transparent_on)
        except BadImage as error:
            return error


def shown(name: str) -> str:
    """A name as messages have it."""
    return name if len(name) <= MOST_SHOWN else f"{name[: MOST_SHOWN // 2]}…{name[-MOST_SHOWN // 2 :]}"
