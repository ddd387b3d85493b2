"""The one way to the terminal: text of others cannot move the cursor, change colours or turn the reading direction."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1 (ECMA-48): escapes, BEL, CSI
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls (UAX #9)
    "\u2028\u2029\ud800-\udfff]"  # other ends of lines; surrogates, which have no UTF-8
)


def plain(text: str) -> str:
    r"""The text with each character that a terminal would obey written out: `\x1b`, `\u202e`."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def plain_json(text: str) -> str:
    """JSON with these characters as its own escapes: the document is the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class PlainConsole(Console):
    """A console whose texts are `plain`; its colours and cursor movements are rich's own."""

    def on_broken_pipe(self) -> None:
        """Leaves the end to the command, where rich would end the process with exit code 1."""
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders as rich does."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else plain(text), style, control)


def console() -> Console:
    """Stdout as it is now (a test may have replaced it). A pipe has room."""
    screen = PlainConsole(file=sys.stdout, highlight=False)
    if not screen.is_terminal:
        screen.width = 160
    return screen


def width_of_terminal(screen: Console) -> int | None:
    """Columns of the terminal that a console writes to; None where it is a pipe or a file, which cut nothing."""
    return screen.width if screen.is_terminal else None


def errors_console() -> Console:
    """Stderr."""
    return PlainConsole(file=sys.stderr, highlight=False)


def say(value: Any, end: str = "\n", *, flush: bool = False) -> None:
    """A line on stdout, as `print` writes it."""
    print(plain(str(value)), end=end, flush=flush)
