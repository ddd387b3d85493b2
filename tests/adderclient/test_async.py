"""The asynchronous client against the real API; the code of both is one, so this tests what differs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from adderclient import AsyncClient, ConnectionFailed, JobFailed, NotFoundError
from jobs.states import Status
from tests.api.attempt import Worker, model_file
from tests.api.conftest import Running
from tests.support.servers import wait_until

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def test_two_jobs_are_followed_at_once(site: Running, worker: Worker, tmp_path: Path) -> None:
    streaming = threading.Event()

    def work() -> None:
        claims = [worker.claim(), worker.claim()]
        wait_until(streaming.is_set, "the stream to begin")
        for claim in claims:
            worker.metrics(claim, 1, 5)
            worker.log(claim, "one\ntwo\n")
            worker.artifact(claim, "model.safetensors", b"tensors" * 1000)
        worker.finish(claims[0])
        worker.finish(claims[1], Status.FAILED, {"code": "diverged", "message": "NaN", "log_tail": ""})

    async def follow() -> None:
        async with AsyncClient(site.url) as client:
            first = await client.jobs.submit(SPEC)
            second = await client.jobs.submit(SPEC | {"seed": 1})  # the worker takes it second
            thread = threading.Thread(target=work)
            thread.start()

            async def steps() -> list[int | None]:
                found = []
                async for event in client.jobs.stream(first.id):
                    streaming.set()
                    if event.metric:
                        found.append(event.metric.step)
                return found

            seen, done = await asyncio.gather(steps(), first.wait(timeout=300))
            thread.join()
            assert seen == [1, 2, 3, 4, 5]
            assert done.status == "succeeded"
            with pytest.raises(JobFailed):
                await client.jobs.wait(second.id)
            assert (await done.metrics()).rows == 5
            assert [line async for line in client.jobs.logs(first.id)] == ["one", "two"]
            (tmp_path / "model.safetensors.part").write_bytes(b"tens")
            path = await done.download("model.safetensors", tmp_path)
            assert path.read_bytes() == b"tensors" * 1000
            assert {job.id async for job in client.jobs.iterate()} == {first.id, second.id}
            assert len(await client.jobs.list(limit=1)) == 1
            with pytest.raises(NotFoundError):
                await client.jobs.get("job_1")

    asyncio.run(follow())


def test_models_and_exports(site: Running, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(model_file())

    async def keep() -> None:
        async with AsyncClient(site.url) as client:
            model = await client.models.import_(tmp_path / "m.safetensors")
            folder = await client.models.export(model.id, tmp_path / "hub")
            assert (Path(folder) / "model.safetensors").read_bytes() == model_file()
            await client.models.delete(model.id)
            assert [one.id async for one in client.models.iterate()] == []
            assert not (await client.ready()).ready

    asyncio.run(keep())


def test_nobody_listens() -> None:
    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:9") as client:
            await client.jobs.get("job_1")

    with pytest.raises(ConnectionFailed, match="adder up"):
        asyncio.run(ask())
