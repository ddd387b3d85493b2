"""Walks through a listing, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from adderclient._async.transport import AsyncTransport
from adderclient.records import Page
from adderclient.transport import Params, given

T = TypeVar("T")

MOST = 100
"""Items that a page may have."""


async def walk(
    transport: AsyncTransport,
    path: str,
    params: Params,
    parse: Callable[[Mapping[str, Any]], T],
    *,
    sized: bool = True,
) -> AsyncIterator[T]:
    """Yields the items of all pages of a listing; each page is fetched when it is reached.

    Listings that are not ``sized`` take no limit.
    """
    after: str | None = None
    while True:
        found = await transport.json("GET", path, params=[*params, *given(limit=MOST if sized else None, after=after)])
        page = Page.from_json(found, parse)
        for item in page:
            yield item
        if not page.has_more or page.next is None:
            return
        after = page.next
