"""The hook that looks at every callback of a server's loop sees what it is there for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.loop_time import long_callbacks


def busy() -> None:
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass


async def a_route() -> None:
    busy()


async def a_route_that_waits() -> None:
    await asyncio.sleep(0.02)


class LifespanOn:  # uvicorn's name for what runs before and after its server answers
    async def main(self) -> None:
        busy()


@pytest.mark.parametrize(
    ("work", "seen"),
    [(a_route, ["a_route"]), (a_route_that_waits, []), (LifespanOn().main, [])],
    ids=["a task that works", "a task that waits", "the server's start"],
)
def test_a_callback_that_works_for_long_is_named(
    work: Callable[[], Coroutine[Any, Any, None]], seen: list[str]
) -> None:
    async def server() -> None:
        await asyncio.create_task(work())

    with long_callbacks(most=0.01) as found:
        thread = threading.Thread(target=lambda: asyncio.run(server()))
        thread.start()
        thread.join()
    assert [line.rpartition(": ")[2] for line in found] == seen
