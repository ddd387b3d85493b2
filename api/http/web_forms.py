"""Forms as a browser sends them without a script: application/x-www-form-urlencoded."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import Request

from api.http.bodies import media_type, read
from api.http.problems import Problem

MOST_FIELDS = 500
"""Fields of a form, each value counted."""


async def form_pairs(request: Request, limit: int) -> dict[str, list[str]]:
    """The values of each field, empty ones included.

    Args:
        request: the request.
        limit: bytes that its body may have.

    Raises:
        Problem: 415 for another media type, 400 for too many fields, 413 for a body that is too long.
    """
    if media_type(request) != "application/x-www-form-urlencoded":
        raise Problem("unsupported_media_type", "This form is sent as application/x-www-form-urlencoded.")
    text = (await read(request, limit)).decode("ascii", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem("bad_request", f"The form has more than {MOST_FIELDS} fields.") from None
