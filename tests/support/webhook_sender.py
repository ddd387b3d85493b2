"""`python -m tests.support.webhook_sender DATABASE_URL`: ends jobs and sends webhooks until somebody kills it."""

from __future__ import annotations

import sys
import time

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import lifecycle
from jobs.webhooks.sender import Sender
from tests.support.specs import train_spec


def main() -> None:
    database = Database(sys.argv[1])
    Sender(database, private=True, poll_seconds=0.05).start()
    print("ready", flush=True)
    while True:
        with database.write(DEFAULT) as session:
            lifecycle.cancel(session, lifecycle.submit(session, train_spec()).job.id)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
