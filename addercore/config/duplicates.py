"""JSON objects that have a name twice: most readers silently take the last (RFC 8259, section 4)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

MAX_SHOWN = 60


class NameTwice(ValueError):
    """An object has a name twice."""


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the pairs, for `json.loads(…, object_pairs_hook=once)`. Raises NameTwice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise NameTwice(f"an object has {ascii(twice)[:MAX_SHOWN]} twice; remove the one that is not meant")
    return found
