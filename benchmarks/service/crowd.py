"""Many clients at once, a program of its own: some poll jobs and their metrics, others follow jobs' streams.

It speaks just enough HTTP/1.1 to leave as much of the machine as it can to the server. From stdin it reads
`{"jobs": […]}`; to stdout it writes what it saw as one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Seen:
    """What all clients saw, in seconds."""

    job: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """From a point's own time to its arrival, of points that are younger than their stream."""
    points: int = 0
    streams: int = 0
    """Streams that were accepted."""
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Server:
    host: str
    port: int

    def request(self, path: str, accept: str = "application/json") -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: {accept}\r\n\r\n".encode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, limit=1 << 22)


async def head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return int(lines[0].split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def poll(server: Server, job: str, period: float, deadline: float, seen: Seen) -> None:
    """A client that looks at a job and its new points once a period."""
    await asyncio.sleep(random.random() * period)
    reader, writer = await server.connect()
    last = 0

    async def ask(path: str, times: list[float]) -> Any:
        began = time.perf_counter()
        writer.write(server.request(path))
        status, headers = await head(reader)
        body = await reader.readexactly(int(headers["content-length"]))
        times.append(time.perf_counter() - began)
        if status != 200:
            seen.errors[f"status {status}"] += 1
            return None
        return json.loads(body)

    try:
        while time.monotonic() < deadline:
            began = time.monotonic()
            await ask(f"/v1/jobs/{job}", seen.job)
            page = await ask(f"/v1/jobs/{job}/metrics?after_seq={last}", seen.metrics)
            if page and page["data"]:
                last = page["data"][-1]["seq"]
            await asyncio.sleep(max(0.0, min(began + period, deadline) - time.monotonic()))
    finally:
        writer.close()


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Server-sent events of a chunked answer."""
    text = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        text += (await reader.readexactly(size + 2))[:-2]
        *whole, text = text.split(b"\n\n")
        for frame in whole:
            yield frame


async def follow(server: Server, job: str, seen: Seen) -> None:
    """A client that stays on a job's stream until it is cancelled."""
    reader, writer = await server.connect()
    opened = time.time()
    try:
        writer.write(server.request(f"/v1/jobs/{job}/stream", "text/event-stream"))
        status, _ = await head(reader)
        if status != 200:
            seen.errors[f"stream, status {status}"] += 1
            return
        seen.streams += 1
        async for frame in frames(reader):
            if frame.startswith(b"event: metric\n"):
                now = time.time()
                data = next(line for line in frame.split(b"\n") if line.startswith(b"data: "))
                moment = datetime.fromisoformat(json.loads(data[6:])["time"].replace("Z", "+00:00")).timestamp()
                seen.points += 1
                if moment > opened:
                    seen.delays.append(now - moment)
    finally:
        writer.close()


async def guarded(client: Any, seen: Seen) -> None:
    try:
        await client
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        seen.errors[type(error).__name__] += 1


async def crowd(server: Server, jobs: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    seen = Seen()
    streams = [
        asyncio.create_task(guarded(follow(server, jobs[number % len(jobs)], seen), seen))
        for number in range(arguments.streams)
    ]
    cpu, began = time.process_time(), time.monotonic()
    deadline = began + arguments.seconds
    polls = (
        guarded(poll(server, jobs[number % len(jobs)], arguments.period, deadline, seen), seen)
        for number in range(arguments.pollers)
    )
    await asyncio.gather(asyncio.sleep(arguments.seconds), *polls)
    elapsed = time.monotonic() - began
    broken = sum(task.done() for task in streams)
    for task in streams:
        task.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return asdict(seen) | {"elapsed": elapsed, "client_cpu": time.process_time() - cpu, "broken_streams": broken}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--pollers", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--period", type=float, default=2.0, help="seconds between two looks of a client")
    arguments = parser.parse_args()
    jobs = json.load(sys.stdin)["jobs"]
    url = urlsplit(arguments.url)
    server = Server(url.hostname or "127.0.0.1", url.port or 80)
    json.dump(asyncio.run(crowd(server, jobs, arguments)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
