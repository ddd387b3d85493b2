"""Structured logs of the server's processes: one JSON object a line on stderr.

The project's own lines (structlog) and those of libraries (logging, warnings, uncaught exceptions) go through the same
handler, so that lines never mix and a traceback is one field.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

QUIET_LOGGERS = ("httpx2", "obstore", "alembic", "celery.worker.strategy", "celery.app.trace")
"""Libraries that log a line for each request or wake-up, and nothing else below a warning."""

log = structlog.get_logger()


def configure_logging(level: str, **fields: Any) -> None:
    """Sets up the logs of this process. Each line has `fields` (`process`, `worker`)."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)

    def add_fields(_logger: Any, _method: str, line: EventDict) -> EventDict:
        return {**fields, **line}

    on_every_line: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_fields,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=on_every_line,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*on_every_line, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _process_died
    threading.excepthook = _thread_died


def _process_died(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        log.critical("process.died", exc_info=(kind, error, traceback))


def _thread_died(died: threading.ExceptHookArgs) -> None:
    if died.exc_type is not SystemExit:
        name = died.thread.name if died.thread else None
        log.critical("thread.died", thread=name, exc_info=(died.exc_type, died.exc_value, died.exc_traceback))
