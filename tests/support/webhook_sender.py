"""`python -m tests.support.webhook_sender DATABASE_URL`: sends webhooks until somebody kills it."""

from __future__ import annotations

import signal
import sys

from jobs.database import Database
from jobs.webhooks.sender import Sender


def main() -> None:
    Sender(Database(sys.argv[1]), private=True, poll_seconds=0.05).start()
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
