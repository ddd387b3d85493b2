"""What tells open streams that their job has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import CapacityLimiter
from sqlalchemy import event
from sqlalchemy.orm import Session

from api.streaming.job_changes import JobChanges, WatchedJob
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import history, lifecycle
from tests.support.specs import train_spec

LONG = 60.0  # seconds; a wait that lasts so long has failed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streaming.job_changes.POLL_SECONDS", 0.02)


def submitted(database: Database) -> str:
    with database.write(DEFAULT) as session:
        return lifecycle.submit(session, train_spec()).job.id


def cancelled(database: Database, job_id: str) -> None:
    with database.write(DEFAULT) as session:
        lifecycle.cancel(session, job_id)


async def settled(watched: WatchedJob) -> object:
    """The version once it has been looked at."""
    await asyncio.wait_for(watched.wait(None, LONG), LONG)
    return watched.version


@asynccontextmanager
async def changes_of(database: Database) -> AsyncIterator[tuple[JobChanges, asyncio.Event]]:
    closing = asyncio.Event()
    try:
        yield JobChanges(database, CapacityLimiter(8), closing), closing
    finally:
        closing.set()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs in a thread of its own: in the main thread, a browser that another test started has a running loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(asyncio.wait_for(work(), LONG))).result()


def test_a_change_wakes_the_streams_of_its_job_and_no_other(database: Database) -> None:
    mine, other = submitted(database), submitted(database)
    cancelled(database, other)  # a queued one would wake by itself: its position may have changed

    async def work() -> None:
        async with changes_of(database) as (changes, _):
            with changes.watch(mine) as first, changes.watch(mine) as second, changes.watch(other) as third:
                seen, still = await settled(first), await settled(third)
                asleep = asyncio.create_task(third.wait(still, LONG))
                cancelled(database, mine)
                while second.version == seen or "cancelled" not in str(second.version):
                    await second.wait(second.version, LONG)
                assert first.version == second.version
                rounds = changes._round
                while changes._round < rounds + 3:
                    await asyncio.sleep(0.01)
                assert not asleep.done()
                asleep.cancel()

    run(work)


def test_a_deleted_job_and_the_servers_end_wake_too(database: Database) -> None:
    job = submitted(database)
    cancelled(database, job)

    async def work() -> None:
        async with changes_of(database) as (changes, closing):
            with changes.watch(job) as watched:
                seen = await settled(watched)
                with database.write(DEFAULT) as session:
                    lifecycle.delete_job(session, job)
                await watched.wait(seen, LONG)
                gone = watched.version
                assert gone != seen
                closing.set()
                await watched.wait(gone, LONG)
                assert watched.version != gone

    run(work)


def test_many_streams_cost_one_query_a_round_and_none_once_they_are_gone(database: Database) -> None:
    jobs = [submitted(database) for _ in range(5)]
    queries: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: queries.append(call[2]))

    async def work() -> None:
        async with changes_of(database) as (changes, _):
            watches = [changes.watch(job) for job in jobs * 20]
            watched = [watch.__enter__() for watch in watches]
            await settled(watched[0])
            looked = [query for query in queries if "last_seq" in query]
            assert len(looked) == 1
            for watch in watches:
                watch.__exit__(None, None, None)
            while changes._poller is not None and not changes._poller.done():
                await asyncio.sleep(0.01)
            with changes.watch(jobs[0]) as again:  # and it begins again with the next stream
                await settled(again)

    run(work)


def test_an_error_that_nobody_expected_does_not_end_the_polling(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(database)
    read = history.versions
    failures = iter([ValueError("a row that cannot be read")])

    def versions(session: Session, ids: Sequence[str]) -> Any:
        for failure in failures:
            raise failure
        return read(session, ids)

    monkeypatch.setattr(history, "versions", versions)

    async def work() -> None:
        async with changes_of(database) as (changes, _):
            with changes.watch(job) as watched:
                assert await settled(watched) is not None

    run(work)
