"""Settings of the server: environment variables ``ADDER_…``, each with a default that works on one machine."""

from __future__ import annotations

import os
import re
import sys
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
CHILD = (sys.executable, "-m", "worker.child")
_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
Days = Annotated[Annotated[float, Field(gt=0)] | None, _EMPTY_IS_NONE]
"""Empty: for ever."""


class _Files(PydanticBaseSettingsSource):
    """Any setting from a file: `ADDER_…_FILE` names it. So no secret stands in an environment or an argument."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        prefix = self.config.get("env_prefix", "")
        path = os.environ.get(f"{prefix}{field_name}_FILE".upper())
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except OSError as error:
            raise SettingsError(f"{prefix}{field_name}_FILE".upper() + f" is {path}: {error.strerror}") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _shown(secret: SecretStr) -> str:
    return secret.get_secret_value()


class Settings(BaseSettings):
    """All settings. Each can also lie in a file that `ADDER_…_FILE` names; a variable of the name itself goes first."""

    model_config = SettingsConfigDict(env_prefix="ADDER_", extra="ignore")

    data_dir: Path = Path("data")
    """Root of everything kept on this machine: embedded database, artifacts, work folders, datasets."""
    database_url: str = ""
    """SQLAlchemy URL. Empty: ``sqlite:///DATA_DIR/adder.db``."""
    database_host: str = ""
    """In place of `database_url`: the host of a PostgreSQL server. Name, user and password follow; so a password can
    lie in a file, and may have any characters."""
    database_port: int = Field(5432, ge=1, le=65535)
    """Its port."""
    database_name: str = "adder"
    """The database on it."""
    database_user: str = "adder"
    """The role that connects."""
    database_password: SecretStr = SecretStr("")
    """That role's password."""
    broker_url: str = ""
    """Celery broker: ``redis://…`` or ``redis+socket:///path.sock?virtual_host=0``. Empty: the parts that follow."""
    broker_host: str = "127.0.0.1"
    """The host of a Redis or Valkey server."""
    broker_port: int = Field(6379, ge=1, le=65535)
    """Its port."""
    broker_password: SecretStr = SecretStr("")
    """Its password."""
    artifacts_url: str = ""
    """Where artifacts lie: ``s3://bucket/prefix``, with address and credentials in the usual ``AWS_…`` variables.
    Empty: the folder ``DATA_DIR/artifacts``."""
    artifacts_access_key_id: SecretStr = SecretStr("")
    """In place of `AWS_ACCESS_KEY_ID`, with `artifacts_secret_access_key`."""
    artifacts_secret_access_key: SecretStr = SecretStr("")
    """In place of `AWS_SECRET_ACCESS_KEY`."""
    inference_url: str = ""
    """Where the inference process answers: ``unix:/path.sock`` or ``http://host:port``. Empty: no predictions."""

    host: str = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port that it listens on; 0 picks a free one."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names (comma separated, without port) that requests may use. Loopback names are always allowed. If this is
    empty and the server is not bound to loopback, every name is allowed."""
    auth: Literal["", "on", "off"] = ""
    """Whether a key is needed. Empty: on, unless the server is bound to loopback."""
    operator_key: SecretStr = SecretStr("")
    """The first operator's key (`adw_…`); `python -m jobs.migrate` enters it."""
    operator_key_file: Path | None = None
    """A file with it, in its place."""
    log_level: str = "INFO"
    """Least level of what is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    max_body_bytes: int = Field(1 * MIB, ge=1024)
    """Largest JSON body the API reads."""
    max_upload_bytes: int = Field(512 * MIB, ge=1024)
    """Largest model file that can be imported."""
    max_dataset_bytes: int = Field(2048 * MIB, ge=1024)
    """Largest upload of a dataset."""
    max_streams: int = Field(64, ge=1)
    """Streams (SSE and followed logs) one API process keeps open at a time."""
    max_client_streams: int = Field(16, ge=1)
    """Of these, streams of one client address."""

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses and networks (comma separated) of proxies in front of the API. From these alone it believes
    `X-Forwarded-For` and `X-Forwarded-Proto`, and the limits of one client address do not hold for their
    connections."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins (comma separated, such as `https://lab.example`) whose pages may call the API from a browser."""
    path_prefix: str = ""
    """The path below which a proxy shows the service, such as `/adder`. The proxy may remove it or leave it."""
    max_connections: int = Field(1000, ge=1)
    """Connections that one API process keeps open at a time; a further one is answered 503."""
    max_client_connections: int = Field(256, ge=1)
    """Of these, connections of one client address; a further one is answered 429."""
    max_header_bytes: int = Field(64 * KIB, ge=1024)
    """Longest head of a request: its first line and its header fields; a longer one is answered 431."""
    header_seconds: float = Field(20, gt=0)
    """How long a request's head may take, from the connection or from its first byte on."""
    body_seconds: float = Field(30, gt=0)
    """In each such time a request's body must bring `min_body_rate` bytes a second; otherwise it is answered 408."""
    min_body_rate: int = Field(500, ge=0)
    """Bytes a second, see `body_seconds`."""
    max_dropped_bytes: int = Field(64 * MIB, ge=0)
    """Rest of a refused body that is read and dropped, so that ordinary clients see the answer. Beyond it, or beyond
    `drop_seconds`, the connection is reset."""
    drop_seconds: float = Field(10, gt=0)
    """See `max_dropped_bytes`."""
    max_buffered_bytes: int = Field(128 * MIB, ge=1 * MIB)
    """Bodies (JSON and images) that one API process holds in memory while they arrive, all together; one client address
    may have a half. Uploads of files are not held in memory."""
    max_predictions: int = Field(16, ge=1)
    """Predictions that one API process has under way at a time; one client address may have a half."""
    max_predict_values: int = Field(1_000_000, ge=1)
    """Numbers and lists that the JSON of a prediction may have."""
    max_predict_operations: int = Field(50_000_000_000, ge=1)
    """Operations that one image may cost a model; one that costs more is refused at its import and for predictions."""
    max_predict_bytes: int = Field(1024 * MIB, ge=1 * MIB)
    """Memory that one image's layers may take, likewise."""
    inference_models_bytes: int = Field(512 * MIB, ge=1 * MIB)
    """Models that the inference process keeps loaded: a float model counts twice its file, an integer model once. The
    last one used stays whatever its size."""
    inference_memory_gb: Annotated[Annotated[float, Field(gt=0)] | None, _EMPTY_IS_NONE] = 4
    """Data memory (RLIMIT_DATA, GiB) of the inference process. Empty: no limit."""

    queue: str = "adder"
    """Name of the Celery queue that carries wake-ups."""
    worker_slots: int = Field(1, ge=1)
    """Jobs one worker runs side by side."""
    worker_devices: Annotated[tuple[str, ...], NoDecode] = ()
    """Devices a worker may use (comma separated): `cuda:0,cuda:1` or `cpu`. Empty: all it finds; with GPUs, its CPU
    runs only jobs that ask for `cpu`."""
    jobs_per_device: int = Field(1, ge=1)
    """Jobs that run side by side on one GPU; on the CPU it is `worker_slots`."""
    worker_memory_gb: float | None = Field(None, gt=0)
    """Memory (GiB) that a worker's jobs share; by default what its cgroup or its machine has. Workers of one machine do
    not know of each other: give each its part."""
    fair_share_label: str = Field("user", min_length=1, max_length=64)
    """The label whose values share the workers equally while jobs wait; jobs without it share one part."""
    max_queued_jobs: int = Field(20_000, ge=1)
    """Jobs that may wait; a further one is refused (429) until some have been taken."""
    max_sweep_jobs: int = Field(500, ge=1)
    """Jobs that one sweep may make."""
    worker_threads: int | None = Field(None, ge=1)
    """Threads of one job that does not say `resources.threads`; by default the cores shared among the slots."""
    child_command: Annotated[tuple[str, ...], NoDecode] = CHILD
    """Program that runs one attempt (space separated); see ``worker/protocol.py`` for what it must speak. One that is
    named here is spawned for each attempt."""
    child_variables: Annotated[tuple[str, ...], NoDecode] = ()
    """Further environment variables of the worker (comma separated; `NAME_*`: all that begin so) that the program of an
    attempt sees. It sees what it needs (``worker/variables.py``) and no other."""
    child_isolation: Literal["auto", "required", "none"] = "auto"
    """What holds the programs of attempts back: `auto`, whatever the system offers (Landlock, and the user of
    `child_uid`); `required`, a worker without any of it does not start; `none`, no Landlock."""
    child_uid: int | None = Field(None, ge=1)
    """The user that attempts run as. The worker needs the capabilities SETUID, SETGID and KILL for it."""
    child_gid: int | None = Field(None, ge=1)
    """The group of that user; by default its number. The worker must be in it."""
    child_readable: Annotated[tuple[Path, ...], NoDecode] = ()
    """Further folders that attempts may read (separated by `:`), beside datasets and the interpreter's files."""
    worker_uid: int | None = Field(None, ge=1)
    """The user that a worker becomes which root started. It keeps SETUID, SETGID and KILL alone."""
    worker_gid: int | None = Field(None, ge=1)
    """The group of that user; by default its number."""
    template: bool = True
    """Whether attempts are forked from a process that has imported torch already (Linux), which saves seconds each.
    Off: each is spawned by its command."""
    lease_seconds: float = Field(60, gt=0)
    """How long an attempt owns its job without renewing the lease."""
    renew_seconds: float = Field(10, gt=0)
    """How often a worker renews its leases and its heartbeat."""
    sample_seconds: float = Field(5, gt=0)
    """How often a worker looks at what it and its jobs use of CPU, memory and GPU; of a job that runs for long, a 300th
    of its age."""
    worker_sample_hours: float = Field(2, gt=0)
    """The hours of that which are kept of a live worker, in 120 parts."""
    poll_seconds: float = Field(1.0, gt=0)
    """How often a supervisor checks for a cancel or a pause."""
    write_seconds: float = Field(2.0, gt=0)
    """Shortest time between two writes of a training's messages; a write costs some milliseconds."""
    reconcile_seconds: float = Field(5.0, gt=0)
    """How often a worker looks for lost messages and lost workers."""
    cancel_grace_seconds: float = Field(20, gt=0)
    """From SIGTERM to SIGKILL: the time a training has to save its checkpoint."""
    store_patience_seconds: float = Field(600, gt=0)
    """How long copies to or from an artifact store that is away or full are retried before the job is paused."""
    max_log_bytes: int = Field(4 * MIB, ge=1024)
    """Bytes of log that are kept for one job. The rest is dropped, and a line says so."""

    store_retry_seconds: float = Field(10, gt=0)
    """How long one request to an S3 store is tried again, pauses included, before the store is called unreachable."""
    store_grace_seconds: float = Field(300, gt=0)
    """How long a stored file may wait for the row that names it. No younger file is ever removed."""
    orphan_hours: float = Field(24, gt=0)
    """Age from which a stored file that no row names counts as an orphan, although no deletion asked for its
    removal."""
    sweep_seconds: float = Field(60, gt=0)
    """How often a worker takes one small step of the garbage collection by the rules below (``jobs/retention.py``)."""
    keep_checkpoints_days: Days = 7
    """How long the checkpoints of a finished job are kept for a retry from there. This and the next ones: days after
    the job's end, empty for ever."""
    keep_logs_days: Days = None
    """Of the log that can be read and followed; the artifact ``log.txt`` has its own rule, the next."""
    keep_artifacts_days: Days = None
    """Of a job's files. The model it published stays until it is deleted."""
    keep_metrics_days: Days = None
    """Of its metric points."""
    keep_system_metrics_days: Days = 30
    """Of its points of CPU, memory and GPU (`system/…`), where its metrics are kept longer."""
    keep_events_days: Days = None
    """Of its events."""
    keep_jobs_days: Days = None
    """Of the finished job itself, with all that belongs to it except its model."""
    keep_idempotency_keys_days: Days = 7
    """Days after the request; a later one with the same key makes a new job."""
    keep_deliveries_days: Days = 30
    """Of what was sent to webhooks: days after its end. What still waits is kept."""

    webhook_allow_private: bool = False
    """Whether webhooks may lead to addresses inside the network (loopback, private, link-local, …), by plain http and
    to any port. Whoever may make a webhook can then have the server send requests to your other machines."""
    webhook_poll_seconds: float = Field(1.0, gt=0)
    """How often an API process looks for events that are to be sent to webhooks."""
    max_webhooks: int = Field(20, ge=0)
    """Webhooks that one project may have."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _Files(settings_cls)

    @field_validator("artifacts_url")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if value and not re.match(r"s3://[A-Za-z0-9][\w.-]+(/|$)", value):
            raise ValueError(f"must be empty (a folder in the data folder) or s3://bucket/prefix, got {value!r}")
        return value.rstrip("/")

    @field_validator("child_command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("child_readable", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        return tuple(filter(None, value.split(":"))) if isinstance(value, str) else value

    @field_validator("child_variables", mode="before")
    @classmethod
    def _split_variables(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("worker_devices", mode="before")
    @classmethod
    def _split_devices(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        for name in names:
            if not re.fullmatch(r"cpu|cuda:\d+", name):
                raise ValueError(f"must name devices as cpu or cuda:0, separated by commas, got {name!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"must name each device once, got {value!r}; ADDER_JOBS_PER_DEVICE lets jobs share one")
        return names

    @field_validator("allowed_hosts", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip().lower() for name in value.split(",") if name.strip())

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                ip_network(name)
            except ValueError:
                raise ValueError(f"must be addresses or networks such as 10.0.0.0/8, got {name!r}") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"https?://[a-z0-9.\[\]:-]+", name):
                raise ValueError(f"must be origins such as https://lab.example, without a path, got {name!r}")
        return value

    @field_validator("path_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
            raise ValueError(f"must be empty or a path such as /adder, got {value!r}")
        return value

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def needs_keys(self) -> bool:
        """Whether requests need a key."""
        return self.auth == "on" or (self.auth == "" and not self.on_loopback)

    @property
    def first_operator_key(self) -> str:
        """The operator's key of the settings; empty where there is none. Raises OSError where its file is not there."""
        if self.operator_key_file is not None:
            return self.operator_key_file.read_text().strip()
        return self.operator_key.get_secret_value().strip()

    @property
    def forks(self) -> bool:
        """Whether attempts are forked from a template."""
        return self.template and self.child_command == CHILD and sys.platform == "linux"

    @cached_property
    def resolved_database_url(self) -> str:
        if self.database_url:
            return self.database_url
        if not self.database_host:
            return f"sqlite:///{self.data_dir.resolve() / 'adder.db'}"
        user, password = (quote(text, safe="") for text in (self.database_user, _shown(self.database_password)))
        at = f"{self.database_host}:{self.database_port}/{quote(self.database_name, safe='')}"
        return f"postgresql://{user}:{password}@{at}" if password else f"postgresql://{user}@{at}"

    @cached_property
    def resolved_broker_url(self) -> str:
        password = quote(_shown(self.broker_password), safe="")
        who = f":{password}@" if password else ""
        return self.broker_url or f"redis://{who}{self.broker_host}:{self.broker_port}/0"

    @property
    def live_ms(self) -> int:
        """Age of a heartbeat in milliseconds up to which its worker is alive: three missed renewals are too many."""
        return int(3 * self.renew_seconds * 1000)

    @property
    def artifacts_dir(self) -> Path:
        return self.data_dir / "artifacts"

    @property
    def work_dir(self) -> Path:
        """Work folders of attempts: ``work/JOB/ATTEMPT-FENCE``."""
        return self.data_dir / "work"

    @property
    def datasets_dir(self) -> Path:
        """Where datasets that are not bundled are looked for, a folder each: ``datasets/mnist``."""
        return self.data_dir / "datasets"
