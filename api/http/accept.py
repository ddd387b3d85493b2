"""Content negotiation: which media type an Accept header prefers (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The media type to answer with.

    Args:
        accept: the request's Accept header.
        offered: what the route can answer with, the server's favourite first.

    Returns:
        The best of `offered`; None where the client takes none of them.
    """
    if not accept:
        return offered[0]
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = max(weights.get(name, 0.0), _quality(parameters))
    best = max(offered, key=lambda media_type: _weight(weights, media_type))  # the first of equals
    return best if _weight(weights, best) > 0 else None


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def _weight(weights: dict[str, float], media_type: str) -> float:
    """The weight of the most specific range that covers `media_type`."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if pattern in weights:
            return weights[pattern]
    return 0.0
