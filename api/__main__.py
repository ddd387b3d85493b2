"""`python -m api [--fd N]`: the API server. Exit code 2 with one line when it cannot start."""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys
from typing import Any, Literal

import structlog
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from api.app import create_app
from api.http.protocol import protocol_of
from jobs.database import Database
from jobs.errors import JobsError
from jobs.logs import configure_logging
from jobs.migrate import require_current
from jobs.settings import Settings

OTHER_FILES = 300
"""Files that the API may need beside its connections: the database's, the store's, the broker's."""
SHUTDOWN_SECONDS = 10
"""How long requests that are under way may take at shutdown. Streams end at once."""


class Server(uvicorn.Server):
    """A uvicorn server that ends open streams when its shutdown begins: the end of the lifespan would wait for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.service.closing.set()
        await super().shutdown(sockets)


def server_of(settings: Settings, loop: Literal["auto", "asyncio"] = "auto") -> Server:
    """The API as a configured uvicorn server. Call `run` with its sockets."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        loop=loop,
        http=protocol_of(settings, connections(settings)),
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return Server(config, app)


def connections(settings: Settings) -> int:
    """How many connections this process can keep open: each is a file, and the rest of the API needs files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = settings.max_connections if soft == resource.RLIM_INFINITY else max(soft // 2, soft - OTHER_FILES)
    return min(settings.max_connections, most)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument(
        "--fd", type=int, help="number of an inherited listening socket, in place of ADDER_HOST and ADDER_PORT"
    )
    arguments = parser.parse_args()
    try:
        settings = Settings()
        _check_database(settings)
        listener = _listen(settings) if arguments.fd is None else socket.socket(fileno=arguments.fd)
    except (OSError, JobsError, SQLAlchemyError, ValidationError, ValueError) as error:
        print(f"adder api: {_sentence(error)}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, process="api")
    if not settings.needs_keys and not settings.on_loopback:
        reached = f"{settings.host} can be reached from other machines, and nobody needs a key (ADDER_AUTH=off)"
        structlog.get_logger().warning("auth.off", host=settings.host, detail=reached)
    server_of(settings).run(sockets=[listener])
    return 0


def _check_database(settings: Settings) -> None:
    database = Database(settings.resolved_database_url)
    try:
        require_current(database)
    finally:
        database.dispose()


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        where, why = f"{settings.host}:{settings.port}", os.strerror(error.errno or 0)
        raise OSError(f"cannot listen on {where}: {why}. Set ADDER_HOST or ADDER_PORT.") from error


def _sentence(error: Any) -> str:
    """The error on one line. It names a bad setting, and never shows the database's password."""
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False, include_input=False)
        return "; ".join(f"ADDER_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in wrong)
    if isinstance(error, SQLAlchemyError):
        error = error.__cause__ or error
        return f"the database (ADDER_DATABASE_URL) does not answer: {' '.join(str(error).split())}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
