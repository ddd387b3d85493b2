"""Every line, tried one after the other: `HELD` or `HOLE`, and what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# A file of lines is named here; its functions add themselves.
from tests.attack import connections, costs, formats, host, jobs, words  # noqa: F401
from tests.attack.line import LINES, Line, NotTried, Seen
from tests.attack.service import Service


def chosen(rows: Iterable[str] = (), *, short: bool = False) -> list[Line]:
    """The lines of some rows; of all where none is named."""
    wanted = set(rows)
    found = [one for one in LINES if (not wanted or one.row in wanted) and not (short and one.long)]
    return sorted(found, key=lambda one: (not one.row.isdigit(), one.row.zfill(2)))


def tried(service: Service, lines: Iterable[Line], say: Callable[[str], None]) -> list[Line]:
    """Tries lines and says a line of text for each. Returns those that did not hold."""
    holes = []
    for one in lines:
        try:
            seen = one.attack(service)
        except NotTried as error:
            say(f"  —   {one.row:>6}  {one.name}: not tried: {error}")
            continue
        except Exception as error:  # noqa: BLE001  (an attack that the service does not answer is no defence that held)
            seen = Seen(False, f"{type(error).__name__}: {error}")
        say(f"{'HELD' if seen.held else 'HOLE'}  {one.row:>6}  {one.name}: {seen.what}")
        if not seen.held:
            holes.append(one)
    return holes
