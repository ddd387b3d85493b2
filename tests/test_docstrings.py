"""Everything public says what it takes, gives and raises."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import addercore
from tests.support.docstrings import lacking


def made(name: str, value: Any) -> ModuleType:
    module = ModuleType("made")
    module.__dict__.update({name: value, "__all__": [name]})
    return module


def test_the_library_documents_what_it_exports() -> None:
    assert lacking(addercore) == []


def test_what_is_missing_is_named() -> None:
    def shout(text: str, times: int = 1) -> str:
        """Says it loudly.

        Args:
            text: what to say.
            volume: no parameter of this.
        """
        if times < 1:
            raise ValueError(times)
        return text.upper() * times

    assert lacking(made("shout", shout)) == [
        "shout: Args lacks times",
        "shout: Args has volume, which is no parameter",
        "shout: no section Returns",
        "shout: Raises lacks ValueError",
    ]


def test_classes_name_what_they_are_made_of_and_document_their_methods() -> None:
    class Bell:
        """Rings.

        Args:
            tone: in hertz.
        """

        def __init__(self, tone: float, loudness: float) -> None:
            self.tone, self.loudness = tone, loudness

        @property
        def pitch(self) -> str:
            return "low" if self.tone < 200 else "high"

        def ring(self, times: int) -> None:
            """Rings.

            Args:
                times: how often.
            """

        def stop(self) -> None:
            pass

    assert lacking(made("Bell", Bell)) == [
        "Bell: Args or Attributes lacks loudness",
        "Bell.pitch: no docstring",
        "Bell.stop: no docstring",
    ]
