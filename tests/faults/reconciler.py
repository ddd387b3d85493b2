"""`python -m tests.faults.reconciler DATABASE_URL`: takes lost jobs back without a pause; a line for each 20 rounds."""

from __future__ import annotations

import sys
import time

from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.repository import recovery


def main() -> None:
    database = Database(sys.argv[1])
    rounds = 0
    while True:
        with database.write(SERVICE) as session:
            lost = recovery.reclaim_expired(session)
        rounds += 1
        if lost or rounds % 20 == 0:
            print(f"round {rounds}: {lost}", flush=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
