"""Python client of the Adderworks service: submit jobs, follow them, fetch what they made.

::

    from adderclient import Client

    with Client() as client:                    # ADDER_URL, else http://127.0.0.1:8000
        job = client.jobs.submit({"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}})
        job = job.wait(progress=True)
        job.download("model.safetensors", "out/")

:class:`AsyncClient` is its twin: the same names, with ``async with`` and ``await``.
"""

from adderclient._async.job import AsyncJob
from adderclient._sync.job import Job
from adderclient.client import AsyncClient, Client
from adderclient.errors import (
    AdderClientError,
    ApiError,
    AuthenticationError,
    BadId,
    BadSpec,
    ChecksumMismatch,
    ConflictError,
    ConnectionFailed,
    FieldError,
    InvalidRequestError,
    JobFailed,
    NotFoundError,
    ServerError,
    SweepFailed,
    WaitTimeout,
    WorkerBusy,
)
from adderclient.keeping import Filters
from adderclient.metrics import MetricTable
from adderclient.records import (
    FINAL,
    Artifact,
    Attempt,
    AuditEntry,
    Best,
    Dataset,
    DayUsage,
    Delivery,
    Event,
    Found,
    JobError,
    Key,
    Me,
    MetricPoint,
    Model,
    NewKey,
    NewWebhook,
    Page,
    Progress,
    Project,
    ProjectUsage,
    Readiness,
    Recipe,
    Status,
    StreamEvent,
    Sweep,
    Trial,
    Validation,
    Webhook,
    Worker,
    WorkerSample,
)
from adderclient.version import __version__

__all__ = [
    "FINAL",
    "AdderClientError",
    "ApiError",
    "Artifact",
    "AsyncClient",
    "AsyncJob",
    "Attempt",
    "AuditEntry",
    "AuthenticationError",
    "BadId",
    "BadSpec",
    "Best",
    "ChecksumMismatch",
    "Client",
    "ConflictError",
    "ConnectionFailed",
    "Dataset",
    "DayUsage",
    "Delivery",
    "Event",
    "FieldError",
    "Filters",
    "Found",
    "InvalidRequestError",
    "Job",
    "JobError",
    "JobFailed",
    "Key",
    "Me",
    "MetricPoint",
    "MetricTable",
    "Model",
    "NewKey",
    "NewWebhook",
    "NotFoundError",
    "Page",
    "Progress",
    "Project",
    "ProjectUsage",
    "Readiness",
    "Recipe",
    "ServerError",
    "Status",
    "StreamEvent",
    "Sweep",
    "SweepFailed",
    "Trial",
    "Validation",
    "WaitTimeout",
    "Webhook",
    "Worker",
    "WorkerBusy",
    "WorkerSample",
    "__version__",
]
