"""A closed-loop load generator, a program of its own: each connection sends its next request when it has its answer.

It speaks just enough HTTP/1.1 (keep-alive, Content-Length) to leave as much of the machine as it can to the server, and
writes what it saw to stdout as one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """What is left to do, and what was seen."""

    expected: int
    left: int | None = None
    deadline: float | None = None
    seconds: list[float] = field(default_factory=list)
    """How long each answer took, in the order in which they came."""
    ends: list[float] = field(default_factory=list)
    """When each came (`time.time()`)."""

    def more(self) -> bool:
        if self.deadline is not None:
            return time.perf_counter() < self.deadline
        assert self.left is not None
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True)
class Target:
    """A server, and what it is sent again and again."""

    host: str
    port: int
    request: bytes


def target(url: str, method: str, body: bytes) -> Target:
    parts = urlsplit(url)
    head = f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
    if body:
        head += "Content-Type: application/json\r\n"
    return Target(parts.hostname or "127.0.0.1", parts.port or 80, head.encode() + b"\r\n" + body)


async def connection(server: Target, load: Load) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        while load.more():
            began = time.perf_counter()
            writer.write(server.request)
            status = await answer(reader)
            load.seconds.append(time.perf_counter() - began)
            load.ends.append(time.time())
            if status != load.expected:
                raise RuntimeError(f"the server answered {status}, not {load.expected}")
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> int:
    """Status of the next answer, its body read."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1])


async def all_connections(servers: Sequence[Target], count: int, load: Load) -> float:
    """Seconds from the first request to the last answer. The servers get the connections by turns."""
    began = time.perf_counter()
    await asyncio.gather(*(connection(servers[number % len(servers)], load) for number in range(count)))
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+", metavar="URL", help="several get the connections by turns")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--body", default="", help="JSON")
    parser.add_argument("--expect", type=int, default=200, help="status of every answer")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=0, help="requests before the measurement")
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--seconds", type=float)
    amount.add_argument("--requests", type=int)
    arguments = parser.parse_args()
    servers = [target(url, arguments.method, arguments.body.encode()) for url in arguments.urls]
    if arguments.warm_up:
        warm_up = Load(arguments.expect, left=arguments.warm_up)
        asyncio.run(all_connections(servers, arguments.connections, warm_up))
    load = Load(arguments.expect, left=arguments.requests)
    if arguments.seconds is not None:
        load.deadline = time.perf_counter() + arguments.seconds
    cpu = time.process_time()
    elapsed = asyncio.run(all_connections(servers, arguments.connections, load))
    report = {"elapsed": elapsed, "client_cpu": time.process_time() - cpu, "seconds": load.seconds,
              "ends": load.ends}  # fmt: skip
    json.dump(report, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
