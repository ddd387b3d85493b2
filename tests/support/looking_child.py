"""A child for a template: it says what its process looks like, and ends as its job's labels say (`do`)."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from worker import protocol
from worker.messages import Messages, die_with_supervisor


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--messages-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    threads = len(os.listdir("/proc/self/task"))
    die_with_supervisor(arguments.lifeline_fd)
    import numpy as np
    import torch

    seen = {
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "folder": os.getcwd(),
        "threads": threads,
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_initialized(),
        "numpy": np.random.randint(2**31),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler
        or signal.getsignal(signal.SIGINT) is signal.SIG_DFL,
        "terminate": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "data_limit": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "files": {name: os.readlink(f"/proc/self/fd/{name}") for name in open_files()},
        "own": [arguments.messages_fd, arguments.lifeline_fd],
    }
    Messages(arguments.messages_fd).send(protocol.Note(event="looked", message="", data=seen))
    print("looked", flush=True)
    orders = json.loads(arguments.job.read_text())
    time.sleep(orders.get("seconds", 0))
    if "signal" in orders:
        os.kill(os.getpid(), orders["signal"])
    if "error" in orders:
        raise RuntimeError(orders["error"])
    if "limit" in orders:
        resource.setrlimit(resource.RLIMIT_DATA, (orders["limit"], orders["limit"]))
    return int(orders.get("status", 0))


def open_files() -> list[str]:
    """Descriptors, without the one that lists them."""
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}") or is_pipe(name)]


def is_pipe(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith(("pipe:", "socket:", "anon_inode:"))
    except OSError:
        return False
