"""Keeps a PostgreSQL server for as long as another process lives: `python -m tests.support.postgres_keeper PID`.

It prints the server's URL once the database `adder_template` is migrated there. The server belongs to this process and
not to the test process that asked for it first, since other test processes of the run may need it longer.
"""

from __future__ import annotations

import os
import select
import sys

import psycopg

from benchmarks.postgres import postgres_server
from jobs.database import Database
from jobs.migrate import grant, migrate

# No test crashes this server, so it need not write anything safely.
OPTIONS = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300")

APPLICATION = "adder_app"
"""The role of API and workers in the tests. It owns nothing, so row security holds for it; a superuser passes by."""


def main() -> int:
    user = os.pidfd_open(int(sys.argv[1]))
    with postgres_server(options=OPTIONS) as server:
        url = server.url("postgres")
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE adder_template")
        template = Database(server.url("adder_template"))
        migrate(template)
        with psycopg.connect(server.url("adder_template"), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE {APPLICATION} LOGIN")
            # Tests end connections and look at those of others, as an operator would.
            admin.execute(f"GRANT pg_signal_backend, pg_read_all_stats TO {APPLICATION}")
        grant(template, APPLICATION)
        template.dispose()
        print(url, flush=True)
        select.select([user], [], [])  # readable when the process has ended
    return 0


if __name__ == "__main__":
    sys.exit(main())
