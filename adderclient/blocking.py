"""What differs between the two clients beyond `async` and `await`: each name here has its twin for the other one.

`adderclient/make_sync.py` says which stands for which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Awaitable", "Immediate", "async_in_thread", "in_thread"]

Immediate = Annotated[T, "there at once: what `Awaitable[T]` is in a client that blocks"]


async def async_in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs what blocks, such as the checksum of a large file, in a thread beside the event loop."""
    from functools import partial

    from anyio import to_thread

    return await to_thread.run_sync(partial(function, *args, **kwargs))


def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs it here: a client that blocks may do so."""
    return function(*args, **kwargs)
