"""The servers that all stages of one run share: PostgreSQL and Valkey, both real, both to be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from benchmarks.postgres import Postgres, postgres_server
from jobs.database import Database
from jobs.migrate import migrate
from tests.support.servers import Valkey


class Servers:
    def __init__(self, postgres: Postgres, valkey: Valkey, probe: Path) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.probe = probe
        """What `worker.probe` found on this machine, as a file."""
        self._databases = 0

    def make_template(self) -> None:
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as admin:
            admin.execute("CREATE DATABASE adder_template")
        database = Database(self.postgres.url("adder_template"))
        migrate(database)
        database.dispose()

    def new_database(self) -> str:
        """The URL of a migrated, empty database."""
        self._databases += 1
        name = f"faults_{self._databases}"
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE adder_template".encode())
        return self.postgres.url(name)


@contextmanager
def open_servers(folder: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(folder, ("-c", "max_connections=300")))
        valkey = Valkey(folder / "valkey")
        stack.callback(valkey.close)
        valkey.start()
        probe = folder / "probe.json"
        with probe.open("wb") as found:
            subprocess.run([sys.executable, "-m", "worker.probe"], stdout=found, check=True, timeout=300)
        servers = Servers(postgres, valkey, probe)
        servers.make_template()
        yield servers
