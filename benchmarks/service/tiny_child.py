"""A stand-in for the training process: speaks `worker.protocol` with the standard library alone, starts in ~20 ms.

It reports where it runs, stays for a moment so that a client can see the job running, and is done.
"""

import argparse
import json
import os
import signal
import threading
import time

LINGER = 0.15  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", required=True)
    parser.add_argument("--messages-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    arguments = parser.parse_args()
    threading.Thread(target=_die_with_supervisor, args=(arguments.lifeline_fd,), daemon=True).start()
    with os.fdopen(arguments.messages_fd, "w", buffering=1) as pipe:
        pipe.write(json.dumps({"type": "environment", "environment": {"device": "cpu", "backend": "none"}}) + "\n")
        time.sleep(LINGER)
        pipe.write(json.dumps({"type": "done", "result": {}}) + "\n")
    return 0


def _die_with_supervisor(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main())
