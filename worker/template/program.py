"""`python -m worker.template.program`: the template, with one thread, no OpenMP team, no CUDA, no random number drawn.

A fork copies the thread that calls it and every lock as it stands. So the template starts as a fresh program, imports
modules and does nothing else; a module that starts a thread while it is imported makes the template refuse to serve.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from addercore.lifeline import signal_when_closed
from worker.probe import describe_machine, may_have_gpu
from worker.template import wire

MODULES: Final = (
    "worker.child",
    "numpy",
    "safetensors.torch",
    "torch",
    "torch._dynamo",  # torch.optim loads it at the first step
    "PIL.Image",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "addercore.analysis",
    "addercore.data.sets",
    "addercore.data.sources",
    "addercore.io",
    "addercore.train",
)
"""What trainings, evaluations and analyses import."""
OPTIONAL: Final = ("PIL.Image", "matplotlib.backends.backend_agg", "matplotlib.figure")
"""Modules of an extra that may be missing. A job that needs one says so by itself."""
NAME: Final = "adder-job"
"""What `ps -o comm` and `top` show for a forked process until it names itself after its job: its command line is still
the template's."""
INTERRUPT: Final = signal.getsignal(signal.SIGINT)
"""What SIGINT does to a program that the worker starts: a worker in the background may have it ignored."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    parser.add_argument("--child", required=True, metavar="MODULE", help="its function main runs a job")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the worker's business
    signal_when_closed(arguments.lifeline_fd, group=True)
    channel = socket.socket(fileno=arguments.socket_fd)
    error = load((*MODULES, arguments.child))
    machine = {} if error or may_have_gpu() else describe_machine()
    error = error or started_threads()
    if error:
        wire.send(channel, {"error": error})
        return 1
    # The collector would write to the header of every object, and so copy the pages that the forks share.
    gc.collect()
    gc.freeze()
    wire.send(channel, {"ready": True, "machine": machine})
    serve(channel, arguments.lifeline_fd, arguments.child)
    return 0


def load(modules: Sequence[str] = MODULES) -> str:
    """Imports what jobs need. Returns why this process cannot be forked from, or an empty string."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if name not in OPTIONAL:
                return f"{name} cannot be imported: {error}"
    return ""


def started_threads() -> str:
    """Why this process cannot be forked from, if an import started threads, or an empty string."""
    threads = len(os.listdir("/proc/self/task"))
    return "" if threads == 1 else f"an import started threads: there are {threads}"


def serve(channel: socket.socket, lifeline: int, child: str) -> None:
    """Answers requests until the worker closes its end."""
    while True:
        request, files = wire.receive(channel)
        if request is None:
            return
        if request["do"] == "fork":
            answer = fork(request, files, (channel.fileno(), lifeline), child)
        else:
            answer = {"status": os.waitpid(request["pid"], 0)[1]}
        wire.send(channel, answer)


def fork(request: Mapping[str, Any], files: Sequence[int], own: Sequence[int], child: str) -> dict[str, Any]:
    """Forks a job's process, which gets a group of its own. It closes `own`, the descriptors of the template."""
    try:
        pid = os.fork()
    except OSError as error:
        _close(files)
        return {"error": f"no process could be forked: {error}"}
    if pid == 0:
        os._exit(_run(request, files, own, child))
    with suppress(OSError):  # it has done so itself, and may have ended
        os.setpgid(pid, pid)  # here as well: whoever reads the answer may signal the group at once
    _close(files)
    return {"pid": pid}


def _close(files: Sequence[int]) -> None:
    for handle in files:
        os.close(handle)


def _run(request: Mapping[str, Any], files: Sequence[int], own: Sequence[int], child: str) -> int:
    """Runs the job in the forked process. Returns the exit status."""
    try:
        os.setpgid(0, 0)
        for handle in own:
            os.close(handle)
        output, messages, lifeline = files
        _redirect(output)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _make_independent()
        status: int = sys.modules[child].main(
            [*request["arguments"], "--messages-fd", str(messages), "--lifeline-fd", str(lifeline)]
        )
        return status
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  (nothing of the template may run on in this process)
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _redirect(output: int) -> None:
    """stdin is empty; stdout and stderr become the job's log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def _make_independent() -> None:
    """Does after the fork what a fresh program does when it starts."""
    import numpy as np
    import torch

    signal.signal(signal.SIGINT, INTERRUPT)
    np.random.seed()  # drawn from the system at import, so all forks would share it; Python reseeds `random` itself
    # OMP_NUM_THREADS was read when the library was loaded, in the template.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)


if __name__ == "__main__":
    sys.exit(main())
