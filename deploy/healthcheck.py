"""`python healthcheck.py api|inference|worker`: is that service of this container well? Exit status 0 or 1."""

from __future__ import annotations

import socket
import sys
from urllib.error import URLError
from urllib.request import urlopen

from jobs.settings import Settings

TIMEOUT_SECONDS = 5


def answers(url: str) -> str | None:
    """What is wrong with an HTTP service, None when it answers 200."""
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            return None if response.status == 200 else f"{url} answered {response.status}"
    except (URLError, OSError) as error:
        return f"{url}: {error}"


def beats(settings: Settings) -> str | None:
    """What is wrong with this container's worker: it is well while its heartbeat in the database is young."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs.access.scope import SERVICE
    from jobs.database import Database
    from jobs.repository.recovery import live_workers

    database = Database(settings.resolved_database_url)
    try:
        with database.read(SERVICE) as session:
            names = [worker.hostname for worker in live_workers(session, int(3 * settings.renew_seconds * 1000))]
    except SQLAlchemyError as error:
        return f"the database does not answer: {error.__cause__ or error}"
    return None if socket.gethostname() in names else f"no heartbeat of {socket.gethostname()}; alive: {names}"


def main(service: str) -> int:
    settings = Settings()
    if service == "api":
        wrong = answers(f"http://127.0.0.1:{settings.port}/healthz")
    elif service == "inference":
        port = settings.inference_url.rstrip("/").rpartition(":")[2]
        wrong = answers(f"http://127.0.0.1:{port}/healthz")
    elif service == "worker":
        wrong = beats(settings)
    else:
        wrong = f"no service is called {service!r}"
    if wrong:
        print(wrong, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
