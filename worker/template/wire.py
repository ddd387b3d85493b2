"""What a worker and its template say to each other: one JSON document a datagram, on a pair of Unix sockets.

The worker asks, the template answers each request in order:

- `{"do": "fork", "arguments": […], "environment": {…}, "folder": "…"}` with three file descriptors (output, messages,
  lifeline) is answered by `{"pid": N}`, or by `{"error": "…"}` where the system refuses another process.
- `{"do": "reap", "pid": N}` is answered by `{"status": S}`, the wait status of a child that has ended. Until then the
  child stays a zombie, so that the kernel gives its number to nobody else.

The template's first datagram is `{"ready": true}`, or `{"error": "…"}` where it cannot serve.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

LARGEST = 256 * 1024
"""Bytes of a datagram. A longer environment is refused, and the job is spawned."""
FILES = 3
"""Descriptors that go with a request to fork."""


def send(channel: socket.socket, document: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Sends one document, and `files` beside it. Raises OSError where the other end is gone or the document is too
    long (EMSGSIZE)."""
    data = json.dumps(document).encode()
    if len(data) > LARGEST:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    if files:
        socket.send_fds(channel, [data], list(files))
    else:
        channel.send(data)


def receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next document with its descriptors; None at the end, when the other side has closed its socket."""
    data, files, _, _ = socket.recv_fds(channel, LARGEST, FILES)
    return (json.loads(data) if data else None), files
