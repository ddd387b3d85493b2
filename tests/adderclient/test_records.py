"""The client's records, which repeat the API's names since they import nothing of it, against the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from adderclient import records
from adderclient.records import FINAL, Record, Status
from tests.adderclient import openapi

SCHEMAS: dict[type[Record], str] = {
    records.Artifact: "Artifact",
    records.Attempt: "Attempt",
    records.AuditEntry: "AuditEntry",
    records.Best: "BestTrial",
    records.Costs: "Costs",
    records.Dataset: "Dataset",
    records.DayUsage: "DayUsage",
    records.Delivery: "Delivery",
    records.Event: "Event",
    records.Found: "Found",
    records.Job: "Job",
    records.JobError: "JobError",
    records.Key: "Key",
    records.Latency: "Latency",
    records.Me: "Me",
    records.MetricPoint: "Metric",
    records.Model: "Model",
    records.NewKey: "NewKey",
    records.NewWebhook: "NewHook",
    records.Progress: "Progress",
    records.Project: "Project",
    records.ProjectUsage: "ProjectUsage",
    records.Readiness: "Ready",
    records.Recipe: "Recipe",
    records.Sweep: "Sweep",
    records.Timed: "Timed",
    records.Trial: "Trial",
    records.Validation: "Validation",
    records.Webhook: "Hook",
    records.Worker: "WorkerState",
    records.WorkerSample: "WorkerSample",
}
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "date-time"}


def deviations(record: type[Record], schema: Mapping[str, Any]) -> list[str]:
    """How a record differs from a schema."""
    hints = {key: hint for key, hint in get_type_hints(record).items() if key not in ("raw", "SUMMARY")}
    found = [f"lacks {key}" for key in schema["properties"] if key not in hints]
    found += [f"has {key}" for key in hints if key not in schema["properties"]]
    for key, part in schema["properties"].items():
        if key in hints and (why := _deviation(hints[key], part)):
            found.append(f"{key}: {why}")
    return found


def _deviation(hint: Any, part: Mapping[str, Any]) -> str | None:
    options = [_resolved(option) for option in part.get("anyOf", [part])]
    nullable = any(option.get("type") == "null" for option in options)
    wanted = {_kind_of_schema(option) for option in options if option.get("type") != "null"}
    may_be_none = isinstance(hint, UnionType)
    (kind,) = (one for one in get_args(hint) if one is not NoneType) if may_be_none else (hint,)
    if wanted != {_kind_of_hint(kind)}:
        return f"is {kind}, the server sends {wanted}"
    if nullable and not may_be_none and _kind_of_hint(kind) in SCALARS.values():
        return "is never None, the server sends null"
    return None


def _resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    found = openapi.schemas()[reference.rsplit("/", 1)[-1]] if reference else part
    assert isinstance(found, Mapping)
    return found


def _kind_of_schema(part: Mapping[str, Any]) -> str:
    if part.get("format") == "date-time":
        return "date-time"
    if part.get("type") == "array":
        return f"array of {_kind_of_schema(_resolved(part['items']))}"
    return "object" if "oneOf" in part else str(part["type"])


def _kind_of_hint(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"array of {_kind_of_hint(get_args(kind)[0])}"
    return SCALARS.get(kind, "object")


@pytest.mark.parametrize("record", SCHEMAS, ids=lambda record: record.__name__)
def test_a_record_has_the_fields_and_types_that_the_server_sends(record: type[Record]) -> None:
    assert deviations(record, openapi.schemas()[SCHEMAS[record]]) == []


def test_every_record_is_compared() -> None:
    def descendants(kind: type[Record]) -> set[type[Record]]:
        return {kind}.union(*(descendants(one) for one in kind.__subclasses__()))

    assert {one for one in descendants(Record) if one.__module__.startswith("adderclient.records.")} - {Record} == set(
        SCHEMAS
    )


def test_the_comparison_finds_missing_and_wrongly_typed_fields() -> None:
    schema = {
        "properties": {
            "id": {"type": "integer"},
            "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "job_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "mood": {"type": "string"},
        }
    }
    found = deviations(records.Best, schema)
    assert "lacks mood" in found
    assert "has value" in found
    found = deviations(records.Sweep, {"properties": {"id": {"anyOf": [{"type": "string"}, {"type": "null"}]}}})
    assert "id: is never None, the server sends null" in found
    assert any(one.startswith("id: is <class 'str'>, the server sends") for one in deviations(records.Job, schema))


def test_a_page_is_the_listing_of_the_contract() -> None:
    pages = [schema for name, schema in openapi.schemas().items() if name.startswith("Page_")]
    assert pages
    for schema in pages:
        assert set(schema["properties"]) == {field.name for field in fields(records.Page)} - {"raw"}


def test_the_statuses_are_those_of_the_server() -> None:
    assert [status.value for status in Status] == openapi.schemas()["Status"]["enum"]
    assert set(openapi.schemas()["SweepStatus"]["enum"]) == {"running", "cancelling", *FINAL}
    assert {status for status in openapi.schemas()["Status"]["enum"] if status in FINAL} == FINAL


def test_what_is_missing_or_null_has_its_default() -> None:
    parsed = records.Job.from_json({"id": "job_1", "status": "queued", "progress": None, "error": None, "labels": None})
    assert (parsed.progress, parsed.error, parsed.labels, parsed.attempt) == (records.Progress(), None, {}, 0)
    for record in SCHEMAS:
        for one in fields(record):
            if one.name != "raw" and get_origin(get_type_hints(record)[one.name]) in (tuple, Mapping):
                assert one.default is not MISSING or one.default_factory is not MISSING, "null would break it"


def test_nested_objects_lists_and_times_are_read() -> None:
    parsed = records.Sweep.from_json(
        {
            "id": "sweep_1",
            "status": "running",
            "created_at": "2026-11-20T10:00:00.123Z",
            "best": {"trial": 3, "parameters": {"seed": 1}, "value": 1},
        }
    )
    assert parsed.created_at is not None
    assert parsed.created_at.isoformat() == "2026-11-20T10:00:00.123000+00:00"
    assert parsed.best is not None
    assert (parsed.best.trial, parsed.best.value, type(parsed.best.value)) == (3, 1.0, float)
    assert records.Dataset.from_json({"name": "d", "input_shape": [1, 8, 8]}).input_shape == (1, 8, 8)
    with pytest.raises(KeyError, match="status"):
        records.Job.from_json({"id": "job_1"})
