"""Ids that sort by time: ``job_01J…``, a prefix and a ULID (48 bits of ms, 80 random bits, Crockford base 32)."""

from __future__ import annotations

import re
import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_lock = threading.Lock()
_last = 0

ID_PATTERN = re.compile(r"^(audit|delivery|ds|job|key|model|project|sweep|webhook|worker)_[0-9a-hjkmnp-tv-z]{26}$")


def new_id(prefix: str) -> str:
    """A new id. The ids of one process strictly increase, also within a millisecond."""
    global _last
    with _lock:
        _last = max(_last + 1, time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))
        value = _last
    return f"{prefix}_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
