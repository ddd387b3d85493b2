"""What the server says, as frozen dataclasses: one module a subject, all on :class:`Record`."""

from adderclient.records.access import AuditEntry, DayUsage, Key, Me, NewKey, Project, ProjectUsage
from adderclient.records.base import Json, Page, Record
from adderclient.records.datasets import Dataset
from adderclient.records.jobs import (
    FINAL,
    Artifact,
    Attempt,
    Event,
    Job,
    JobError,
    MetricPoint,
    Progress,
    Status,
    StreamEvent,
    Validation,
)
from adderclient.records.models import Costs, Latency, Model, Timed
from adderclient.records.recipes import Recipe
from adderclient.records.service import Found, Readiness, Worker, WorkerSample
from adderclient.records.sweeps import Best, Sweep, Trial
from adderclient.records.webhooks import Delivery, NewWebhook, Webhook

__all__ = [
    "FINAL",
    "Artifact",
    "Attempt",
    "AuditEntry",
    "Best",
    "Costs",
    "Dataset",
    "DayUsage",
    "Delivery",
    "Event",
    "Found",
    "Job",
    "JobError",
    "Json",
    "Key",
    "Latency",
    "Me",
    "MetricPoint",
    "Model",
    "NewKey",
    "NewWebhook",
    "Page",
    "Progress",
    "Project",
    "ProjectUsage",
    "Readiness",
    "Recipe",
    "Record",
    "Status",
    "StreamEvent",
    "Sweep",
    "Timed",
    "Trial",
    "Validation",
    "Webhook",
    "Worker",
    "WorkerSample",
]
