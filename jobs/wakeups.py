"""Wake-ups: Celery messages with a queue and a job id. A lost or doubled message changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.repository import recovery
from jobs.settings import Settings

TASK = "adder.wake"

log = structlog.get_logger()


def celery_app(settings: Settings) -> Celery:
    """The Celery application of API and workers: no result backend, early acknowledgement, no prefetch."""
    app = Celery("adder", broker=settings.resolved_broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=settings.queue,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # a busy worker must not hold the message that an idle one needs
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 30},
    )
    return app


def send(app: Celery, settings: Settings, job_id: str) -> None:
    """Sends a wake-up. Waits for the broker a few seconds at most; raises kombu's OperationalError or RedisError if it
    is away."""
    app.send_task(
        TASK,
        args=(settings.queue, job_id),
        queue=settings.queue,
        retry=False,
        ignore_result=True,
    )


BROKER_ERRORS = (OperationalError, RedisError, OSError)


class Relay:
    """Sends the wake-ups of the outbox in a thread of its own, so that no request waits for the broker.

    Call `poke` after a commit to send at once. What a crash or an absent broker leaves behind is sent by a later round.
    Two relays may send one wake-up twice, which is harmless.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        app: Celery,
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._settings = settings
        self._on_error = on_error
        self._database = database
        self._app = app
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox-relay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poke(self) -> None:
        self._wanted.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait(timeout=self._settings.reconcile_seconds)
            self._wanted.clear()
            if not self._stopping.is_set():
                self.flush()

    def flush(self) -> bool:
        """Sends one batch. Returns False if the broker or the database is away; the rows stay for a later round."""
        try:
            with self._database.read(SERVICE) as session:
                rows = recovery.pending_wakeups(session)
            for _, job_id in rows:
                send(self._app, self._settings, job_id)
            if rows:
                with self._database.write(SERVICE) as session:
                    recovery.wakeups_sent(session, [row_id for row_id, _ in rows])
            return True
        except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
            self._on_error(error)
            log.warning("outbox.deferred", error=str(error), kind=type(error).__name__)
            return False
