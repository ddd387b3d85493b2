"""What a command needs beyond the client: an extra of the package, such as ``pip install 'adderworks[server]'``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires

from adderclient.command.errors import CommandError

PACKAGE = "adderworks"
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([^\]]*)\])?[^;]*;\s*extra == ['\"]([\w-]+)['\"]\s*")
"""A line of the package's metadata that an extra alone brings: a name, its own extras, and the extra."""


def need(extra: str, what: str) -> None:
    """Refuses a command whose extra is not installed here.

    Args:
        extra: the name of the extra, such as ``server``.
        what: what the command does that needs it, as the beginning of a sentence.

    Raises:
        CommandError: something that the extra brings is not installed; the message has the pip command.
    """
    missing = [name for name in brought_by(extra) if not _installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise CommandError(
            f"{what}, and {_listed(missing)} {verb} not installed here; "
            f"install what it needs with: pip install '{PACKAGE}[{extra}]'"
        )


def brought_by(extra: str) -> Iterator[str]:
    """The names of the distributions that an extra brings on every platform, those of the extras in it included."""
    for line in requires(PACKAGE) or ():
        match = REQUIREMENT.fullmatch(line)
        if match is None or match[3] != extra:
            continue
        if match[1] != PACKAGE:
            yield match[1]
            continue
        for inner in match[2].split(","):
            yield from brought_by(inner.strip())


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _listed(names: list[str], most: int = 4) -> str:
    """``torch, numpy and 3 more``."""
    shown = names[:most] if len(names) > most + 1 else names
    rest = [f"{len(names) - len(shown)} more"] if len(names) > len(shown) else []
    *first, last = [*shown, *rest]
    return f"{', '.join(first)} and {last}" if first else last
